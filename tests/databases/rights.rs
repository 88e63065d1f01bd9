//! What the role may: plain grants, or the functions of `deploy/postgres/role.sql`; and what neither lets through.

use crate::{
    bench::{Bench, Client, Hand, WITHIN, ended, listed, pids},
    support::hermetic,
};
use nightshift::{evidence, model::target::Object, peer::postgres::Databases};
use serde_json::json;

const KILL: &str = "postgres/kill_idle";
const CANCEL: &str = "postgres/cancel_slow";

async fn error(hand: &Hand) -> String {
    match hand.observe().await {
        Err(why) => why,
        Ok(observed) => panic!("{:?}", observed.proposal),
    }
}

/// `deploy/postgres/role.sql`, run as its first lines say.
pub fn role_sql(bench: &Bench) {
    run_role_sql(bench).unwrap();
}

/// Err: what it ended with.
fn run_role_sql(bench: &Bench) -> Result<(), String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/postgres/role.sql");
    let mut psql = bench.server.program("psql");
    let output =
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", script]).arg(bench.server.url("claims")).output();
    let output = output.unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_told_the_grant() {
    if hermetic() {
        return;
    }
    let bench = Bench::bare(&[]).await;
    bench.sql("CREATE ROLE \"Watch\" LOGIN");
    let idle = bench.client().await;
    let databases = Databases::new([("claims-db", bench.server.url_of("Watch", "claims").as_str())]).unwrap();
    let kill = Hand::on(&databases, KILL, json!({"idle_for": "1s"}));
    let cancel = Hand::on(&databases, CANCEL, json!({"longer_than": "1s"}));
    for hand in [&kill, &cancel] {
        let why = error(hand).await;
        assert!(why.contains("cannot see other sessions of PostgreSQL `claims-db`"), "{why}");
        assert!(why.contains("GRANT pg_read_all_stats TO \"Watch\"") && !why.contains("hunter2"), "{why}");
    }
    bench.sql("GRANT pg_read_all_stats TO \"Watch\"");
    for hand in [&kill, &cancel] {
        let why = error(hand).await;
        assert!(why.contains("GRANT pg_signal_backend TO \"Watch\"") && why.contains("role.sql"), "{why}");
    }
    // Granted while it is connected, and taken away between the plan and the write.
    bench.sql("GRANT pg_signal_backend TO \"Watch\"");
    let plan = kill.plan(1).await;
    bench.sql("REVOKE pg_signal_backend FROM \"Watch\"");
    let outcome = kill.apply(&plan).await;
    let nightshift::model::observation::Outcome::NotApplied { why, changed_since: false } = &outcome else {
        panic!("{outcome:?}")
    };
    assert!(why.contains("GRANT pg_signal_backend"), "{why}");
    bench.sql("GRANT pg_monitor, pg_signal_backend TO \"Watch\"; REVOKE pg_read_all_stats FROM \"Watch\"");
    assert_eq!(ended(&kill.apply(&plan).await).0, 1);
    assert_eq!(bench.terminated(), pids([&idle]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_role_acts_by_its_functions_alone() {
    if hermetic() {
        return;
    }
    let bench = Bench::bare(&[]).await;
    role_sql(&bench);
    role_sql(&bench);
    let rights = "SELECT rolsuper, rolreplication, rolcreaterole, rolcreatedb,
                      pg_has_role('nightshift', 'pg_signal_backend', 'MEMBER'),
                      pg_has_role('nightshift', 'pg_read_all_data', 'MEMBER')
                  FROM pg_roles WHERE rolname = 'nightshift'";
    assert_eq!(bench.sql(rights), "f|f|f|f|f|f");
    let databases = Databases::new([("claims-db", bench.server.url_of("nightshift", "claims").as_str())]).unwrap();
    let (mut idle, slow) = (bench.client().await, bench.client().await);
    idle.runs("SELECT 1").await;
    let slow = slow.begins("SELECT pg_sleep(600)");
    let kill = Hand::on(&databases, KILL, json!({"idle_for": "1s"}));
    let plan = kill.plan(1).await;
    assert_eq!(listed(&plan.proposal), [idle.pid]);
    assert_eq!(ended(&kill.apply(&plan).await), (1, 0, None));
    assert_eq!(bench.terminated(), pids([&idle]));
    let cancel = Hand::on(&databases, CANCEL, json!({"longer_than": "1s", "terminate": true}));
    let plan = cancel.plan(1).await;
    assert_eq!(ended(&cancel.apply(&plan).await), (0, 1, None));
    let (mut slow, said) = slow.end().await;
    assert!(said.unwrap_err().contains("canceling statement due to user request") && slow.lives().await);

    // One that does not heed, ended by the third function; without that, the grant is named.
    let stubborn = bench.client().await.begins(STUBBORN);
    let plan = cancel.plan(1).await;
    assert_eq!(ended(&cancel.apply(&plan).await), (1, 0, None));
    assert!(bench.terminated().contains(&stubborn.pid));
    bench.sql("DROP FUNCTION nightshift.end_query");
    assert!(error(&cancel).await.contains("GRANT pg_signal_backend TO nightshift"));
    let plain = Hand::on(&databases, CANCEL, json!({"longer_than": "1s"}));
    assert!(plain.observe().await.is_ok());

    // A function that would run with our own rights is not one of them.
    bench.sql("ALTER FUNCTION nightshift.end_idle_session SECURITY INVOKER");
    assert!(error(&kill).await.contains("GRANT pg_signal_backend TO nightshift"));
}

/// Catches its own cancelling, again and again.
pub const STUBBORN: &str = "DO $$ BEGIN LOOP
    BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END;
END LOOP; END $$";

#[tokio::test(flavor = "multi_thread")]
async fn the_functions_refuse_whatever_they_are_asked() {
    if hermetic() {
        return;
    }
    let bench = Bench::bare(&[]).await;
    role_sql(&bench);
    bench.sql(
        "CREATE ROLE root LOGIN SUPERUSER; CREATE ROLE replica LOGIN REPLICATION; CREATE ROLE holder LOGIN REPLICATION;
         CREATE ROLE sender LOGIN REPLICATION",
    );
    let mut holder = bench.client_of("holder", "app").await;
    holder.runs("SELECT pg_create_physical_replication_slot('held', true, true)").await;
    let receiver = receiver(&bench).await;
    // Only what they are protects these two.
    bench.sql("ALTER ROLE holder NOREPLICATION; ALTER ROLE sender NOREPLICATION");
    let root_idle = bench.client_of("root", "app").await;
    let (replica, ours) = (bench.client_of("replica", "app").await, bench.client_of("app", "nightshift").await);
    let protected = [root_idle.pid, replica.pid, holder.pid, receiver.pid, ours.pid];
    let root_works = bench.client_of("root", "app").await.begins("SELECT pg_sleep(600)");
    let works = bench.client().await.begins("SELECT pg_sleep(600)");
    let idle = bench.client().await;
    bench.sees_pid(works.pid, "state = 'active'").await;
    bench.sees_pid(root_works.pid, "state = 'active'").await;
    let url = format!("{}&application_name=asks", bench.server.url_of("nightshift", "claims"));
    let mut asks = Client::connect(&url).await;
    let ask = async |asks: &mut Client, function: &str, pid: i32, began: &str, since: &str| {
        let sql = format!(
            "SELECT nightshift.{function}(pid, {began}, {since}) FROM pg_stat_activity WHERE pid = {pid}
             AND {began} IS NOT NULL"
        );
        let answer =
            sqlx::query_scalar::<_, Option<bool>>(sqlx::AssertSqlSafe(sql)).fetch_one(&mut asks.connection).await;
        answer.unwrap().unwrap_or(false)
    };
    for pid in protected.into_iter().chain([root_works.pid, asks.pid]) {
        for (function, since) in
            [("end_idle_session", "state_change"), ("cancel_query", "query_start"), ("end_query", "query_start")]
        {
            assert!(!ask(&mut asks, function, pid, "backend_start", since).await, "{function} of {pid}");
        }
    }
    // What works is not idle, what is idle does not work, and either is itself only since then.
    assert!(!ask(&mut asks, "end_idle_session", works.pid, "backend_start", "state_change").await);
    assert!(!ask(&mut asks, "cancel_query", idle.pid, "backend_start", "query_start").await);
    assert!(!ask(&mut asks, "end_query", idle.pid, "backend_start", "query_start").await);
    for (began, since) in [
        ("backend_start + interval '1 microsecond'", "state_change"),
        ("backend_start", "state_change + interval '1 microsecond'"),
    ] {
        assert!(!ask(&mut asks, "end_idle_session", idle.pid, began, since).await);
    }
    let background = "SELECT bool_or(nightshift.end_query(pid, backend_start, backend_start)) FROM pg_stat_activity
                      WHERE backend_type NOT IN ('client backend', 'walsender')";
    assert_eq!(
        sqlx::query_scalar::<_, Option<bool>>(background).fetch_one(&mut asks.connection).await.unwrap(),
        Some(false)
    );
    let said = asks.is_refused("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'").await;
    assert!(
        said.contains("must be a member of the role whose process is being terminated")
            || said.contains("permission denied")
    );
    let mut app = bench.client().await;
    let said = app.is_refused("SELECT nightshift.end_idle_session(1, now(), now())").await;
    assert!(said.contains("permission denied for schema nightshift"), "{said}");
    assert_eq!(bench.terminated().len(), 0);
    assert!(ask(&mut asks, "end_idle_session", idle.pid, "backend_start", "state_change").await);
    assert!(ask(&mut asks, "cancel_query", works.pid, "backend_start", "query_start").await);
    drop((root_idle, replica, holder, receiver, ours));
}

/// A standby's stand-in: it streams, and its walsender is active. By hand, because pg_receivewal takes no newer server.
struct Receiver {
    pid: i32,
    _stream: std::net::TcpStream,
}

async fn receiver(bench: &Bench) -> Receiver {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", bench.server.port())).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    let parameters = b"user\0sender\0replication\0true\0\0";
    let length = u32::try_from(8 + parameters.len()).unwrap();
    let protocol = 196_608_u32;
    stream.write_all(&[&length.to_be_bytes()[..], &protocol.to_be_bytes(), parameters].concat()).unwrap();
    let until = |stream: &mut std::net::TcpStream, wanted: u8| loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        stream.read_exact(&mut body).unwrap();
        assert_ne!(head[0], b'E', "{}", String::from_utf8_lossy(&body));
        if head[0] == wanted {
            return;
        }
    };
    until(&mut stream, b'Z');
    let query = format!("START_REPLICATION PHYSICAL {}\0", bench.sql("SELECT pg_current_wal_flush_lsn()"));
    let length = u32::try_from(4 + query.len()).unwrap();
    stream.write_all(&[b"Q", &length.to_be_bytes()[..], query.as_bytes()].concat()).unwrap();
    until(&mut stream, b'W');
    let pid = crate::support::wait_until("a walsender", WITHIN, async || {
        let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender' AND state = 'active'";
        bench.sql(sql).parse::<i32>().map_err(|_| "none".to_owned())
    })
    .await;
    Receiver { pid, _stream: stream }
}

/// Whoever may create a schema in the database, as its owner may, would own what the functions rest on.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_made_first_gets_no_rights() {
    if hermetic() {
        return;
    }
    let bench = Bench::bare(&[]).await;
    bench.sql("ALTER DATABASE claims OWNER TO app");
    let mut app = bench.client().await;
    app.runs("CREATE SCHEMA nightshift").await;
    let why = run_role_sql(&bench).unwrap_err();
    assert!(why.contains("schema nightshift belongs to app, who is no superuser"), "{why}");
    bench.sql("DROP SCHEMA nightshift; CREATE ROLE nightshift_signals NOLOGIN ROLE app");
    let why = run_role_sql(&bench).unwrap_err();
    assert!(why.contains("app, who is no superuser, is a member of nightshift_signals"), "{why}");
    bench.sql("REVOKE nightshift_signals FROM app; ALTER ROLE nightshift_signals LOGIN");
    let why = run_role_sql(&bench).unwrap_err();
    assert!(why.contains("role nightshift_signals can log in"), "{why}");
    bench.sql("DROP ROLE nightshift_signals; CREATE ROLE nightshift LOGIN; GRANT nightshift TO app WITH ADMIN OPTION");
    let why = run_role_sql(&bench).unwrap_err();
    assert!(why.contains("may give nightshift away"), "{why}");
    bench.sql("REVOKE nightshift FROM app");
    role_sql(&bench);
    assert_eq!(
        bench.sql("SELECT to_regnamespace('nightshift')::text, rolname FROM pg_roles WHERE rolname = 'app'"),
        "nightshift|app"
    );
}

/// An earlier version's functions read a view, which whoever owned the schema could replace by their own code.
#[tokio::test(flavor = "multi_thread")]
async fn the_functions_rest_on_nothing_that_a_schemas_owner_can_replace() {
    if hermetic() {
        return;
    }
    let bench = Bench::bare(&[]).await;
    role_sql(&bench);
    bench.sql("CREATE ROLE other LOGIN; ALTER SCHEMA nightshift OWNER TO app");
    let mut app = bench.client().await;
    app.runs(
        "DROP VIEW IF EXISTS nightshift.touchable;
         CREATE FUNCTION nightshift.evil() RETURNS TABLE (pid int, backend_start timestamptz, state text,
             state_change timestamptz, query_start timestamptz, xact_start timestamptz, backend_xid xid)
         LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE a.usename = 'other'; RETURN;
         END $$;
         CREATE VIEW nightshift.touchable AS SELECT * FROM nightshift.evil();
         GRANT SELECT ON nightshift.touchable TO PUBLIC; GRANT USAGE ON SCHEMA nightshift TO PUBLIC",
    )
    .await;
    // Somebody else's session that works, which `app` may not end.
    let other = bench.client_of("other", "other").await.begins("SELECT pg_sleep(600)");
    bench.sees_pid(other.pid, "state = 'active'").await;
    let url = format!("{}&application_name=nightshift", bench.server.url_of("nightshift", "claims"));
    let mut nightshift = Client::connect(&url).await;
    for ask in [
        "SELECT nightshift.end_idle_session(1, now(), now())",
        "SELECT nightshift.cancel_query(1, now(), now())",
        "SELECT nightshift.end_query(1, now(), now())",
    ] {
        nightshift.runs(ask).await;
    }
    assert_eq!(bench.terminated().len(), 0, "code of `app` ran as nightshift_signals");
    // And nightshift does not call them any more: the schema's owner can replace them.
    let databases = Databases::new([("claims-db", bench.server.url_of("nightshift", "claims").as_str())]).unwrap();
    let kill = Hand::on(&databases, KILL, json!({"idle_for": "1s"}));
    let why = error(&kill).await;
    assert!(
        why.contains("not used: nightshift.cancel_query, nightshift.end_idle_session, nightshift.end_query"),
        "{why}"
    );
}

/// One who may create in the database makes a function that says yes and does nothing, and no session ever ends.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_function_is_not_called() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    bench.sql("GRANT CREATE ON DATABASE claims TO app");
    let mut idle = bench.client().await;
    idle.runs(
        "CREATE SCHEMA nightshift; GRANT USAGE ON SCHEMA nightshift TO PUBLIC;
         CREATE FUNCTION nightshift.end_idle_session(int, timestamptz, timestamptz) RETURNS bool
         LANGUAGE sql SECURITY DEFINER AS 'SELECT true'",
    )
    .await;
    let hand = bench.hand(KILL, json!({"idle_for": "1s"}));
    let plan = hand.plan(1).await;
    assert_eq!(ended(&hand.apply(&plan).await), (1, 0, None), "by pg_signal_backend");
    assert_eq!(bench.terminated(), pids([&idle]));
    bench.sql("REVOKE pg_signal_backend FROM watch");
    let why = error(&hand).await;
    assert!(
        why.contains("GRANT pg_signal_backend TO watch") && why.contains("(not used: nightshift.end_idle"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_counts_who_is_there_and_needs_no_right_to_end_anybody() {
    if hermetic() {
        return;
    }
    let bench = Bench::bare(&["max_connections=20"]).await;
    bench.sql("CREATE ROLE watch LOGIN");
    let mut open = bench.client_of("app", "web").await;
    open.runs("BEGIN").await;
    let _idle = [bench.client().await, bench.client().await];
    let databases = Databases::new([("claims-db", bench.server.url_of("watch", "claims").as_str())]).unwrap();
    let mut registry = evidence::Registry::default();
    evidence::postgres::register(&mut registry, &databases);
    let collector = registry.get("postgres/connections").unwrap();
    let target = Object::Database { name: "claims-db".to_owned() };
    assert!(collector.check(&json!({}), &target).is_empty());
    let blind = collector.collect(&target, &json!({}), WITHIN).await.unwrap();
    assert!(blind.summary.ends_with("not visible to nightshift's role"), "{}", blind.summary);
    bench.sql("GRANT pg_read_all_stats TO watch");
    let collected = collector.collect(&target, &json!({}), WITHIN).await.unwrap();
    let says = "4 of 20 connections are used (3 are reserved): 2 idle, 1 idle in transaction, idle for up to ";
    assert!(collected.summary.starts_with(says), "{}", collected.summary);
    let body: serde_json::Value = serde_json::from_slice(&collected.body).unwrap();
    let group = &body["sessions"].as_array().unwrap().iter().find(|group| group["sessions"] == 2).unwrap();
    assert_eq!(
        (&group["user"], &group["database"], &group["state"]),
        (&json!("app"), &json!("claims"), &json!("idle"))
    );
}
