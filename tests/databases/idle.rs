//! `postgres/kill_idle`: who is ended, and above all who is not.

use crate::{
    bench::{Bench, Client, Hand, ended, is_changed, listed, now, pids},
    support::{hermetic, wait_until},
};
use nightshift::model::{
    observation::{DryRun, Holds, Outcome, Proposed, TargetReading},
    plan::Plan,
};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Child, Stdio},
    time::Duration,
};

const KILL: &str = "postgres/kill_idle";

/// Somebody whom nobody may end, each for one reason alone.
struct Protected {
    clients: Vec<Client>,
    /// Works while the plan is made and carried out.
    works: crate::bench::Running,
    /// psql in replication mode: an idle walsender.
    walsender: Child,
}

impl Protected {
    /// Replication is told by what a session is and by its role. The role of the walsender and of the slot's holder
    /// loses the attribute once they are connected, so that only what they are protects them.
    async fn arrive(bench: &Bench) -> Protected {
        bench.sql(
            "CREATE ROLE root LOGIN SUPERUSER; CREATE ROLE replica LOGIN REPLICATION;
             CREATE ROLE sender LOGIN REPLICATION; CREATE ROLE holder LOGIN REPLICATION;
             CREATE ROLE allowed LOGIN",
        );
        let mut holder = bench.client_of("holder", "holder").await;
        holder.runs("SELECT pg_create_physical_replication_slot('held', true, true)").await;
        let walsender = walsender(bench).await;
        bench.sql("ALTER ROLE sender NOREPLICATION; ALTER ROLE holder NOREPLICATION");
        let clients = vec![
            bench.client_of("root", "app").await,
            bench.client_of("replica", "app").await,
            holder,
            bench.client_of("allowed", "app").await,
            bench.client_of("app", "batch").await,
            bench.client_of("app", "nightshift").await,
        ];
        let works = bench.client().await.begins("SELECT pg_sleep(600)");
        bench.sees_pid(works.pid, "state = 'active'").await;
        Protected { clients, works, walsender }
    }

    async fn all_live(&mut self, bench: &Bench) {
        for client in &mut self.clients {
            assert!(client.lives().await, "session {} was ended", client.pid);
        }
        assert_eq!(bench.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'sender'"), "1");
        bench.sees_pid(self.works.pid, "state = 'active'").await;
    }
}

async fn walsender(bench: &Bench) -> Child {
    let mut psql = bench.server.program("psql");
    psql.arg(format!("host=127.0.0.1 port={} dbname=claims user=sender replication=database", bench.server.port()));
    psql.env("PGAPPNAME", "sender").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = psql.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"IDENTIFY_SYSTEM;\n").unwrap();
    wait_until("an idle walsender", Duration::from_secs(20), async || {
        let seen = bench.sql("SELECT backend_type, state FROM pg_stat_activity WHERE usename = 'sender'");
        if seen == "walsender|idle" { Ok(()) } else { Err(seen) }
    })
    .await;
    child
}

impl Drop for Protected {
    fn drop(&mut self) {
        let _ = self.walsender.kill();
        let _ = self.walsender.wait();
    }
}

/// The plan with its sessions as `change` leaves them.
fn altered(hand: &Hand, plan: &Plan, change: impl Fn(&mut Value)) -> Plan {
    let mut proposal = plan.proposal.clone();
    for session in proposal.from["sessions"].as_array_mut().unwrap() {
        change(session);
    }
    hand.seal(proposal)
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_end_and_nobody_else_does() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let mut protected = Protected::arrive(&bench).await;
    let mut in_transaction = bench.client().await;
    in_transaction.runs("BEGIN").await;
    let idle = [bench.client().await, bench.client().await, bench.client_of("app", "web").await];
    let hand = bench.hand(KILL, json!({"idle_for": "1s", "allow": ["allowed", "batch"]}));

    // Looking, proposing and dry-running end nobody.
    let plan = hand.plan(3).await;
    assert_eq!(listed(&plan.proposal), idle.iter().map(|client| client.pid).collect::<Vec<_>>(), "oldest first");
    assert!(plan.proposal.summary.starts_with("end 3 sessions idle for 1s (app 3), the longest for "), "{plan:?}");
    assert!(plan.proposal.undo.is_null() && !hand.action.has_undo() && plan.proposal.effect.destroys);
    assert_eq!(hand.dry_run(&plan).await, DryRun::Accepted);
    assert_eq!(hand.holds(&plan).await, Holds::Yes);
    let unread = hand.read_back(&plan).await;
    assert!(matches!(unread, Outcome::NotApplied { changed_since: false, .. }), "{unread:?}");
    assert_eq!(bench.terminated().len(), 0);

    // Once, and twice is once.
    let outcome = hand.apply(&plan).await;
    assert_eq!(ended(&outcome), (3, 0, None), "{outcome:?}");
    assert_eq!(bench.terminated(), pids(&idle));
    protected.all_live(&bench).await;
    assert!(in_transaction.lives().await);
    let again = hand.apply(&plan).await;
    assert!(is_changed(&again), "{again:?}");
    assert_eq!(ended(&hand.read_back(&plan).await), (3, 0, None));
    assert!(matches!(hand.holds(&plan).await, Holds::Changed { .. }));
    assert!(matches!(hand.dry_run(&plan).await, DryRun::Rejected { .. }));
    let TargetReading::Well { says } = hand.measure(&plan).await else { panic!() };
    assert!(says.contains("of 200 connections are used (3 are reserved)"), "{says}");
    assert!(hand.refusal().await.starts_with("no session that may be ended is idle for 1s"));
    let undo = hand.action.observe_undo(&plan, None, now(), Duration::from_secs(5)).await.unwrap();
    assert!(matches!(undo.proposal, Proposed::Refused { .. }));
    assert_eq!(bench.terminated(), pids(&idle));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_names_whom_nobody_may_end_ends_nobody() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let mut protected = Protected::arrive(&bench).await;
    let idle = bench.client().await;
    let hand = bench.hand(KILL, json!({"idle_for": "1s", "allow": ["allowed", "batch"]}));
    let plan = hand.plan(1).await;
    // As if the list had been wrong: with what everyone of them is really seen as now.
    let rows = bench.sql(
        "SELECT json_agg(json_build_object('pid', pid, 'backend_start', extract(epoch FROM backend_start) * 1000000,
            'since', extract(epoch FROM state_change) * 1000000, 'state', state, 'user', usename,
            'database', datname, 'application', application_name))
         FROM pg_stat_activity WHERE state IS NOT NULL AND application_name <> 'psql'",
    );
    let mut everyone: Value = serde_json::from_str(&rows).unwrap();
    for session in everyone.as_array_mut().unwrap() {
        for key in ["backend_start", "since"] {
            session[key] = json!(session[key].as_f64().unwrap() as i64);
        }
    }
    let others: Vec<Value> =
        everyone.as_array().unwrap().iter().filter(|session| session["pid"] != idle.pid).cloned().collect();
    assert_eq!(others.len(), 9, "six, one that works, the walsender and nightshift: {others:?}");
    let mut proposal = plan.proposal.clone();
    proposal.from = json!({ "sessions": others });
    let outcome = hand.apply(&hand.seal(proposal.clone())).await;
    assert!(is_changed(&outcome), "{outcome:?}");
    // And as idle as a plan can say.
    for session in proposal.from["sessions"].as_array_mut().unwrap() {
        session["state"] = json!("idle");
    }
    let outcome = hand.apply(&hand.seal(proposal)).await;
    assert!(is_changed(&outcome), "{outcome:?}");
    protected.all_live(&bench).await;
    assert_eq!(bench.terminated().len(), 0);
    assert_eq!(ended(&hand.apply(&plan).await), (1, 0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_with_the_same_pid_is_another_session() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let idle = [bench.client().await, bench.client().await];
    let hand = bench.hand(KILL, json!({"idle_for": "1s"}));
    let plan = hand.plan(2).await;
    let later = |session: &mut Value, key: &str| session[key] = json!(session[key].as_i64().unwrap() + 1);
    for key in ["backend_start", "since"] {
        let other = altered(&hand, &plan, |session| later(session, key));
        let outcome = hand.apply(&other).await;
        assert!(is_changed(&outcome), "{key}: {outcome:?}");
    }
    let pid_reused = altered(&hand, &plan, |session| later(session, "backend_start"));
    assert!(
        is_changed(&hand.read_back(&pid_reused).await),
        "those that the plan means are gone, and nobody ended them"
    );
    let mut elsewhere = plan.proposal.clone();
    elsewhere.uid = "started at 1".to_owned();
    let elsewhere = hand.seal(elsewhere);
    assert!(is_changed(&hand.apply(&elsewhere).await));
    assert!(matches!(hand.read_back(&elsewhere).await, Outcome::Unknown { .. }));
    assert!(matches!(hand.holds(&elsewhere).await, Holds::Changed { .. }));
    assert_eq!((bench.terminated().len(), bench.pids()), (0, pids(&idle)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_left_by_itself_is_not_told_as_ended() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let hand = bench.hand(KILL, json!({"idle_for": "1s"}));
    let (leaves, stays) = (bench.client().await, bench.client().await);
    let plan = hand.plan(2).await;
    // The answer to the write is lost before the server got anything; meanwhile one client hangs up.
    leave(&bench, leaves).await;
    let outcome = hand.read_back(&plan).await;
    let Outcome::NotApplied { why, changed_since: false } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(why, "1 of 2 sessions left by themselves: nobody ended one");
    // The other one is ended: one of two.
    assert_eq!(ended(&hand.apply(&plan).await).0, 1);
    assert_eq!(bench.terminated(), pids([&stays]));
    assert_eq!(ended(&hand.read_back(&plan).await), (1, 0, Some("1 left by themselves")));
    // Where somebody else ended more than are gone, or the count began anew, it cannot be told.
    let _other = bench.client_of("app", "batch").await;
    bench.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'batch'");
    let third = bench.client_of("app", "batch").await;
    bench.sql(&format!("SELECT pg_terminate_backend({}, 5000)", third.pid));
    assert!(matches!(hand.read_back(&plan).await, Outcome::Unknown { .. }));
    bench.sql("SELECT pg_stat_reset()");
    assert!(matches!(hand.read_back(&plan).await, Outcome::Unknown { .. }));
    // All of a plan left: there is nothing to try again.
    let last = bench.client().await;
    let plan = hand.plan(1).await;
    leave(&bench, last).await;
    assert!(is_changed(&hand.read_back(&plan).await));
}

/// The client hangs up, and its session is gone.
async fn leave(bench: &Bench, client: Client) {
    let pid = client.pid;
    sqlx::Connection::close(client.connection).await.unwrap();
    wait_until("it has left", Duration::from_secs(20), async || {
        if bench.pids().contains(&pid) { Err("still there".to_owned()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_used_since_lives() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let (mut used, works) = (bench.client().await, bench.client().await);
    let hand = bench.hand(KILL, json!({"idle_for": "1s"}));
    let plan = hand.plan(2).await;
    // One is idle again, as before but later; the other works.
    used.runs("SELECT 1").await;
    let works = works.begins("SELECT pg_sleep(600)");
    bench.sees_pid(works.pid, "state = 'active'").await;
    bench.sees(&used, "state = 'idle'").await;
    assert!(matches!(hand.holds(&plan).await, Holds::Changed { .. }));
    assert!(matches!(hand.dry_run(&plan).await, DryRun::Rejected { .. }));
    let outcome = hand.apply(&plan).await;
    assert!(is_changed(&outcome), "{outcome:?}");
    assert_eq!(bench.terminated().len(), 0);

    // Of a plan for two, the one that is as it was is ended.
    let idle = bench.client().await;
    let plan = hand.plan(2).await;
    used.runs("SELECT 1").await;
    bench.sees(&used, "state = 'idle'").await;
    let outcome = hand.apply(&plan).await;
    let (sessions, _, rest) = ended(&outcome);
    assert_eq!((sessions, rest), (1, Some("1 were used since, or are too few to end")));
    assert_eq!(bench.terminated(), pids([&idle]));
    assert!(used.lives().await);
    bench.sees_pid(works.pid, "state = 'active'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_a_transaction_ends_only_when_asked_by_a_limit_of_its_own() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let (mut open, mut aborted, idle) = (bench.client().await, bench.client().await, bench.client().await);
    open.runs("BEGIN").await;
    aborted.runs("BEGIN").await;
    aborted.is_refused("SELECT 1 / 0").await;
    let plan = bench.hand(KILL, json!({"idle_for": "1s"})).plan(1).await;
    assert_eq!(listed(&plan.proposal), [idle.pid]);
    let long = bench.hand(KILL, json!({"idle_for": "1s", "idle_in_transaction_for": "10m"})).plan(1).await;
    assert_eq!(listed(&long.proposal), [idle.pid], "each has its limit");
    let hand = bench.hand(KILL, json!({"idle_in_transaction_for": "1s"}));
    let plan = hand.plan(2).await;
    assert!(plan.proposal.summary.starts_with("end 2 sessions idle in a transaction for 1s"), "{plan:?}");
    // Out of its transaction it is as idle as any other, and another matter.
    open.runs("ROLLBACK").await;
    bench.sees(&open, "state = 'idle'").await;
    assert_eq!(ended(&hand.apply(&plan).await).0, 1);
    assert_eq!(bench.terminated(), pids([&aborted]));
    assert!(open.lives().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_max_end_and_no_fewer_than_keep_stay() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(bench.client().await);
    }
    let works = bench.client().await.begins("SELECT pg_sleep(600)");
    bench.sees_pid(works.pid, "state = 'active'").await;
    bench.hand(KILL, json!({"idle_for": "1s"})).plan(5).await;
    let oldest = bench.hand(KILL, json!({"idle_for": "1s", "max": 2})).plan(2).await;
    assert_eq!(listed(&oldest.proposal), [idle[0].pid, idle[1].pid]);
    let all = bench.hand(KILL, json!({"idle_for": "1s", "keep": 6})).refusal().await;
    assert_eq!(all, "there are 6 sessions, and 6 are kept");
    // Six are there, one of which works: four may end. Two leave by themselves before that.
    let hand = bench.hand(KILL, json!({"idle_for": "1s", "keep": 2}));
    let plan = hand.plan(4).await;
    for _ in 0..2 {
        let left = idle.pop().unwrap();
        let pid = left.pid;
        drop(left);
        wait_until("it has left", Duration::from_secs(20), async || {
            if bench.pids().contains(&pid) { Err("still there".to_owned()) } else { Ok(()) }
        })
        .await;
    }
    let outcome = hand.apply(&plan).await;
    assert_eq!(ended(&outcome).0, 2, "{outcome:?}");
    assert_eq!(bench.terminated(), pids(&idle[..2]));
    assert_eq!(bench.pids().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_by_database_user_application_and_client() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    bench.sql("CREATE ROLE report LOGIN");
    let url = bench.server.url_of("app", "postgres");
    let (app, report) = (bench.client().await, bench.client_of("report", "nightly").await);
    let elsewhere = Client::connect(&url).await;
    for (filter, expected) in [
        (json!({"database": "claims"}), vec![app.pid, report.pid]),
        (json!({"database": ["postgres", "gone"]}), vec![elsewhere.pid]),
        (json!({"user": "report"}), vec![report.pid]),
        (json!({"application": ["nightly"]}), vec![report.pid]),
        (json!({"user": "app", "database": "claims"}), vec![app.pid]),
        (json!({"client": "127.0.0.0/8", "user": "report"}), vec![report.pid]),
        (json!({"client": ["local", "127.0.0.1"], "allow": "app"}), vec![report.pid]),
    ] {
        let mut with = filter.clone();
        with["idle_for"] = json!("1s");
        let plan = bench.hand(KILL, with).plan(expected.len()).await;
        assert_eq!(listed(&plan.proposal), expected, "{filter}");
    }
    for filter in [json!({"client": "local"}), json!({"client": "10.0.0.0/8"}), json!({"user": "a' OR 'a' = 'a"})] {
        let mut with = filter.clone();
        with["idle_for"] = json!("1s");
        assert!(bench.hand(KILL, with).refusal().await.starts_with("no session that may be ended"), "{filter}");
    }
    // The filter holds for the write too.
    let hand = bench.hand(KILL, json!({"idle_for": "1s", "user": "report"}));
    let plan = hand.plan(1).await;
    let mut proposal = plan.proposal.clone();
    proposal.precondition["filter"]["users"] = json!(["app"]);
    assert!(is_changed(&hand.apply(&hand.seal(proposal)).await));
    assert_eq!(bench.pids().len(), 3);
    assert_eq!(ended(&hand.apply(&plan).await).0, 1);
    assert_eq!(bench.terminated(), pids([&report]));
}
