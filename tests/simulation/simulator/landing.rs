//! The promises at the moment when a call begins and when it lands, judged by the world's own truth.

use super::{databases, model::Model, things::Written};
use nightshift::{
    journal::Journal,
    model::{
        alert::Status,
        id::StepId,
        plan::Plan,
        rung::Rung,
        step::{Phase, Purpose},
        time::Span,
    },
};
use serde_json::Value;

/// A process calls the API server. Whose step it is, and whether it may.
pub fn call_begins(model: &mut Model, plan: &Plan, process: u64) -> StepId {
    let now = model.now();
    // What is planned again at the same moment, or for another incident, may be the same plan.
    let of_plan =
        || model.ledger.steps.iter().filter(|(_, step)| step.plan.as_ref().is_some_and(|of| of.hash == plan.hash));
    let found =
        of_plan().find(|(_, step)| step.phase == Phase::Acting && step.calls == 0).or_else(|| of_plan().next_back());
    let Some((id, step)) = found else {
        model.breaks("I-24 journalled before the act", format!("no entry started {}", plan.hash));
        return StepId { incident: nightshift::model::id::IncidentId(0), number: 0 };
    };
    let id = *id;
    let mut broken: Vec<(&'static str, String)> = Vec::new();
    let row = now_or_never(model.journal.row(step.started_seq));
    let journalled = row.and_then(Result::ok).flatten().is_some_and(|row| row.body.contains(&plan.hash));
    if !journalled {
        broken.push(("I-24 journalled before the act", "its start is not durable".to_owned()));
    }
    if step.calls > 0 {
        broken.push(("I-07 one decision acts at most once", "it is called again".to_owned()));
    }
    if step.started_by != process {
        broken.push(("I-07 one decision acts at most once", "another process started it".to_owned()));
    }
    if model.pause_asked && !step.purpose.is_by_person() {
        broken.push(("I-28 after a pause nothing automatic writes", "a pause was asked for".to_owned()));
    }
    if now >= step.perform_by {
        broken.push(("I-07 not after its time", "perform_by has passed".to_owned()));
    }
    if step.phase != Phase::Acting {
        broken.push(("I-10 no blind retry", format!("it is {}", step.phase.word())));
    }
    let waited = now - step.started_at.unwrap_or(now);
    // By the clock, or for its own commit: neither is anybody who is told of it.
    let late = model.last_step_of_clock.max(model.last_mend_of_journal);
    let is_excused = step.started_at.is_some_and(|started| late >= started);
    if waited > Span::seconds(1) && !is_excused {
        broken.push(("I-30 nothing delays a remediation", format!("it waited {waited}")));
    }
    for (promise, says) in broken {
        model.breaks(promise, format!("step {id}: {says}"));
    }
    if let Some(step) = model.ledger.steps.get_mut(&id) {
        step.calls += 1;
    }
    id
}

/// A write changed the world.
pub fn write_took_effect(model: &mut Model, call: usize, written: &Written) {
    let of = &model.calls[call];
    let (id, began_at, again) = (of.step, of.began_at, of.took_effect);
    let zero = of.plan.proposal.effect.replicas.is_some_and(|replicas| replicas.to == 0);
    let (left_ready, plan) = (of.left_ready, of.plan.clone());
    let Some(step) = model.ledger.steps.get_mut(&id) else { return };
    step.took_effect += 1;
    let (effects, phase, purpose) = (step.took_effect, step.phase, step.purpose.clone());
    let (rung, approved) = (step.rung.clone(), step.approved.is_some());
    if again {
        model.breaks("I-08 twice is once", format!("step {id}: its request was delivered twice, and done twice"));
    } else if effects > 1 {
        model.breaks("I-07 one decision acts at most once", format!("step {id} took effect {effects} times"));
    }
    if !written.same {
        model.breaks("I-09 changed since: not run", format!("step {id} wrote over somebody's change"));
    }
    let may_be_zero = rung.bounds.is_some_and(|bounds| bounds.may_scale_to_zero) && approved && purpose.is_fix();
    if zero && !may_be_zero || left_ready == Some(0) {
        model.breaks("I-17 nothing leaves 0 ready", format!("step {id}"));
    }
    let target = rung.target.key();
    let other = model
        .ledger
        .steps
        .iter()
        .find(|(other, step)| **other != id && step.phase.is_started() && step.rung.target.key() == target);
    if let Some((other, phase)) = other.map(|(other, step)| (*other, step.phase.word())) {
        model.breaks("I-11 never two actions on one target", format!("step {id} wrote while {other} is {phase}"));
    }
    if matches!(phase, Phase::Failed | Phase::Dropped) {
        let says = format!("step {id} took effect after it was said to have changed nothing (begun {})", began_at.0);
        model.breaks("I-10 read back", says);
    }
    sessions_ended(model, id, &plan, &rung, written);
    if let Purpose::Undo { step: undone, .. } = &purpose {
        let undos = model.ledger.steps.values().filter(|step| {
            matches!(&step.purpose, Purpose::Undo { step, .. } if step == undone) && step.took_effect > 0
        });
        let undos = undos.count();
        let way_back = model.ledger.steps.get(undone).and_then(|step| step.plan.as_ref()).map(|of| &of.proposal.undo);
        if !way_back.is_some_and(|back| is_same(back, &plan.proposal.to)) {
            model.breaks("I-24 it goes back the way that was journalled", format!("step {id} of {undone}"));
        }
        if undos > 1 {
            model.breaks("I-23 undone at most once", format!("step {undone} was undone {undos} times"));
        }
    }
}

/// The same value; of two colours, whatever else was seen of them.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.get("color"), other.get("color")) {
        (None, None) => one == other,
        (one, other) => one == other,
    }
}

/// Nobody but those that the plan lists, as it saw them; none that is protected; as many as are kept stay.
fn sessions_ended(model: &mut Model, id: StepId, plan: &Plan, rung: &Rung, written: &Written) {
    let never = databases::never_of(&plan.action, &rung.with);
    if let Some(session) = written.ended.iter().find(|session| !databases::is_meant(session, &never)) {
        model.breaks(
            "I-17 who is protected is not ended",
            format!("step {id} ended {} of {}", session.pid, session.user),
        );
    }
    let number = |key: &str| rung.with.get(key).and_then(Value::as_u64).map(|number| number as usize);
    if number("max").is_some_and(|max| written.ended.len() > max) {
        model.breaks("I-17 no more than max", format!("step {id} ended {}", written.ended.len()));
    }
    if plan.action == "kill_idle" && !written.ended.is_empty() && number("keep").is_some_and(|keep| written.left < keep)
    {
        model.breaks("I-17 as many are kept as the rule says", format!("step {id} left {}", written.left));
    }
    let wrong = |session: &&databases::Session| session.busy == (plan.action == "kill_idle");
    if let Some(session) = written.ended.iter().find(wrong) {
        model.breaks("I-09 changed since: not run", format!("step {id}: session {} was used since", session.pid));
    }
}

/// A sender got its 2xx. `seq`: the entry that it was told of.
pub fn acknowledged(model: &mut Model, seq: Option<u64>, alert: &nightshift::model::alert::Alert) {
    let head = now_or_never(model.journal.head()).and_then(Result::ok).map_or(0, |head| head.seq);
    if seq.is_some_and(|seq| seq > head) {
        model.breaks("I-01 acknowledged is journalled", format!("entry {seq:?}, the journal ends at {head}"));
    }
    let key = (alert.fingerprint.to_string(), alert.status == Status::Firing, alert.starts_at.millis());
    if alert.status == Status::Firing && !model.ledger.recorded.contains(&key) {
        model.breaks("I-01 acknowledged is journalled", format!("{} left no entry", alert.fingerprint));
    }
}

/// The memory journal answers at once.
pub fn now_or_never<T>(mut answer: nightshift::action::Boxed<'_, T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match answer.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
