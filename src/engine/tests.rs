//! The engine as a whole, on the memory journal and a clock that stands until it is moved.

use super::{
    Clock, FakeClock, Fatal, Refused, entry, fold, replay,
    start::StartError,
    testing::{Bench, Gated, MORNING, command, firing, options, resolved, rule, settle, telling, until},
    *,
};
use crate::{
    decide::{Illegal, Policy, State},
    engine::testing::policy,
    journal::{
        self, Journal, Row, chain,
        memory::{Fault, Memory},
    },
    model::{
        event::Event,
        id::Fingerprint,
        input::{Command, Input},
        mode::Mode,
        time::{Micros, Span},
    },
};
use std::sync::Arc;

fn pause() -> Input {
    command(Command::Pause { reason: "maintenance".to_owned() })
}

fn resume() -> Input {
    command(Command::Resume { pause_file_present: false })
}

#[tokio::test]
async fn a_webhooks_alerts_are_answered_together_once_they_are_durable() {
    let mut bench = Bench::with(telling()).await;
    let answer = bench.handle.intake(vec![firing("A", MORNING), firing("B", MORNING)]).await.unwrap();
    assert_eq!(answer.events.len(), 2);
    assert!(answer.events[1].iter().any(|event| matches!(event, Event::IncidentOpened { .. })));
    let rows = bench.rows().await;
    assert_eq!(bench.causes().await, ["started", "alert", "alert"]);
    assert_eq!(answer.seq, Some(3));
    assert_eq!((rows[1].incident, rows[2].incident), (Some(1), Some(2)));
    chain::verify(&rows, journal::GENESIS).unwrap();
    bench.stop().await.unwrap();
    assert_eq!(bench.causes().await.last().map(String::as_str), Some("stopped"));
}

#[tokio::test]
async fn a_known_alert_writes_nothing_and_is_remembered_as_delivered() {
    let bench = Bench::with(telling()).await;
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    let later = MORNING + Span::minutes(5);
    let again = bench.handle.intake(vec![firing("A", later)]).await.unwrap();
    assert_eq!(again.seq, None);
    assert!(again.events[0].is_empty());
    assert_eq!(bench.causes().await, ["started", "alert"]);
    let asked = vec![Fingerprint::new("A"), Fingerprint::new("B")];
    let deliveries = bench.handle.deliveries(asked.clone()).await.unwrap();
    assert_eq!(deliveries.into_iter().collect::<Vec<_>>(), [(Fingerprint::new("A"), later)]);
    bench.handle.intake(vec![resolved("A", later)]).await.unwrap();
    assert!(bench.handle.deliveries(asked).await.unwrap().is_empty(), "a resolve ends what is remembered");
}

#[tokio::test]
async fn nothing_leaves_before_the_commit_and_a_journal_that_hangs_is_answered_in_time() {
    let clock = FakeClock::at(MORNING);
    let journal = Gated::new(Memory::new());
    let policy = policy(vec![rule("act", Mode::Auto, Some("noop"))]);
    let (engine, handle) = start(options(Arc::new(journal.clone()), &clock, policy)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(engine.run());
    journal.open.send_replace(false);
    let mut webhooks = tokio::task::JoinSet::new();
    let sender = handle.clone();
    webhooks.spawn(async move { sender.intake(vec![firing("A", MORNING)]).await });
    settle().await;
    assert_eq!(journal.appends.lock().unwrap().last(), Some(&1), "it is on its way");
    assert!(handle.published().work().borrow().is_empty(), "no work before the commit");
    assert_eq!(handle.health().seq, 1);
    let asker = handle.clone();
    let mut questions = tokio::task::JoinSet::new();
    questions.spawn(async move { asker.read(|seen| seen.state.incident_ids().len()).await });
    // Not as far as the handle's own deadline: the engine's answer comes before it.
    clock.advance(Span::millis(750));
    settle().await;
    let answered = webhooks.try_join_next().expect("answered within a second").unwrap();
    assert_eq!(answered, Err(Refused::JournalDown));
    assert!(handle.health().journal_down);
    assert_eq!(handle.intake(vec![firing("B", MORNING)]).await, Err(Refused::JournalDown), "at once while it hangs");
    assert!(questions.try_join_next().is_none(), "what is not durable is not read");
    journal.open.send_replace(true);
    settle().await;
    assert_eq!(questions.join_next().await.unwrap().unwrap(), Ok(1));
    assert!(!handle.health().journal_down);
    assert_eq!(handle.health().seq, 2, "the same rows went in");
    assert!(!handle.published().work().borrow().is_empty());
}

#[tokio::test]
async fn a_failed_commit_is_answered_503_and_its_rows_go_in_later() {
    let bench = Bench::with(telling()).await;
    bench.journal.fail_next_append(Fault::BeforeCommit);
    bench.journal.fail_next_append(Fault::BeforeCommit);
    assert_eq!(bench.handle.intake(vec![firing("A", MORNING)]).await, Err(Refused::JournalDown));
    assert_eq!(bench.handle.intake(vec![firing("A", MORNING)]).await, Err(Refused::JournalDown));
    until(&bench.clock, "the journal is up again", || !bench.handle.health().journal_down).await;
    assert_eq!(bench.causes().await, ["started", "alert"]);
    let again = bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    assert_eq!(again.seq, None, "the retry finds it known");
    chain::verify(&bench.rows().await, journal::GENESIS).unwrap();
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_by_its_hash() {
    let bench = Bench::with(telling()).await;
    bench.journal.fail_next_append(Fault::AfterCommit);
    assert_eq!(bench.handle.intake(vec![firing("A", MORNING)]).await, Err(Refused::JournalDown));
    until(&bench.clock, "the journal is up again", || !bench.handle.health().journal_down).await;
    assert_eq!(bench.causes().await, ["started", "alert"], "once, not twice");
    assert!(bench.handle.intake(vec![firing("B", MORNING)]).await.is_ok());
}

#[tokio::test]
async fn a_result_waits_for_the_journal_and_is_not_refused() {
    let bench = Bench::with(telling()).await;
    bench.journal.set_down(true);
    let sender = bench.handle.clone();
    let mut results = tokio::task::JoinSet::new();
    results.spawn(async move { sender.result(Input::ClockStepped { by: Span::seconds(9) }).await });
    for _ in 0..20 {
        bench.clock.advance(Span::millis(250));
        settle().await;
    }
    assert!(results.try_join_next().is_none());
    bench.journal.set_down(false);
    until(&bench.clock, "it is recorded", || !results.is_empty() && bench.handle.health().seq == 2).await;
    assert!(results.join_next().await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn another_writer_fences_this_one() {
    let mut bench = Bench::with(telling()).await;
    let head = bench.journal.head().await.unwrap();
    let theirs = entry::seal(&head, MORNING, 9, "other", &Input::Stopped, &[Event::Stopped]).unwrap();
    bench.journal.append(&[theirs], &[]).await.unwrap();
    assert_eq!(bench.handle.intake(vec![firing("A", MORNING)]).await, Err(Refused::Stopping));
    let ended = bench.engine.join_next().await.unwrap().unwrap();
    assert!(matches!(ended, Err(Fatal::Fenced { seq: 2 })), "{ended:?}");
    assert_eq!(bench.causes().await, ["started", "stopped"], "nothing was written over it");
    assert!(bench.handle.health().ended);
}

/// Fails as our own mistakes would: half-way through, having changed the state.
fn fails_on_evil(policy: &Policy, state: &mut State, input: &Input, now: Micros) -> Result<Vec<Event>, Illegal> {
    if let Input::Alert(alert) = input {
        match alert.fingerprint.to_string().as_str() {
            "panics" => {
                crate::decide::decide(policy, state, &firing("half", now), now)?;
                panic!("no such case")
            }
            "illegal" => return Err(Illegal { event: "x".to_owned(), why: "not here".to_owned() }),
            _ => {}
        }
    }
    crate::decide::decide(policy, state, input, now)
}

#[tokio::test]
async fn an_input_that_cannot_be_decided_is_recorded_and_leaves_the_state_as_it_was() {
    let clock = FakeClock::at(MORNING);
    let journal = Memory::new();
    let (mut engine, handle) = start(options(Arc::new(journal.clone()), &clock, telling())).await.unwrap();
    engine.decide = fails_on_evil;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(engine.run());
    let all = ["A", "panics", "B", "illegal", "C"].map(|name| firing(name, MORNING)).to_vec();
    let answer = handle.intake(all).await.unwrap();
    let poisoned = |events: &[Event]| events.iter().any(|event| matches!(event, Event::Poisoned { .. }));
    let which: Vec<bool> = answer.events.iter().map(|events| poisoned(events)).collect();
    assert_eq!(which, [false, true, false, true, false], "its neighbours are decided");
    assert_eq!(handle.health().poisoned, 2);
    let known = handle.read(|seen| seen.state.alert_fingerprints(None, 10)).await.unwrap();
    assert_eq!(known, ["A", "B", "C"].map(Fingerprint::new), "nothing of what failed half-way stays");
    let digest = handle.read(|seen| seen.state.digest()).await.unwrap();
    let folded = fold::fold(&journal).await.unwrap();
    assert_eq!((folded.state.digest(), folded.damage), (digest, None), "the journal says the same");
    let report = replay::replay(&journal).await.unwrap();
    assert_eq!(report.difference, None);
    let rows = journal.rows(1, 100).await.unwrap();
    let kept = rows.iter().filter(|row| row.cause == "poisoned" && row.body.contains("starts_at")).count();
    assert_eq!(kept, 2, "what could not be decided can be read in the journal");
}

#[tokio::test]
async fn a_pause_passes_a_storm() {
    let clock = FakeClock::at(MORNING);
    let journal = Memory::new();
    let (engine, handle) = start(options(Arc::new(journal.clone()), &clock, telling())).await.unwrap();
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let sender = handle.clone();
        senders.spawn(async move { sender.intake(vec![firing(&format!("A{number}"), MORNING)]).await });
    }
    settle().await;
    let person = handle.clone();
    senders.spawn(async move { person.command(pause()).await });
    settle().await;
    assert!(handle.pause_flag().is_set(), "it is effective before it is journalled");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(engine.run());
    while let Some(answer) = senders.join_next().await {
        answer.unwrap().unwrap();
    }
    let causes: Vec<String> = journal.rows(1, 1000).await.unwrap().into_iter().map(|row| row.cause).collect();
    assert_eq!(causes[1], "command", "the first thing decided");
}

#[tokio::test]
async fn a_full_intake_refuses_at_once_and_commands_still_pass() {
    let clock = FakeClock::at(MORNING);
    let (engine, handle) = start(options(Arc::new(Memory::new()), &clock, telling())).await.unwrap();
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..4 {
        let sender = handle.clone();
        let alerts = (0..4096).map(|alert| firing(&format!("A{number}-{alert}"), MORNING)).collect();
        senders.spawn(async move { sender.intake(alerts).await });
    }
    settle().await;
    assert_eq!(handle.intake(vec![firing("one too many", MORNING)]).await, Err(Refused::Full));
    let person = handle.clone();
    let mut people = tokio::task::JoinSet::new();
    people.spawn(async move { person.command(pause()).await });
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(engine.run());
    assert!(people.join_next().await.unwrap().unwrap().is_ok());
    while let Some(answer) = senders.join_next().await {
        assert_eq!(answer.unwrap().unwrap().events.len(), 4096, "a webhook larger than a batch is answered whole");
    }
    assert_eq!(handle.intake(vec![firing("one too many", MORNING)]).await.map(|answer| answer.seq.is_some()), Ok(true));
}

#[tokio::test]
async fn each_due_timer_is_an_entry_of_its_own() {
    let bench = Bench::with(telling()).await;
    bench.handle.intake(vec![firing("A", MORNING), firing("B", MORNING)]).await.unwrap();
    bench.clock.advance(Span::minutes(30));
    settle().await;
    assert_eq!(bench.causes().await, ["started", "alert", "alert", "wake", "wake"]);
}

#[tokio::test]
async fn a_policy_is_kept_before_it_decides_and_decides_from_then_on() {
    let bench = Bench::with(telling()).await;
    let other = policy(vec![rule("other", Mode::Shadow, None)]);
    let answer = bench.handle.load_policy(Arc::clone(&other), "SIGHUP").await.unwrap();
    assert!(answer.events[0].iter().any(|event| matches!(event, Event::PolicyChanged { .. })));
    let text = bench.journal.policy(other.hash.parse().unwrap()).await.unwrap();
    assert_eq!(text.as_deref(), Some(other.text()));
    let answer = bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    let opened = answer.events[0].iter().find_map(|event| match event {
        Event::IncidentOpened { rule, .. } => Some(rule.clone()),
        _ => None,
    });
    assert_eq!(opened.as_deref(), Some("other"));
    assert_eq!(replay::replay(&bench.journal).await.unwrap().difference, None);
}

#[tokio::test]
async fn a_resume_lifts_the_flag_only_once_it_is_durable() {
    let bench = Bench::with(telling()).await;
    bench.handle.command(pause()).await.unwrap();
    assert!(bench.handle.pause_flag().is_set());
    let kept = command(Command::Resume { pause_file_present: true });
    bench.handle.command(kept).await.unwrap();
    assert!(bench.handle.pause_flag().is_set(), "refused while the file is there");
    bench.handle.command(resume()).await.unwrap();
    assert!(!bench.handle.pause_flag().is_set());
    bench.journal.set_down(true);
    assert_eq!(bench.handle.command(pause()).await, Err(Refused::JournalDown));
    assert!(bench.handle.pause_flag().is_set(), "a pause works while the journal does not");
}

#[tokio::test]
async fn the_next_start_folds_what_was_and_a_replay_gives_the_same() {
    let mut bench = Bench::with(telling()).await;
    bench.handle.intake(vec![firing("A", MORNING), firing("B", MORNING)]).await.unwrap();
    bench.handle.command(pause()).await.unwrap();
    let before = bench.handle.read(|seen| seen.state.digest()).await.unwrap();
    let rows = bench.rows().await;
    let folded = fold::fold(&bench.journal).await.unwrap();
    assert_eq!((folded.state.digest(), folded.damage), (before, None));
    bench.stop().await.unwrap();
    let clock = FakeClock::at(MORNING - Span::hours(1));
    let next = Bench::on(bench.journal.for_another_process(), clock, telling()).await;
    assert!(next.clock.now() >= MORNING, "a clock that was set back does not take the journal along");
    let (paused, epoch) = next.handle.read(|seen| (seen.state.paused().is_some(), seen.state.epoch())).await.unwrap();
    assert!(paused && next.handle.pause_flag().is_set(), "a pause survives the restart");
    assert_eq!((epoch, next.handle.published().epoch()), (2, 2));
    assert!(next.rows().await.starts_with(&rows));
    let report = replay::replay(&next.journal).await.unwrap();
    assert_eq!((report.difference, report.entries), (None, next.rows().await.len() as u64));
    let known = next.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    assert_eq!(known.seq, None);
}

#[tokio::test]
async fn a_replay_names_the_entry_that_would_be_decided_otherwise() {
    let bench = Bench::with(telling()).await;
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    let head = bench.journal.head().await.unwrap();
    let text = entry::body(&telling().hash, &resume(), &[Event::Resumed { by: "mallory".to_owned() }]).unwrap();
    let row = Row::sealed(&head.hash, head.seq + 1, MORNING.0, 1, None, "command".to_owned(), text);
    bench.journal.append(&[row], &[]).await.unwrap();
    let difference = replay::replay(&bench.journal).await.unwrap().difference.unwrap();
    assert_eq!(difference.seq, 3);
    assert!(difference.now.unwrap().contains("it is not paused"));
}

#[tokio::test]
async fn a_damaged_journal_is_named_and_nothing_acts() {
    let mut bench = Bench::with(telling()).await;
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    bench.stop().await.unwrap();
    let whole = bench.rows().await;
    let damaged = Memory::new();
    for row in whole {
        let mut row = row;
        if row.seq == 2 {
            row.body = row.body.replace("\"A\"", "\"Z\"");
        }
        damaged.append(&[row], &[]).await.unwrap();
    }
    damaged.put_policy(telling().hash.parse().unwrap(), telling().text()).await.unwrap();
    let next = Bench::on(damaged, FakeClock::at(MORNING), telling()).await;
    let why = next.handle.read(|seen| seen.state.paused().map(|paused| paused.reason.clone())).await.unwrap();
    assert!(why.unwrap().contains("entry 2"), "it is named");
    assert!(next.handle.pause_flag().is_set());
    assert!(next.handle.intake(vec![firing("B", MORNING)]).await.is_ok(), "alerts are taken all the same");
}

#[tokio::test]
async fn a_snapshot_stands_for_what_it_folded() {
    let mut bench = Bench::with(telling()).await;
    bench.handle.intake(vec![firing("A", MORNING), firing("B", MORNING)]).await.unwrap();
    let digest = bench.handle.read(|seen| seen.state.digest()).await.unwrap();
    let head = bench.handle.published().head();
    let keep = snapshot::Keep { entries: Span::hours(24 * 90) };
    let handle: journal::Handle = Arc::new(bench.journal.clone());
    snapshot::run(handle, head, Arc::new(bench.clock.clone()), keep, std::future::ready(())).await;
    assert_eq!(bench.journal.snapshots().await.unwrap(), [3]);
    assert_eq!(bench.journal.prune(3).await.unwrap(), 3);
    let folded = fold::fold(&bench.journal).await.unwrap();
    assert_eq!((folded.state.digest(), folded.damage), (digest, None));
    bench.handle.intake(vec![firing("C", MORNING)]).await.unwrap();
    bench.stop().await.unwrap();
    let report = replay::replay(&bench.journal).await.unwrap();
    assert_eq!((report.from_seq, report.difference), (3, None));
    let next = Bench::on(bench.journal.for_another_process(), FakeClock::at(MORNING), telling()).await;
    let known = next.handle.read(|seen| seen.state.alert_fingerprints(None, 10).len()).await.unwrap();
    assert_eq!(known, 3);
}

#[tokio::test]
async fn a_second_instance_refuses_to_start_while_one_leads() {
    let mut bench = Bench::with(telling()).await;
    let mut second = options(Arc::new(bench.journal.for_another_process()), &bench.clock, telling());
    second.holder = "two".to_owned();
    let refused = start(second).await.map(|_| ()).unwrap_err();
    assert!(matches!(&refused, StartError::Held { by, .. } if by == "one"), "{refused}");
    bench.stop().await.unwrap();
    let mut second = options(Arc::new(bench.journal.for_another_process()), &bench.clock, telling());
    second.holder = "two".to_owned();
    assert!(start(second).await.is_ok(), "a clean stop gives the leadership back");
}

#[tokio::test]
async fn a_step_of_the_wall_clock_is_recorded_once() {
    let bench = Bench::with(telling()).await;
    bench.clock.step_wall(Span::minutes(10));
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    bench.handle.intake(vec![firing("B", MORNING)]).await.unwrap();
    assert_eq!(bench.causes().await, ["started", "clock_stepped", "alert", "alert"]);
}

#[tokio::test]
async fn a_start_on_a_snapshot_at_the_very_end_knows_when_and_how_it_ended() {
    let bench = Bench::with(telling()).await;
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    let handle: journal::Handle = Arc::new(bench.journal.clone());
    let keep = snapshot::Keep { entries: Span::hours(24 * 90) };
    let head = bench.handle.published().head();
    snapshot::run(handle, head, Arc::new(bench.clock.clone()), keep, std::future::ready(())).await;
    let folded = fold::fold(&bench.journal).await.unwrap();
    assert_eq!((folded.at, folded.last_cause.as_deref()), (MORNING, Some("alert")), "not a clean stop");
}

#[tokio::test]
async fn a_leadership_that_was_taken_ends_its_keeper() {
    let bench = Bench::with(telling()).await;
    let journal: journal::Handle = Arc::new(bench.journal.clone());
    let keeper = start::keep_lead(journal, bench.handle.clone(), "one".to_owned(), std::future::pending());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(keeper);
    for _ in 0..6 {
        bench.clock.advance(Span::seconds(5));
        settle().await;
    }
    assert!(tasks.try_join_next().is_none(), "renewed for longer than one term");
    let now = bench.clock.now() + Span::minutes(1);
    let taken = bench.journal.for_another_process();
    taken.take_lead("two", now.0, (now + Span::minutes(1)).0).await.unwrap();
    bench.clock.advance(Span::seconds(5));
    let ended = tasks.join_next().await.unwrap().unwrap();
    assert!(matches!(ended, Err(Fatal::Fenced { .. })));
}
