//! I-38: a journal that was cut or changed is noticed and named, and nothing acts on it until a person says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nightshift::model::event::Event;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::task::JoinSet;

use crate::acting;
use crate::daemon::{Daemon, Home};
use crate::dice::Dice;
use crate::played::Played;
use crate::webhooks::{Alert, body, post_once};

const FLIPS: u64 = 8;

/// A journal with some history and nothing acted on yet, whose daemon was killed.
async fn history() -> (Home, Arc<Played>) {
    let played = Arc::new(Played::start());
    // An incident for each number: one that was held by a pause says nothing about the next.
    let rules = acting::rules("damaged", "200ms").replace("  mode: auto\n", "  mode: auto\n  group_by: [number]\n");
    let home = acting::home(&rules, &played.kubeconfig(), &played.url());
    played.deploy("damaged", 2, home.head_file());
    let mut daemon = home.start().await;
    for number in 0..20_u64 {
        let alert = Alert::firing(&[("alertname", "History"), ("number", &number.to_string())]);
        assert_eq!(post_once(daemon.webhooks(), &body(&[alert])).await.unwrap(), 200);
    }
    assert!(daemon.kill());
    (home, played)
}

async fn sql(path: &Path, statement: &'static str) -> u64 {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("a database");
    let done = sqlx::query(statement).execute(&mut connection).await.expect("it runs");
    connection.close().await.expect("closed");
    done.rows_affected()
}

/// An alert that asks for an action, for two seconds.
async fn fire(daemon: &Daemon, played: &Played, number: &str) {
    let alert = Alert::firing(&[("alertname", "HighLoad"), ("number", number)]);
    played.fires(&alert);
    for _ in 0..20 {
        let _ = post_once(daemon.webhooks(), &body(std::slice::from_ref(&alert))).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts on it and gives it every reason to act. What was logged as an error; or how it ended.
async fn tempt(home: &Home, played: &Played) -> Result<String, String> {
    let mut daemon = home.launch(None);
    daemon.until_ready().await?;
    fire(&daemon, played, "before").await;
    assert!(daemon.kill(), "it ended by itself:\n{}", daemon.said());
    Ok(home.logged("ERROR").into_iter().chain(home.logged("WARN")).collect::<Vec<_>>().join("\n"))
}

/// The reason of the pause that nightshift itself put in force.
async fn paused_because(home: &Home) -> Option<String> {
    let journal = nightshift::journal::sql::Sql::open_read_only(&home.options()).await.ok()?;
    let rows = nightshift::journal::Journal::rows(&journal, 1, 500).await.ok()?;
    let entries = rows.iter().filter_map(|row| nightshift::engine::entry::open(row).ok());
    let mut found = None;
    for entry in entries {
        for event in &entry.events {
            if let Event::Paused { by, reason } = event
                && by == "nightshift"
            {
                found = Some(reason.clone());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untouched_the_same_history_acts() {
    let (home, played) = history().await;
    tempt(&home, &played).await.unwrap();
    assert_eq!(played.writes("damaged").len(), 1, "else the other tests here show nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_tail_is_said_and_nothing_acts() {
    let (home, played) = history().await;
    let cut = sql(&home.journal(), "DELETE FROM journal WHERE seq > (SELECT max(seq) - 3 FROM journal)").await;
    assert_eq!(cut, 3);
    let said = tempt(&home, &played).await.unwrap();
    assert_eq!(played.writes("damaged").len(), 0, "acted on a journal without its tail");
    let reason = paused_because(&home).await.expect("a pause by nightshift itself");
    assert!(reason.contains("damaged") && reason.contains("tail"), "{reason}");
    assert!(said.contains(&reason) || said.contains("tail"), "it is not said: {said}");
    // Nor after another start: nobody has looked yet.
    let mut daemon = home.start().await;
    fire(&daemon, &played, "still").await;
    assert_eq!(played.writes("damaged").len(), 0);
    // Somebody has.
    let resumed = home.run(&["resume", "--url", &format!("http://{}", daemon.admin())]);
    assert!(resumed.status.success(), "{resumed:?}");
    fire(&daemon, &played, "after").await;
    assert_eq!(played.writes("damaged").len(), 1, "a person's word lets it act again:\n{}", daemon.said());
    assert!(daemon.kill());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_entry_is_named_and_nothing_acts() {
    let (home, played) = history().await;
    let changed =
        sql(&home.journal(), "UPDATE journal SET body = replace(body, 'History', 'Hist0ry') WHERE seq = 7").await;
    assert_eq!(changed, 1);
    let said = tempt(&home, &played).await.unwrap();
    assert_eq!(played.writes("damaged").len(), 0, "acted on a journal that was changed");
    assert!(said.contains("entry 7"), "it is not named: {said}");
    let reason = paused_because(&home).await.expect("a pause by nightshift itself");
    assert!(reason.contains("entry 7"), "{reason}");
}

/// What became of one flipped bit.
#[derive(Debug, PartialEq)]
enum Flipped {
    Refused,
    Paused,
    /// Free space, or a log frame behind the last commit: the chain is whole, or it would have been noticed.
    Harmless,
}

/// `in_log`: in SQLite's log; else in the database file, after the log went into it. `place`: in thousandths.
async fn flip(in_log: bool, place: u64, bit: u64) -> Flipped {
    let (home, played) = history().await;
    let path = if in_log {
        let mut wal = home.journal().into_os_string();
        wal.push("-wal");
        wal.into()
    } else {
        sql(&home.journal(), "PRAGMA wal_checkpoint(TRUNCATE)").await;
        home.journal()
    };
    let mut bytes = std::fs::read(&path).expect("a file");
    // Among the entries: the first pages are tables that are read whole at the start anyway.
    let place = bytes.len() / 2 + bytes.len() / 2 * usize::try_from(place).expect("small") / 1_000;
    bytes[place] ^= 1 << bit;
    std::fs::write(&path, bytes).expect("written");
    match tempt(&home, &played).await {
        Err(end) => {
            assert!(!end.contains("panicked"), "{end}");
            assert!(end.contains("damaged") || end.contains("malformed"), "byte {place} of {path:?}: {end}");
            assert_eq!(played.writes("damaged").len(), 0);
            Flipped::Refused
        }
        Ok(_) if paused_because(&home).await.is_some() => {
            assert_eq!(played.writes("damaged").len(), 0, "acted on damage");
            Flipped::Paused
        }
        Ok(_) => {
            crate::books::Books::verify(&home.options()).await;
            Flipped::Harmless
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_noticed_or_change_nothing() {
    let (mut dice, mut running) = (Dice::new(), JoinSet::new());
    println!("seed {}", dice.seed);
    for number in 0..FLIPS {
        running.spawn(flip(number % 2 == 0, dice.between(0, 1_000), dice.between(0, 8)));
    }
    let mut found = Vec::new();
    while let Some(one) = running.join_next().await {
        found.push(one.expect("no panic"));
    }
    let count = |kind: Flipped| found.iter().filter(|one| **one == kind).count();
    let (refused, paused) = (count(Flipped::Refused), count(Flipped::Paused));
    let harmless = count(Flipped::Harmless);
    println!(
        "I-38: {FLIPS} flipped bits: {refused} refused at the start, {paused} observed only, {harmless} in free space"
    );
    assert!(refused + paused > 0, "nothing was damaged: nothing was tested, seed {}", dice.seed);
}
