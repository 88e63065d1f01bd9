//! Which PostgreSQL it is: the one that was asked for, with what its version has for the shipped role.

use crate::{
    bench::{Bench, ended, pids},
    rights::role_sql,
    support::hermetic,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_the_one_whose_programs_were_named() {
    if hermetic() {
        return;
    }
    let bench = Bench::bare(&[]).await;
    let output = bench.server.program("postgres").arg("--version").output().unwrap();
    // `postgres (PostgreSQL) 16.14`, and what Debian says after it.
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let named = told.split_whitespace().nth(2).unwrap_or_default();
    let runs = bench.sql("SHOW server_version");
    assert_eq!(runs.split_whitespace().next(), Some(named), "{told}");
    eprintln!("PostgreSQL {runs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_role_may_use_reserved_connections_where_there_are_any() {
    if hermetic() {
        return;
    }
    let bench = Bench::bare(&["max_connections=20"]).await;
    role_sql(&bench);
    let number: u32 = bench.sql("SHOW server_version_num").parse().unwrap();
    let sql = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles of ON of.oid = m.roleid
               JOIN pg_roles member ON member.oid = m.member
               WHERE of.rolname = 'pg_use_reserved_connections' AND member.rolname = 'nightshift'";
    assert_eq!(bench.sql(sql), if number >= 160_000 { "1" } else { "0" });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_is_not_inherited_is_no_right_and_is_told() {
    if hermetic() {
        return;
    }
    let bench = Bench::bare(&[]).await;
    let number: u32 = bench.sql("SHOW server_version_num").parse().unwrap();
    // Since 16 that is an option of each grant, before it is the role's own.
    let (made, mended) = if number >= 160_000 {
        ("GRANT pg_read_all_stats, pg_signal_backend TO watch WITH INHERIT FALSE", "WITH INHERIT TRUE")
    } else {
        ("ALTER ROLE watch NOINHERIT; GRANT pg_read_all_stats, pg_signal_backend TO watch", "")
    };
    bench.sql(&format!("CREATE ROLE watch LOGIN; {made}"));
    let idle = bench.client().await;
    let hand = bench.hand("postgres/kill_idle", json!({"idle_for": "1s"}));
    let why = hand.observe().await.err().unwrap();
    assert!(why.contains("cannot see other sessions"), "{why}");
    if number < 160_000 {
        bench.sql("ALTER ROLE watch INHERIT");
    } else {
        bench.sql(&format!("GRANT pg_read_all_stats TO watch {mended}"));
        let why = hand.observe().await.err().unwrap();
        assert!(why.contains("GRANT pg_signal_backend"), "{why}");
        bench.sql(&format!("GRANT pg_signal_backend TO watch {mended}"));
    }
    let plan = hand.plan(1).await;
    assert_eq!(ended(&hand.apply(&plan).await), (1, 0, None));
    assert_eq!(bench.terminated(), pids([&idle]));
}
