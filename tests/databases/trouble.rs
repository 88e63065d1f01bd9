//! When the server is full, slow, gone or not itself.

use crate::{
    bench::{Bench, Client, Hand, SOON, ended, listed, pids},
    pooler::Pooler,
    support::{
        hermetic,
        proxy::{Mode, Proxy},
        wait_until,
    },
};
use nightshift::{
    app::App,
    config::Settings,
    model::observation::{Outcome, TargetReading},
    peer::postgres::Databases,
};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

const KILL: &str = "postgres/kill_idle";

fn through(bench: &Bench, proxy: &Proxy) -> String {
    let url = bench.server.url_of("watch", "claims");
    url.replace(&format!(":{}/", bench.server.port()), &format!(":{}/", proxy.address().port()))
}

fn before(bench: &Bench) -> Proxy {
    Proxy::start(SocketAddr::from(([127, 0, 0, 1], bench.server.port())))
}

/// Clients until no more are let in.
async fn fill(bench: &Bench) -> Vec<PgConnection> {
    let mut clients = Vec::new();
    let url = format!("{}&application_name=app", bench.server.url_of("app", "claims"));
    loop {
        match PgConnection::connect(&url).await {
            Ok(connection) => clients.push(connection),
            Err(error) => {
                assert!(error.to_string().contains("remaining connection slots are reserved"), "{error}");
                return clients;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_helped_over_the_connection_that_is_kept() {
    if hermetic() {
        return;
    }
    let bench = Bench::with(&["max_connections=10"]).await;
    let hand = bench.hand(KILL, json!({"idle_for": "1s"}));
    assert!(hand.refusal().await.starts_with("no session"), "now it is connected");
    let late = bench.hand(KILL, json!({"idle_for": "1s"}));
    let clients = fill(&bench).await;
    assert_eq!(clients.len(), 6, "ten, without three for superusers and one of nightshift");
    let why = late.observe().await.err().unwrap();
    assert!(why.starts_with("PostgreSQL `claims-db` is full, and nightshift has no connection open: "), "{why}");

    let plan = hand.plan(6).await;
    let TargetReading::NotYet { says } = hand.measure(&plan).await else { panic!() };
    assert!(says.starts_with("it is full: 7 of 10 connections are used"), "{says}");
    assert_eq!(ended(&hand.apply(&plan).await), (6, 0, None));
    assert_eq!(bench.terminated(), listed(&plan.proposal).into_iter().collect());
    let TargetReading::Well { says } = hand.measure(&plan).await else { panic!() };
    assert!(says.starts_with("1 of 10 connections are used"), "{says}");
    assert!(bench.client().await.lives().await);
    assert!(late.observe().await.is_ok());
    assert_eq!(bench.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'watch'"), "2", "one for each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_read_back() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let proxy = before(&bench);
    let hand = Hand::at(&through(&bench, &proxy), KILL, json!({"idle_for": "1s"}));
    let idle = [bench.client().await, bench.client().await];
    let plan = hand.plan(2).await;

    // Nothing is written where the first question gets no answer: another connection is made, and that fails.
    proxy.set(Mode::Refuse);
    let Outcome::NotApplied { why, changed_since: false } = hand.apply(&plan).await else { panic!() };
    assert!(why.starts_with("cannot connect to PostgreSQL `claims-db`") && !why.contains("hunter2"), "{why}");
    assert!(matches!(hand.read_back(&plan).await, Outcome::Unknown { .. }));
    assert!(matches!(hand.measure(&plan).await, TargetReading::Unread { .. }));
    proxy.set(Mode::Pass);
    assert!(matches!(hand.read_back(&plan).await, Outcome::NotApplied { changed_since: false, .. }));
    assert_eq!(bench.terminated().len(), 0);

    // The answer to the write itself is lost: the first is told to end, and then nothing more is heard.
    bench.slow_function("pg_sleep(4)");
    let writing = tokio::spawn(async move { (hand.apply(&plan).await, hand, plan) });
    wait_until("the first is terminated", SOON, async || {
        if bench.terminated().len() == 1 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    proxy.set(Mode::Refuse);
    let (outcome, hand, plan) = writing.await.unwrap();
    let Outcome::Unknown { why } = &outcome else { panic!("{outcome:?}") };
    assert!(
        why.starts_with("0 of 2 were told to end, then: the connection to PostgreSQL `claims-db` was lost"),
        "{why}"
    );
    assert!(matches!(hand.read_back(&plan).await, Outcome::Unknown { .. }));
    proxy.set(Mode::Pass);
    assert_eq!(ended(&hand.read_back(&plan).await), (1, 0, Some("1 are still there")));
    assert_eq!(bench.terminated(), pids(&idle[..1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_takes_too_long_is_unknown_within_its_time() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    bench.slow_function("pg_sleep(60)");
    let proxy = before(&bench);
    let hand = Hand::at(&through(&bench, &proxy), KILL, json!({"idle_for": "1s"}));
    let _idle = [bench.client().await, bench.client().await];
    let plan = hand.plan(2).await;
    // The server itself gives up, and the connection is of no more use.
    let began = Instant::now();
    let outcome = hand.apply(&plan).await;
    assert!(matches!(&outcome, Outcome::Unknown { why } if why.contains("statement timeout")), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    assert_eq!(ended(&hand.read_back(&plan).await).0, 1);
    // Nothing comes back at all.
    let plan = hand.plan(1).await;
    let writing = tokio::spawn(async move { (hand.apply(&plan).await, hand, plan) });
    wait_until("the second is terminated", SOON, async || {
        if bench.terminated().len() == 2 { Ok(()) } else { Err("one".to_owned()) }
    })
    .await;
    proxy.set(Mode::BlackHole);
    let (outcome, hand, plan) = writing.await.unwrap();
    assert!(matches!(&outcome, Outcome::Unknown { why } if why.contains("did not answer in time")), "{outcome:?}");
    proxy.set(Mode::Pass);
    assert_eq!(ended(&hand.read_back(&plan).await).0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_in_mid_call_is_unknown() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    bench.slow_function("pg_sleep(4)");
    let hand = bench.hand(KILL, json!({"idle_for": "1s"}));
    let _idle = [bench.client().await, bench.client().await];
    let plan = hand.plan(2).await;
    let writing = tokio::spawn(async move { (hand.apply(&plan).await, hand, plan) });
    wait_until("the first is terminated", SOON, async || {
        if bench.terminated().len() == 1 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    let killed = std::process::Command::new("kill").args(["-KILL", &bench.server.process().pid().to_string()]).status();
    assert!(killed.unwrap().success());
    let (outcome, hand, plan) = writing.await.unwrap();
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    let Outcome::Unknown { why } = hand.read_back(&plan).await else { panic!() };
    assert!(why.starts_with("cannot connect to PostgreSQL `claims-db`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_made_again_and_a_pooler_is_not_taken_for_the_server() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let databases = Databases::new([("claims-db", bench.server.url_of("watch", "claims").as_str())]).unwrap();
    let hand = Hand::on(&databases, KILL, json!({"idle_for": "1s"}));
    assert!(hand.observe().await.is_ok());
    bench.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'watch'");
    assert!(hand.observe().await.is_ok(), "a question may be asked again");
    assert_eq!(bench.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'watch'"), "1");

    // It is kept, and made again, while nobody asks.
    bench.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'watch'");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let kept = databases.get("claims-db").unwrap().clone();
    let keeping = tokio::spawn(async move { kept.keep_open(async { stopped.await.unwrap() }).await });
    wait_until("it is connected", SOON, async || {
        let seen = bench
            .sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'watch' AND application_name = 'nightshift'");
        if seen == "1" { Ok(()) } else { Err(seen) }
    })
    .await;
    stop.send(()).unwrap();
    keeping.await.unwrap();

    let pooler = Pooler::start(&bench);
    let hand = Hand::at(&pooler.url("watch"), KILL, json!({"idle_for": "1s"}));
    let why = hand.observe().await.err().unwrap();
    assert!(why.contains("unsupported startup parameter"), "{why}");
    let pooler = pooler.that_ignores();
    let hand = Hand::at(&pooler.url("watch"), KILL, json!({"idle_for": "1s"}));
    let why = hand.observe().await.err().unwrap();
    assert!(why.contains("as a pooler does: the URL must name the server itself"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_pooler_do_not_notice() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let pooler = Pooler::start(&bench).that_ignores();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client { connection: PgConnection::connect(&pooler.url("app")).await.unwrap(), pid: 0 });
    }
    // All at once, so that each has a server connection of its own for a moment.
    let running: Vec<_> = clients.into_iter().map(|client| client.begins("SELECT pg_sleep(1)")).collect();
    let mut clients = Vec::new();
    for one in running {
        clients.push(one.end().await.0);
    }
    let idle = bench.pids();
    assert_eq!(idle.len(), 4);
    let hand = bench.hand(KILL, json!({"idle_for": "1s"}));
    let plan = hand.plan(4).await;
    assert_eq!(ended(&hand.apply(&plan).await), (4, 0, None));
    assert_eq!(bench.terminated(), idle);
    for client in &mut clients {
        assert!(client.lives().await, "the pooler connects again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_starts_without_its_databases() {
    if hermetic() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = folder.path().join("url");
    // It accepts, and never says a word.
    std::fs::write(&url, format!("postgres://watch:hunter2@{}/claims", nobody.local_addr().unwrap())).unwrap();
    let rules = folder.path().join("rules.yaml");
    let text = "targets: {claims: {postgres: claims-db}}\nrules:\n- {name: full, match: [alertname=Full], remediate: \
                [{action: postgres/kill_idle, target: claims, with: {idle_for: 10m}}]}\n- {name: rest, match: []}\n";
    std::fs::write(&rules, text).unwrap();
    let settings = format!(
        "listen: {{webhooks: '127.0.0.1:0', admin: '127.0.0.1:0'}}\nrules: '{}'\njournal: 'sqlite:{}'\n\
         postgres: {{claims-db: {{url_file: '{}'}}}}\n",
        rules.display(),
        folder.path().join("nightshift.db").display(),
        url.display()
    );
    let (settings, _) = Settings::from_layers(Some(("n.yaml", &settings)), std::iter::empty()).unwrap();
    let began = Instant::now();
    let app = App::start(settings, None).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    app.stop().await.unwrap();
}
