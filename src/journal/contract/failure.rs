//! Full disks, kills, lost connections, and set-ups that would lose commits.

use super::{GENESIS, Site, filled, rows, rows_after};
use crate::journal::{
    AppendError, Error, Hash, Journal, Lead,
    export::{export, verify},
    head_file::HeadCheck,
    memory::{Fault, Memory},
    sql::{Options, Sql},
};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

#[tokio::test]
async fn an_append_that_failed_before_its_commit_goes_in_again() {
    let journal = Memory::new();
    let id = journal.push_inbox(1, "x").await.unwrap();
    journal.fail_next_append(Fault::BeforeCommit);
    let written = rows(3);
    assert!(matches!(journal.append(&written, &[id]).await, Err(AppendError::Unavailable { .. })));
    assert_eq!((journal.head().await.unwrap(), journal.inbox(1).await.unwrap().len()), (GENESIS, 1));
    journal.append(&written, &[id]).await.unwrap();
    assert_eq!(journal.head().await.unwrap(), written[2].head());
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_found_by_its_hash() {
    let journal = Memory::new();
    journal.fail_next_append(Fault::AfterCommit);
    let written = rows(3);
    assert!(matches!(journal.append(&written, &[]).await, Err(AppendError::Unavailable { .. })));
    assert_eq!(journal.append(&written, &[]).await, Err(AppendError::Clash));
    assert_eq!(journal.row(1).await.unwrap().map(|row| row.hash), Some(written[0].hash));
}

#[tokio::test]
async fn a_crashed_process_writes_nothing_more_and_the_next_finds_what_was_committed() {
    let journal = Memory::new();
    let zombie = journal.clone();
    let written = filled(&journal, 3).await;
    let next = journal.crash();
    assert!(zombie.append(&rows_after(written[2].hash, 4, 1), &[]).await.is_err());
    assert!(zombie.head().await.is_err());
    assert_eq!(next.head().await.unwrap(), written[2].head());
    next.set_down(true);
    assert_eq!(next.rows(1, 9).await.map_err(|error| error.retry()), Err(true));
    next.set_down(false);
    next.append(&rows_after(written[2].hash, 4, 1), &[]).await.unwrap();
    // An old leader that is not dead, only late, clashes.
    let late = next.for_another_process();
    assert_eq!(late.append(&rows_after(written[2].hash, 4, 2), &[]).await, Err(AppendError::Clash));
}

/// A small file system of its own.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mounted(kilobytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={kilobytes}k");
        let out =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "nightshift-test"]).arg(folder.path()).output();
        match out {
            Ok(out) if out.status.success() => Some(Self(folder)),
            other if super::hermetic() => {
                eprintln!("skipped as NIGHTSHIFT_TESTS=hermetic wants it: no tmpfs can be mounted: {other:?}");
                None
            }
            other => panic!("no tmpfs can be mounted ({other:?}): run as root, or set NIGHTSHIFT_TESTS=hermetic"),
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_the_same_rows_go_in_once_there_is_room() {
    let Some(disk) = SmallDisk::mounted(4_096) else { return };
    let options = Options::sqlite(&disk.path().join("nightshift.db"));
    let journal = Sql::open(&options).await.unwrap().journal;
    let written = filled(&journal, 20).await;
    // The whole disk but for what is there.
    let ballast = disk.path().join("ballast");
    let filling = std::fs::File::create(&ballast).unwrap();
    let full = std::io::copy(&mut std::io::repeat(1), &mut &filling);
    assert!(full.is_err());
    let id_refused = journal.push_inbox(1, &"x".repeat(100_000)).await;
    assert_eq!(id_refused.map_err(|error| error.reason()), Err("unavailable"));
    let mut more = rows_after(written[19].hash, 21, 1_000);
    for _ in 0..3 {
        match journal.append(&more, &[]).await {
            Err(AppendError::Unavailable { reason }) => assert!(!reason.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    // What was committed can still be read.
    assert_eq!(journal.head().await.unwrap(), written[19].head());
    drop(filling);
    std::fs::remove_file(&ballast).unwrap();
    journal.append(&more, &[]).await.unwrap();
    assert_eq!(journal.head().await.unwrap(), more.pop().unwrap().head());
    journal.close().await;
    let opened = Sql::open(&options).await.unwrap();
    assert_eq!(opened.head_check, HeadCheck::Fine);
    assert_eq!(verify(&opened.journal, options.head_file_path()).await.unwrap().entries, 1_020);
    opened.journal.close().await;
}

const CHILD: &str = "NIGHTSHIFT_TEST_APPEND_TO";

/// Not a test of its own: what `what_was_answered_survives_a_kill` kills.
#[tokio::test]
async fn append_for_ever_where_told() {
    let Some(path) = super::setting(CHILD) else { return };
    let opened = Sql::open(&Options::sqlite(Path::new(&path))).await.unwrap();
    assert_eq!(opened.head_check, HeadCheck::Fine);
    let mut head = opened.journal.head().await.unwrap();
    for _ in 0..10_000 {
        let batch = rows_after(head.hash, head.seq + 1, 7);
        opened.journal.append(&batch, &[]).await.unwrap();
        head = batch[6].head();
        println!("\ndurable {}", head.seq);
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nightshift.db");
    let mut durable = 0;
    for round in 1..=5_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::contract::failure::append_for_ever_where_told", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut answered = || lines.by_ref().find_map(|line| line.strip_prefix("durable ")?.parse::<u64>().ok());
        for _ in 0..round * 9 {
            durable = answered().expect("the child appends");
        }
        child.kill().unwrap();
        while let Some(seq) = answered() {
            durable = seq;
        }
        child.wait().unwrap();
        // Nobody holds the lock any more, and everything answered is there.
        let opened = Sql::open(&Options::sqlite(&path)).await.unwrap();
        let report = verify(&opened.journal, None).await.unwrap();
        assert_eq!(opened.head_check, HeadCheck::Fine);
        assert!(report.is_whole() && report.head.seq >= durable && report.head.seq % 7 == 0, "{durable}: {report:?}");
        opened.journal.close().await;
    }
}

#[tokio::test]
async fn a_second_process_may_read_but_not_write() {
    let site = Site::sqlite();
    let journal = site.open().await;
    let written = filled(&journal, 5).await;
    let refused = Sql::open(&site.options).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("another nightshift is writing this journal"), "{refused}");

    let reader = Sql::open_read_only(&site.options).await.unwrap();
    assert_eq!(reader.head().await.unwrap(), written[4].head());
    journal.append(&rows_after(written[4].hash, 6, 1), &[]).await.unwrap();
    let report = verify(&reader, site.options.head_file_path()).await.unwrap();
    assert!(report.is_whole() && report.entries == 6, "{report:?}");
    let mut text = Vec::new();
    export(&reader, &mut text).await.unwrap();
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 7);
    assert!(matches!(reader.append(&rows_after(Hash([0; 32]), 7, 1), &[]).await, Err(AppendError::Unavailable { .. })));
    assert_eq!(reader.push_inbox(1, "x").await.map_err(|error| error.reason()), Err("refused"));

    journal.close().await;
    assert_eq!(reader.head().await.unwrap().seq, 6);
    reader.close().await;
    Sql::open(&site.options).await.unwrap();
}

#[tokio::test]
async fn a_journal_that_nobody_writes_is_read_as_well() {
    let site = Site::sqlite();
    let journal = site.open().await;
    filled(&journal, 5).await;
    journal.close().await;
    let reader = Sql::open_read_only(&site.options).await.unwrap();
    assert_eq!(verify(&reader, None).await.unwrap().entries, 5);
}

#[tokio::test]
async fn a_file_that_was_removed_is_noticed() {
    let site = Site::sqlite();
    let journal = site.open().await;
    filled(&journal, 5).await;
    journal.close().await;
    let path = site.url.strip_prefix("sqlite:").unwrap();
    let opened = Sql::open(&site.options).await.unwrap();
    opened.journal.close().await;
    std::fs::remove_file(path).unwrap();
    let again = Sql::open(&site.options).await.unwrap();
    assert_eq!(again.head_check, HeadCheck::Ahead { file: 5, journal: 0 });
}

async fn a_journal_of_a_newer_version_is_refused(site: Site) {
    site.open().await.close().await;
    let text = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) ";
    site.execute(&format!("{text} VALUES (9999, 'later', TRUE, {}, 1)", site.bytes(&[1]))).await;
    let refused = Sql::open(&site.options).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("a newer nightshift has written this journal"), "{refused}");
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused_on_sqlite() {
    a_journal_of_a_newer_version_is_refused(Site::sqlite()).await;
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused_on_postgres() {
    let Some(site) = Site::postgres().await else { return };
    a_journal_of_a_newer_version_is_refused(site).await;
}

fn database_of(site: &Site) -> &str {
    site.url.rsplit('/').find_map(|part| part.strip_prefix("journal_")).map_or("", |_| {
        let from = site.url.find("journal_").unwrap();
        site.url[from..].split('?').next().unwrap()
    })
}

#[tokio::test]
async fn a_postgres_that_would_lose_commits_is_refused() {
    let Some(site) = Site::postgres().await else { return };
    site.execute(&format!("ALTER DATABASE {} SET synchronous_commit = off", database_of(&site))).await;
    let refused = Sql::open(&site.options).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(refused, Error::Refused { .. }) && refused.to_string().contains("synchronous_commit=off"),
        "{refused}"
    );
    site.execute(&format!("ALTER DATABASE {} SET synchronous_commit = local", database_of(&site))).await;
    Sql::open(&site.options).await.unwrap();
}

#[tokio::test]
async fn a_postgres_that_turns_to_losing_commits_is_not_written_to() {
    let Some(site) = Site::postgres().await else { return };
    let journal = site.open().await;
    let written = filled(&journal, 2).await;
    site.execute(&format!("ALTER DATABASE {} SET synchronous_commit = off", database_of(&site))).await;
    end_connections(&site).await;
    let more = rows_after(written[1].hash, 3, 1);
    for _ in 0..2 {
        assert!(matches!(journal.append(&more, &[]).await, Err(AppendError::Unavailable { .. })));
    }
    assert_eq!(journal.head().await.unwrap().seq, 2);
}

async fn end_connections(site: &Site) {
    let text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
    site.execute(text).await;
}

#[tokio::test]
async fn a_lost_connection_is_unavailable_once_and_the_same_rows_go_in() {
    let Some(site) = Site::postgres().await else { return };
    let journal = site.open().await;
    let written = filled(&journal, 2).await;
    let Lead::Taken { epoch } = journal.take_lead("one", 1_000, 2_000).await.unwrap() else { panic!() };
    end_connections(&site).await;
    let more = rows_after(written[1].hash, 3, 2);
    assert!(matches!(journal.append(&more, &[]).await, Err(AppendError::Unavailable { .. })));
    journal.append(&more, &[]).await.unwrap();
    assert_eq!(journal.head().await.unwrap(), more[1].head());
    assert!(journal.renew_lead("one", epoch, 3_000).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_postgres_that_never_answers_is_unavailable_in_bounded_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://nobody@{}/night?sslmode=disable", silent.local_addr().unwrap());
    let began = tokio::time::Instant::now();
    let unreached = Sql::open(&Options::parse(&url).unwrap()).await.map(|_| ()).unwrap_err();
    assert!(unreached.retry() && unreached.to_string().contains("in time"), "{unreached}");
    assert!(began.elapsed() <= std::time::Duration::from_secs(11));
}

/// What a storm costs: `cargo test --release --lib journal:: -- --ignored --nocapture how_fast`.
#[tokio::test]
#[ignore = "a measurement, run by hand"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
async fn how_fast_batches_become_durable() {
    let site = Site::sqlite();
    let journal = site.open().await;
    let mut head = GENESIS;
    for size in [1, 16, 64, 256, 1_000] {
        let batches = (20_000 / size).min(500);
        let began = std::time::Instant::now();
        let mut worst = std::time::Duration::ZERO;
        for _ in 0..batches {
            let mut rows = rows_after(head.hash, head.seq + 1, size);
            for row in &mut rows {
                row.body.push_str(&" ".repeat(1_900));
            }
            head = rows.last().unwrap().head();
            let one = std::time::Instant::now();
            journal.append(&rows, &[]).await.unwrap();
            worst = worst.max(one.elapsed());
        }
        let each = began.elapsed() / u32::try_from(batches).unwrap();
        let rate = (batches * size) as f64 / began.elapsed().as_secs_f64();
        println!("{size:5} rows a batch: {rate:8.0} rows/s, {each:?} a batch, worst {worst:?}");
    }
}
