//! The promises, each once, for any action.

use crate::{
    night::{Kept, Night, Setup, next_moment},
    stage::Stage,
    support::failing::Failure,
};
use nightshift::{
    action::Action,
    model::{
        event::{Event, LadderEnd},
        input::Input,
        observation::{DryRun, Outcome, Proposed},
        plan::{Plan, Proposal},
        reason::Reason,
        rung::Rung,
        time::Micros,
    },
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

const WITHIN: Duration = Duration::from_secs(15);
/// A lost answer is noticed at once; a hanging server only after this.
const IMPATIENT: Duration = Duration::from_secs(6);

/// Without the engine: the action itself.
struct Hand {
    action: Arc<dyn Action>,
    rung: Rung,
    _setup: Setup,
}

impl Hand {
    async fn of(stage: &mut Stage, action: &str) -> Hand {
        let chosen = stage.ready().await;
        let setup = Setup::of(stage, action, "auto", chosen).await;
        Hand { action: setup.action(), rung: setup.rung(), _setup: setup }
    }

    async fn plan(&self) -> Plan {
        let observed = self.action.observe(&self.rung, &[], next_moment(self.action.name()), WITHIN).await.unwrap();
        match observed.proposal {
            Proposed::Made(proposal) => self.seal(*proposal),
            other => panic!("{other:?}"),
        }
    }

    fn seal(&self, proposal: Proposal) -> Plan {
        Plan::seal(self.action.name(), &self.rung.target, proposal, None, "rule", Micros(i64::MAX))
    }
}

/// Whether what came of a write can be read off afterwards. No server counts cancelled queries: one that is gone may have
/// ended by itself, and is claimed by nobody.
fn leaves_a_trace(action: &str) -> bool {
    action != "postgres/cancel_slow"
}

fn was_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Applied | Outcome::Ended { .. })
}

/// In shadow, and while an approval is waited for, the target is looked at and the server asked by a dry run: no more.
pub async fn unapproved_writes_nothing(action: &str) {
    let Some(mut stage) = Stage::of(action, "unapproved").await else { return };
    for mode in ["shadow", "ask"] {
        let chosen = stage.ready().await;
        let before = stage.state().await;
        stage.failing().nothing();
        let night = Night::begin(Setup::of(&stage, action, mode, chosen).await, stage.failing()).await;
        night.fires().await;
        night.until_over().await;
        let (_, kept) = night.end().await;
        let planned = kept.count(|event| matches!(event, Event::StepJudged { plan: Some(_), .. }));
        assert_eq!(planned, 1, "{mode}: it was planned: {:#?}", kept.entries);
        match mode {
            "shadow" => {
                let would = |event: &Event| matches!(event, Event::LadderEnded { how: LadderEnd::WouldHave, .. });
                assert_eq!(kept.count(would), 1, "{:#?}", kept.entries);
                let proved = |entry: &nightshift::engine::entry::Entry| match &entry.input {
                    Input::Observed { result: Ok(observation), .. } => observation.dry_run == Some(DryRun::Accepted),
                    _ => false,
                };
                assert!(kept.entries.iter().any(proved), "proved by a dry run");
            }
            _ => assert_eq!(kept.count(|event| matches!(event, Event::ApprovalAsked { .. })), 1, "{:#?}", kept.entries),
        }
        assert_eq!(kept.count(|event| matches!(event, Event::StepStarted { .. })), 0);
        assert_eq!(stage.failing().writes(), 0, "{mode}: nothing that writes was sent");
        assert_eq!(stage.done().await, 0, "{mode}: the judge saw no write");
        assert_eq!(stage.state().await, before, "{mode}: all is as it was");
    }
}

/// Also where the second one comes because the first one's answer was lost.
pub async fn twice_is_once(action: &str) {
    let Some(mut stage) = Stage::of(action, "twice").await else { return };
    let hand = Hand::of(&mut stage, action).await;
    stage.failing().nothing();
    let plan = hand.plan().await;
    let first = hand.action.apply(&plan, WITHIN).await;
    assert!(was_done(&first), "{first:?}");
    stage.rests().await;
    assert_eq!(stage.done().await, stage.in_full(&plan));
    let after = stage.state().await;
    let second = hand.action.apply(&plan, WITHIN).await;
    assert!(stage.in_full(&plan) == 0 || !was_done(&second), "{second:?}");
    assert_eq!(stage.done().await, stage.in_full(&plan), "twice is once: {second:?}");
    assert_eq!(stage.state().await, after, "and nothing is different after it");
    let read_back = hand.action.read_back(&plan, WITHIN).await;
    assert_eq!(was_done(&read_back), leaves_a_trace(action), "it is still known to be done: {read_back:?}");
    if stage.in_full(&plan) == 0 {
        return;
    }

    let hand = Hand::of(&mut stage, action).await;
    let plan = hand.plan().await;
    stage.failing().at_write(Failure::AnswerLost);
    let lost = hand.action.apply(&plan, IMPATIENT).await;
    assert!(matches!(lost, Outcome::Unknown { .. }), "{lost:?}");
    stage.rests().await;
    assert_eq!(stage.failing().writes(), 1, "no blind retry");
    assert_eq!(stage.done().await, 1, "it was delivered");
    let read_back = hand.action.read_back(&plan, WITHIN).await;
    assert_eq!(was_done(&read_back), leaves_a_trace(action), "{read_back:?}");
    stage.failing().nothing();
    let again = hand.action.apply(&plan, WITHIN).await;
    stage.rests().await;
    // What a list of sessions has left is done now; the first of it is not done again.
    assert_eq!(stage.done().await, stage.in_full(&plan), "{again:?}");
    assert_eq!(was_done(&again), stage.in_full(&plan) > 1, "{again:?}");
}

/// Which calls are made to fail.
#[derive(Clone, Copy, PartialEq)]
pub enum Calls {
    All,
    /// Measurements are all alike: without those after the first.
    UntilMeasured,
}

/// One whole step for each call, until the step is over before the call comes.
pub async fn failure_at_each_call(action: &str, failure: Failure, calls: Calls) {
    let Some(mut stage) = Stage::of(action, &format!("{failure:?}")).await else { return };
    let mut ends = std::collections::BTreeMap::new();
    for call in 0.. {
        let chosen = stage.ready().await;
        let setup = Setup::of(&stage, action, "auto", chosen).await;
        let night = Night::begin(setup, stage.failing()).await;
        stage.failing().at_call(call, failure);
        night.fires().await;
        night.until_over().await;
        let was_hit = stage.failing().was_hit();
        let sent = stage.failing().writes();
        stage.failing().nothing();
        let (_, kept) = night.end().await;
        let end = recorded(&stage, &kept, sent, &format!("{action}: {failure:?} at call {call}")).await;
        *ends.entry(end).or_insert(0) += 1;
        if calls == Calls::UntilMeasured && end == "applied" && call > kept.first_measured {
            break;
        }
        if !was_hit {
            assert_eq!(end, "applied", "without a failure it is done: {:#?}", kept.events().collect::<Vec<_>>());
            break;
        }
        assert!(call < 100, "it never ends");
    }
    println!("{action}, {failure:?}: {ends:?}");
}

/// The write itself, in every way: what is not known is read back, and never sent again. `None`: nobody is there to be asked
/// what came of it.
pub async fn failure_of_the_write(action: &str) {
    let Some(mut stage) = Stage::of(action, "write").await else { return };
    for failure in [Some(Failure::AnswerLost), Some(Failure::ServerFails), Some(Failure::Reset), None] {
        let chosen = stage.ready().await;
        let setup = Setup::of(&stage, action, "auto", chosen).await;
        let night = Night::begin(setup, stage.failing()).await;
        match failure {
            Some(failure) => stage.failing().at_write(failure),
            None => stage.failing().gone_after_write(),
        }
        night.fires().await;
        night.until_over().await;
        let (was_hit, sent) = (stage.failing().was_hit(), stage.failing().writes());
        stage.failing().nothing();
        let (_, kept) = night.end().await;
        let end = recorded(&stage, &kept, sent, &format!("{action}: {failure:?} of the write")).await;
        if let Stage::Nothing(_) = stage {
            return;
        }
        assert!(was_hit, "{failure:?}: it came to no write: {:#?}", kept.events().collect::<Vec<_>>());
        let lost = kept.count(|event| matches!(event, Event::StepOutcomeLost { .. }));
        let wanted = match failure {
            None => "unknown",
            Some(Failure::Reset) => "failed",
            Some(_) if leaves_a_trace(action) => "applied",
            Some(_) => "unknown",
        };
        assert_eq!((end, lost), (wanted, 1), "{failure:?}, and it was read back: {:#?}", kept.entries);
    }
}

/// The step's end as the journal has it, held against what the judge saw.
async fn recorded(stage: &Stage, kept: &Kept, sent: usize, case: &str) -> &'static str {
    let plan = kept.events().find_map(|event| match event {
        Event::StepStarted { plan, .. } => Some((**plan).clone()),
        _ => None,
    });
    let count = |wanted: fn(&Event) -> bool| kept.count(wanted);
    let started = count(|event| matches!(event, Event::StepStarted { .. }));
    let applied = count(|event| matches!(event, Event::StepApplied { .. }));
    let failed = count(|event| matches!(event, Event::StepFailed { .. }));
    let unknown = count(|event| matches!(event, Event::StepUnknown { .. }));
    let dropped = count(|event| matches!(event, Event::StepDropped { .. }));
    let poisoned = count(|event| matches!(event, Event::Poisoned { .. }));
    let done = stage.done().await;
    let in_full = plan.as_ref().map_or(0, |plan| stage.in_full(plan));
    let story = || format!("{case}\n{:#?}", kept.events().collect::<Vec<_>>());
    assert_eq!((kept.panics, poisoned), (0, 0), "no panic: {}", story());
    assert!(started <= 1, "one step: {}", story());
    assert_eq!(applied + failed + unknown, started, "each started step has one outcome: {}", story());
    assert!(sent <= in_full.max(started), "nothing is sent twice: {sent} of {in_full}, {}", story());
    if started == 0 {
        assert_eq!((dropped, done, sent), (1, 0, 0), "not begun, and that is recorded: {}", story());
        let why = kept.events().find_map(|event| match event {
            Event::StepDropped { reason, .. } => Some(reason.word()),
            _ => None,
        });
        return why.unwrap();
    }
    if failed == 1 {
        assert_eq!(done, 0, "said to have changed nothing: {}", story());
        return "failed";
    }
    if unknown == 1 {
        let paged = kept.entries.iter().any(|entry| {
            let is_unknown = |event: &Event| matches!(event, Event::StepUnknown { .. });
            let pages =
                |event: &Event| matches!(event, Event::PageReleased { reason: Reason::OutcomeUnknown { .. }, .. });
            entry.events.iter().any(is_unknown) && entry.events.iter().any(pages)
        });
        assert!(paged, "unknown, and people are paged: {}", story());
        assert!(done <= in_full, "{}", story());
        return "unknown";
    }
    let ended = kept.events().find_map(|event| match event {
        Event::StepApplied { ended, .. } => ended.as_ref().map(|ended| (ended.sessions + ended.queries) as usize),
        _ => None,
    });
    assert_eq!(done, ended.unwrap_or(in_full), "as much as the journal says: {}", story());
    let verdicts = count(|event| matches!(event, Event::StepVerified { .. }));
    assert_eq!(verdicts, 1, "what was done has its verdict: {}", story());
    "applied"
}

/// While the write is held on its way, the journal is read: the plan is there, and how to go back.
pub async fn the_way_back_is_in_the_journal_first(action: &str) {
    let Some(mut stage) = Stage::of(action, "way-back").await else { return };
    let chosen = stage.ready().await;
    let before = stage.essence().await;
    let setup = Setup::of(&stage, action, "auto", chosen).await;
    let night = Night::begin(setup, stage.failing()).await;
    let writes = !matches!(stage, Stage::Nothing(_));
    stage.failing().hold_write();
    night.fires().await;
    if writes {
        tokio::select! {
            () = night.until_over() => panic!("it came to no write"),
            () = stage.failing().write_is_held() => {}
        }
        assert_eq!(stage.done().await, 0, "nothing is changed yet");
    } else {
        night.until_over().await;
    }
    let committed = night.committed().await;
    let place = |wanted: &dyn Fn(&Event) -> bool| committed.iter().position(|entry| entry.events.iter().any(wanted));
    let started = place(&|event| matches!(event, Event::StepStarted { .. })).expect("the plan is in the journal");
    let plan = committed[started].events.iter().find_map(|event| match event {
        Event::StepStarted { plan, .. } => Some((**plan).clone()),
        _ => None,
    });
    let plan = plan.unwrap();
    let doer = night.setup().action();
    let rung = night.setup().rung();
    let has_undo = doer.has_undo();
    assert_eq!(plan.proposal.undo.is_null(), !has_undo, "{plan:#?}");
    assert_eq!(plan.proposal.undo_summary.is_some(), has_undo, "people are told the same: {plan:#?}");
    if !has_undo && writes {
        assert!(plan.proposal.effect.destroys && doer.may_destroy(&rung.with), "{plan:#?}");
        let gathered: Vec<usize> = committed
            .iter()
            .enumerate()
            .filter(|(_, entry)| matches!(&entry.input, Input::Gathered { result: Ok(_), .. }))
            .map(|(place, _)| place)
            .collect();
        assert!(!rung.evidence.is_empty() && gathered.len() >= rung.evidence.len(), "{committed:#?}");
        assert!(gathered[rung.evidence.len() - 1] < started, "what it destroys was collected before: {gathered:?}");
    }
    stage.failing().let_through();
    night.until_over().await;
    let (_setup, _) = night.end().await;
    stage.failing().nothing();
    stage.rests().await;
    assert_eq!(stage.done().await, stage.in_full(&plan));
    let back = doer.observe_undo(&plan, None, next_moment(action), WITHIN).await.unwrap().proposal;
    match back {
        Proposed::Made(back) if has_undo => {
            let undo = Plan::seal(action, &plan.target, *back, None, "rule", Micros(i64::MAX));
            assert_eq!(undo.proposal.undo, Value::Null, "the way back has none of its own");
            assert!(was_done(&doer.apply(&undo, WITHIN).await));
            assert_eq!(stage.essence().await, before, "the journal's plan leads back to what was there");
        }
        Proposed::Refused { .. } if !has_undo => {}
        other => panic!("{other:?}"),
    }
}
