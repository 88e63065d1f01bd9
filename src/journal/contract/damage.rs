//! Whatever is changed behind the journal's back is noticed, and named by its entry.

use super::{GENESIS, Site, filled, rows_after};
use crate::journal::{
    Error, Journal, Snapshot,
    chain::digest,
    export::{export, read_export, verify},
    head_file::HeadCheck,
    memory::Memory,
    sql::{Options, Sql},
};
use std::io::{Read, Seek, SeekFrom, Write};

async fn report(site: &Site) -> crate::journal::export::Report {
    let journal = Sql::open_read_only(&site.options).await.unwrap();
    verify(&journal, site.options.head_file_path()).await.unwrap()
}

async fn a_change_of_any_column_is_named(make: impl AsyncFn() -> Option<Site>) {
    let flipped = |mut hash: crate::journal::Hash| {
        hash.0[17] ^= 0x10;
        hash
    };
    let entry_four = super::rows(4)[3].clone();
    let changes = [
        "seq = seq + 1048576".to_owned(),
        "at = at + 1".to_owned(),
        "at = -at".to_owned(),
        "epoch = epoch + 1".to_owned(),
        "epoch = -1".to_owned(),
        "incident = NULL".to_owned(),
        "incident = incident + 1".to_owned(),
        "incident = -1".to_owned(),
        "cause = 'alerT'".to_owned(),
        "body = replace(body, 'PoolNearlyFull', 'PoolNearlyFulm')".to_owned(),
        "body = body || ' '".to_owned(),
        "hash = {flipped}".to_owned(),
        "hash = {short}".to_owned(),
    ];
    for change in changes {
        let Some(site) = make().await else { return };
        let journal = site.open().await;
        filled(&journal, 8).await;
        journal.close().await;
        assert!(report(&site).await.is_whole());
        let change = change.replace("{flipped}", &site.bytes(&flipped(entry_four.hash).0));
        let change = change.replace("{short}", &site.bytes(&entry_four.hash.0[..31]));
        site.execute(&format!("UPDATE journal SET {change} WHERE seq = 4")).await;
        let report = report(&site).await;
        assert_eq!(report.damage.first().map(|damage| damage.seq), Some(4), "{change}: {report:?}");
        assert!(!report.is_whole() && report.damage.len() <= 3, "{change}: {report:?}");
    }
}

#[tokio::test]
async fn a_change_of_any_column_is_named_on_sqlite() {
    a_change_of_any_column_is_named(async || Some(Site::sqlite())).await;
}

#[tokio::test]
async fn a_change_of_any_column_is_named_on_postgres() {
    a_change_of_any_column_is_named(async || Site::postgres().await).await;
}

#[tokio::test]
async fn a_change_in_memory_is_named() {
    let journal = Memory::new();
    filled(&journal, 8).await;
    journal.tamper(4, |row| row.body.push(' '));
    let report = verify(&journal, None).await.unwrap();
    assert_eq!(report.damage.iter().map(|damage| damage.seq).collect::<Vec<_>>(), [4]);
    assert_eq!(report.entries, 7);
}

#[tokio::test]
async fn an_entry_taken_out_is_named() {
    let site = Site::sqlite();
    filled(&site.open().await, 8).await;
    site.execute("DELETE FROM journal WHERE seq = 5").await;
    assert_eq!(report(&site).await.damage.first().map(|damage| damage.seq), Some(5));
}

#[tokio::test]
async fn entries_gone_from_the_front_without_a_snapshot_are_named() {
    let site = Site::sqlite();
    filled(&site.open().await, 8).await;
    site.execute("DELETE FROM journal WHERE seq < 4").await;
    assert_eq!(report(&site).await.damage.first().map(|damage| damage.seq), Some(4));
}

#[tokio::test]
async fn text_that_is_no_text_is_named_and_the_rest_is_still_judged() {
    let site = Site::sqlite();
    filled(&site.open().await, 2_000).await;
    site.execute("UPDATE journal SET body = CAST(X'7bff7d' AS TEXT) WHERE seq = 1500").await;
    site.execute("UPDATE journal SET epoch = 9 WHERE seq = 1700").await;
    let report = report(&site).await;
    assert_eq!(report.damage.iter().map(|damage| damage.seq).collect::<Vec<_>>(), [1_500, 1_700], "{report:?}");
    assert_eq!(report.head.seq, 2_000);
}

#[tokio::test]
async fn a_changed_snapshot_is_named_and_never_given() {
    for change in ["state = X'00'", "version = 2", "hash = digest", "digest = hash"] {
        let site = Site::sqlite();
        let journal = site.open().await;
        let written = filled(&journal, 8).await;
        journal.put_snapshot(&Snapshot::sealed(written[4].head(), 1, b"state".to_vec())).await.unwrap();
        site.execute(&format!("UPDATE snapshot SET {change} WHERE seq = 5")).await;
        let version = if change.starts_with("version") { 2 } else { 1 };
        let given = journal.latest_snapshot(version).await;
        assert!(matches!(given, Err(Error::Damaged { seq: Some(5), .. })), "{change}: {given:?}");
        let report = report(&site).await;
        assert_eq!(report.damage.first().map(|damage| damage.seq), Some(5), "{change}");
        assert_eq!(report.snapshots, 0);
    }
}

#[tokio::test]
async fn a_snapshot_of_another_history_is_named() {
    let site = Site::sqlite();
    let journal = site.open().await;
    filled(&journal, 8).await;
    let other = crate::journal::Head { seq: 5, hash: digest(b"other") };
    journal.put_snapshot(&Snapshot::sealed(other, 1, b"state".to_vec())).await.unwrap();
    let beyond = crate::journal::Head { seq: 11, hash: digest(b"beyond") };
    journal.put_snapshot(&Snapshot::sealed(beyond, 1, b"state".to_vec())).await.unwrap();
    let report = report(&site).await;
    assert_eq!(report.damage.iter().map(|damage| damage.seq).collect::<Vec<_>>(), [5, 11]);
}

#[tokio::test]
async fn a_prune_that_was_interrupted_is_whole_and_goes_on() {
    let site = Site::sqlite();
    let journal = site.open().await;
    let written = filled(&journal, 20).await;
    journal.put_snapshot(&Snapshot::sealed(written[9].head(), 1, b"state".to_vec())).await.unwrap();
    site.execute("DELETE FROM journal WHERE seq < 6").await;
    let interrupted = report(&site).await;
    assert!(interrupted.is_whole(), "{interrupted:?}");
    assert_eq!((interrupted.leftovers, interrupted.entries, interrupted.anchor.seq), (5, 10, 10));
    assert_eq!(journal.prune(10).await.unwrap(), 5);
    assert_eq!(report(&site).await.leftovers, 0);
}

/// Cuts the tail, opens, and gives what the side file says at this start and at the next one.
async fn cut(site: &Site, text: &str) -> [HeadCheck; 2] {
    let journal = site.open().await;
    if journal.head().await.unwrap() == GENESIS {
        filled(&journal, 8).await;
        journal.close().await;
    }
    assert_eq!(report(site).await.head_file, Some(HeadCheck::Fine));
    site.execute(text).await;
    let opened = Sql::open(&site.options).await.unwrap();
    // Acting or not, the daemon writes its first entry; the next start must still find the damage.
    let head = opened.journal.head().await.unwrap();
    opened.journal.append(&rows_after(head.hash, head.seq + 1, 1), &[]).await.unwrap();
    opened.journal.close().await;
    let again = Sql::open(&site.options).await.unwrap();
    again.journal.close().await;
    [opened.head_check, again.head_check]
}

#[tokio::test]
async fn a_cut_tail_is_noticed_at_every_start_until_somebody_looked() {
    let site = Site::sqlite();
    let said = cut(&site, "DELETE FROM journal WHERE seq > 5").await;
    assert_eq!(said, [HeadCheck::Ahead { file: 8, journal: 5 }, HeadCheck::Ahead { file: 8, journal: 6 }]);
    let seen = report(&site).await;
    assert!(seen.damage.is_empty() && !seen.is_whole(), "{seen:?}");
    std::fs::remove_file(site.options.head_file_path().unwrap()).unwrap();
    assert_eq!(Sql::open(&site.options).await.unwrap().head_check, HeadCheck::Missing);
}

#[tokio::test]
async fn a_cut_tail_is_noticed_on_postgres() {
    let Some(site) = Site::postgres().await else { return };
    let said = cut(&site, "DELETE FROM journal WHERE seq > 5").await;
    assert_eq!(said, [HeadCheck::Ahead { file: 8, journal: 5 }, HeadCheck::Ahead { file: 8, journal: 6 }]);
}

#[tokio::test]
async fn a_journal_put_back_from_a_backup_or_emptied_is_noticed() {
    let site = Site::sqlite();
    let said = cut(&site, "DELETE FROM journal").await;
    assert_eq!(said[0], HeadCheck::Ahead { file: 8, journal: 0 });
}

#[tokio::test]
async fn another_last_entry_is_noticed() {
    let site = Site::sqlite();
    let journal = site.open().await;
    filled(&journal, 8).await;
    journal.close().await;
    site.execute("UPDATE journal SET hash = zeroblob(32) WHERE seq = 8").await;
    assert_eq!(Sql::open(&site.options).await.unwrap().head_check, HeadCheck::Differs { seq: 8 });
}

#[tokio::test]
async fn a_side_file_left_behind_by_a_power_loss_is_fine() {
    let site = Site::sqlite();
    let journal = site.open().await;
    let written = filled(&journal, 8).await;
    journal.close().await;
    let path = site.options.head_file_path().unwrap();
    crate::journal::head_file::HeadFile::open(path).unwrap().write(written[4].head()).unwrap();
    assert_eq!(Sql::open(&site.options).await.unwrap().head_check, HeadCheck::Fine);
    std::fs::write(path, [0; 86]).unwrap();
    assert_eq!(Sql::open(&site.options).await.unwrap().head_check, HeadCheck::Missing);
}

/// Opens, verifies and exports a file that may be anything.
async fn looked_at(options: &Options) -> Result<Option<Vec<u8>>, Error> {
    let journal = Sql::open_read_only(options).await?;
    if !verify(&journal, None).await?.is_whole() {
        return Ok(None);
    }
    let mut text = Vec::new();
    match export(&journal, &mut text).await {
        Ok(_) => Ok(Some(text)),
        Err(crate::journal::export::ExportError::Journal(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_the_file_never_passes_for_whole() {
    let site = Site::sqlite();
    let journal = site.open().await;
    filled(&journal, 60).await;
    journal.close().await;
    let path = std::path::Path::new(site.url.strip_prefix("sqlite:").unwrap()).to_path_buf();
    let whole = looked_at(&site.options).await.unwrap().expect("whole");
    let length = std::fs::metadata(&path).unwrap().len();
    let mut noticed = 0;
    // A prime stride: each place in a page is met, in some page.
    for offset in (0..length).step_by(191) {
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.read_exact(&mut byte).unwrap();
        let flip = |file: &mut std::fs::File, byte: u8| {
            file.seek(SeekFrom::Start(offset)).unwrap();
            file.write_all(&[byte]).unwrap();
        };
        flip(&mut file, byte[0] ^ (1 << (offset % 8)));
        match looked_at(&site.options).await {
            Ok(Some(text)) => assert!(text == whole, "byte {offset} changed what is exported, and it passed"),
            Ok(None) | Err(_) => noticed += 1,
        }
        flip(&mut file, byte[0]);
    }
    assert!(noticed > 20, "only {noticed} flips met an entry");
    assert_eq!(looked_at(&site.options).await.unwrap(), Some(whole));
}

#[tokio::test]
async fn what_is_no_journal_is_said_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nightshift.db");
    let said = async |options: &Options| match Sql::open_read_only(options).await {
        Ok(_) => panic!("opened"),
        Err(error) => (error.reason(), error.to_string()),
    };
    let options = Options::sqlite(&path);
    let (reason, text) = said(&options).await;
    assert!(reason == "refused" && text.contains("there is no journal at"), "{text}");
    assert!(!path.exists(), "reading made a file");
    std::fs::write(&path, "not a database, whatever its name says, and long enough to have a header".repeat(99))
        .unwrap();
    assert_eq!(said(&options).await.0, "damaged");
    assert_eq!(Sql::open(&options).await.map(|_| ()).map_err(|error| error.reason()), Err("damaged"));
    std::fs::write(&path, "").unwrap();
    let (reason, text) = said(&options).await;
    assert!(reason == "refused" && text.contains("no journal in this database"), "{text}");
}

#[test]
fn urls_that_name_no_journal_are_refused_without_repeating_them() {
    for url in [
        "",
        "nightshift.db",
        "mysql://x",
        "sqlite::memory:",
        "sqlite:",
        "sqlite:x?mode=memory",
        "postgres://u:secret@[/x",
    ] {
        let refused = Options::parse(url).unwrap_err();
        assert_eq!(refused.reason(), "refused", "{url}");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}

/// The sample of the first schema: it must verify for ever.
#[test]
fn the_kept_sample_of_the_first_schema_still_verifies() {
    let text = include_bytes!("../../../fixtures/journal/v1.jsonl");
    let (anchor, rows) = read_export(text.as_slice()).unwrap();
    let head = crate::journal::chain::verify(&rows, anchor).unwrap();
    assert_eq!((anchor, head.seq), (GENESIS, 8));
    assert_eq!(head.hash.to_string(), include_str!("../../../fixtures/journal/v1.sha256").trim());
    assert!(rows.iter().all(|row| serde_json::from_str::<serde_json::Value>(&row.body).is_ok()));
}
