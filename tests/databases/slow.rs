//! `postgres/cancel_slow`: which queries are cancelled, which sessions are ended, and who is left alone.

use crate::{
    bench::{Bench, ended, is_changed, listed, pids},
    rights::STUBBORN,
    support::{hermetic, wait_until},
};
use nightshift::model::observation::{DryRun, Holds, Outcome, TargetReading};
use serde_json::json;
use std::time::Duration;

const CANCEL: &str = "postgres/cancel_slow";
const CANCELLED: &str = "canceling statement due to user request";

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_query_is_cancelled_and_its_session_lives() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    bench.sql("CREATE ROLE migrations LOGIN; CREATE ROLE root LOGIN SUPERUSER; CREATE ROLE replica LOGIN REPLICATION");
    let first = bench.client().await.begins("SELECT pg_sleep(600)");
    bench.sees_pid(first.pid, "state = 'active'").await;
    let second = bench.client().await.begins("SELECT pg_sleep(600), 2");
    let mut untouched = Vec::new();
    for (role, application) in [("migrations", "app"), ("root", "app"), ("replica", "app"), ("app", "nightshift")] {
        untouched.push(bench.client_of(role, application).await.begins("SELECT pg_sleep(600), 3"));
    }
    let idle = bench.client().await;
    let hand = bench.hand(CANCEL, json!({"longer_than": "1s", "never_users": "migrations"}));
    let plan = hand.plan(2).await;
    assert_eq!(listed(&plan.proposal), [first.pid, second.pid], "the oldest first");
    assert!(plan.proposal.summary.starts_with("cancel 2 queries that run for more than 1s (app 2)"), "{plan:?}");
    assert!(!serde_json::to_string(&plan).unwrap().contains("pg_sleep"), "the texts of queries are in no plan");
    assert!(plan.proposal.undo.is_null());
    assert_eq!(hand.dry_run(&plan).await, DryRun::Accepted);
    assert_eq!(hand.holds(&plan).await, Holds::Yes);
    assert!(matches!(hand.read_back(&plan).await, Outcome::NotApplied { changed_since: false, .. }));
    assert!(matches!(hand.measure(&plan).await, TargetReading::NotYet { .. }));
    assert!(!bench.server.process().log().contains(CANCELLED));

    assert_eq!(ended(&hand.apply(&plan).await), (0, 2, None));
    let mut cancelled = Vec::new();
    for running in [first, second] {
        let (mut client, said) = running.end().await;
        assert!(said.unwrap_err().contains(CANCELLED) && client.lives().await);
        cancelled.push(client);
    }
    assert_eq!(bench.server.process().log().matches(CANCELLED).count(), 2);
    for running in &untouched {
        bench.sees_pid(running.pid, "state = 'active'").await;
    }
    bench.sees(&idle, "state = 'idle'").await;
    assert!(is_changed(&hand.apply(&plan).await), "twice is once");
    // The server keeps no count of cancelled queries.
    let Outcome::Unknown { why } = hand.read_back(&plan).await else { panic!() };
    assert_eq!(why, "2 of 2 queries are over: cancelled or done, nothing tells");
    assert!(matches!(hand.measure(&plan).await, TargetReading::Well { .. }));
    assert!(hand.refusal().await.starts_with("no query that may be cancelled runs for longer than 1s"));
    assert_eq!(bench.terminated().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_query_of_a_session_is_another_query() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let running = bench.client().await.begins("SELECT pg_sleep(600)");
    let pid = running.pid;
    let hand = bench.hand(CANCEL, json!({"longer_than": "1s"}));
    let plan = hand.plan(1).await;
    bench.sql(&format!("SELECT pg_cancel_backend({pid})"));
    let (client, _) = running.end().await;
    let next = client.begins("SELECT pg_sleep(600), 2");
    bench.sees_pid(pid, "state = 'active'").await;
    assert!(matches!(hand.holds(&plan).await, Holds::Changed { .. }));
    let outcome = hand.apply(&plan).await;
    assert!(is_changed(&outcome), "{outcome:?}");
    // Altered, it is not the query that runs.
    let plan = hand.plan(1).await;
    for key in ["backend_start", "since"] {
        let mut proposal = plan.proposal.clone();
        let session = &mut proposal.from["sessions"][0];
        session[key] = json!(session[key].as_i64().unwrap() + 1);
        assert!(is_changed(&hand.apply(&hand.seal(proposal)).await), "{key}");
    }
    bench.sees_pid(next.pid, "state = 'active'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_heed_is_ended_only_when_asked() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let stubborn = bench.client().await.begins(STUBBORN);
    let asked_only = bench.hand(CANCEL, json!({"longer_than": "1s"}));
    let plan = asked_only.plan(1).await;
    let outcome = asked_only.apply(&plan).await;
    let Outcome::Unknown { why } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(why, "1 queries were told to stop and still run");
    let outcome = asked_only.read_back(&plan).await;
    assert!(matches!(outcome, Outcome::NotApplied { changed_since: false, .. }), "{outcome:?}");
    bench.sees_pid(stubborn.pid, "state = 'active'").await;

    let heeds = bench.client().await.begins("SELECT pg_sleep(600)");
    let hand = bench.hand(CANCEL, json!({"longer_than": "1s", "terminate": true}));
    let plan = hand.plan(2).await;
    assert!(plan.proposal.summary.ends_with("and end the sessions of those that go on"), "{plan:?}");
    assert_eq!(ended(&hand.apply(&plan).await), (1, 1, None));
    assert_eq!(bench.terminated(), [stubborn.pid].into());
    let (mut client, _) = heeds.end().await;
    assert!(client.lives().await);
    assert_eq!(ended(&hand.read_back(&plan).await), (1, 0, Some("1 are over, cancelled or done")));
    assert_eq!(bench.pids(), pids([&client]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_to_prevent_wraparound_is_no_clients_query() {
    if hermetic() {
        return;
    }
    let bench =
        Bench::with(&["autovacuum_freeze_max_age=100000", "autovacuum_naptime=1s", "autovacuum_max_workers=1"]).await;
    // Off for all but what must be, and then so slow that it is still there at the end.
    bench.sql(
        "CREATE TABLE old WITH (autovacuum_enabled = false, autovacuum_vacuum_cost_delay = 100,
             autovacuum_vacuum_cost_limit = 1) AS SELECT generate_series(1, 200000) AS a",
    );
    bench.sql(
        "CREATE PROCEDURE age(n int) LANGUAGE plpgsql AS $$
         BEGIN FOR i IN 1..n LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$",
    );
    bench.sql("CALL age(120000)");
    let worker = wait_until("autovacuum: … (to prevent wraparound)", Duration::from_secs(120), async || {
        let sql = "SELECT pid FROM pg_stat_activity
                   WHERE backend_type = 'autovacuum worker' AND state = 'active' AND query LIKE '%.old (to prevent wraparound)'
                     AND query_start < now() - interval '2 seconds'";
        let seen = bench.sql(sql);
        seen.parse::<i32>().map_err(|_| bench.sql("SELECT backend_type, query FROM pg_stat_activity"))
    })
    .await;
    let slow = bench.client().await.begins("SELECT pg_sleep(600)");
    let hand = bench.hand(CANCEL, json!({"longer_than": "1s", "terminate": true}));
    let plan = hand.plan(1).await;
    assert_eq!(listed(&plan.proposal), [slow.pid]);
    // Not even where a plan lists it.
    let row = bench.sql(&format!(
        "SELECT (extract(epoch FROM backend_start) * 1000000)::bigint, (extract(epoch FROM query_start) * 1000000)::bigint
         FROM pg_stat_activity WHERE pid = {worker}"
    ));
    let (start, since) = row.split_once('|').unwrap();
    let mut proposal = plan.proposal.clone();
    let session = &mut proposal.from["sessions"][0];
    session["pid"] = json!(worker);
    session["backend_start"] = json!(start.parse::<i64>().unwrap());
    session["since"] = json!(since.parse::<i64>().unwrap());
    assert!(is_changed(&hand.apply(&hand.seal(proposal)).await));
    assert_eq!(ended(&hand.apply(&plan).await), (0, 1, None));
    bench.sees_pid(worker, "query LIKE '%(to prevent wraparound)'").await;
}
