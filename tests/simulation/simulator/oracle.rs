//! The promises, judged by the model world's own log and by what is committed. Never by nightshift's metrics or state.

use super::{customers, ledger::is_quiet, model::Model, rollbacks};
use nightshift::{
    decide::policy::Limit,
    model::{
        alert::Status,
        event::Event,
        firing::{Firing, FiringAnswer},
        id::StepId,
        input::{Input, Op},
        mode::Mode,
        observation::{DryRun, Holds, Observation, RuleReading, TargetReading},
        plan::Plan,
        rung::IfIneffective,
        step::{Answer, Purpose, Verdict},
        time::{Micros, Span},
    },
};

const FACTS_FRESH: Span = Span::seconds(30);
const CONFIRMATION_FRESH: Span = Span::minutes(10);

/// An event of a committed entry, before the ledger follows it.
pub fn before_event(model: &mut Model, at: Micros, input: &Input, event: &Event) {
    if let Some(policy) = model.ledger.policy.clone() {
        let fires = |id| model.ledger.alerts_of(id).any(|held| held.firing);
        if let Some((promise, says)) = model.ledger.callings.judge(at, event, &policy, &fires) {
            model.breaks(promise, says);
        }
    }
    customers::before_event(model, event);
    match event {
        Event::AlertFired { .. } => an_alert_fired(model, input),
        Event::AlertResolved { .. } => an_alert_resolved(model, input),
        Event::StepStarted { step, plan, perform_by, .. } => {
            a_step_started(model, at, *step, plan, *perform_by, input);
        }
        Event::StepJudged { step, verdict: Verdict::WouldHave, .. } => would_have(model, at, *step, input),
        Event::StepPlanned { purpose: Purpose::Undo { step, .. }, .. }
            if model.ledger.steps.get(step).is_some_and(|undone| !undone.purpose.is_fix()) =>
        {
            model.breaks("I-23 an undo is never undone", format!("{step}"));
        }
        Event::StepFailed { step, .. } if model.ledger.steps.get(step).is_some_and(|step| step.took_effect > 0) => {
            model.breaks("I-10 read back", format!("step {step} is said to have changed nothing, and did"));
        }
        Event::StepPlanned { purpose: Purpose::Undo { step, by: None }, .. } => put_back_by_itself(model, *step),
        Event::StepApplied { step, ended: Some(ended), .. } => {
            let counted = ended.sessions + ended.queries;
            let call = model.calls.iter().find(|call| call.step == *step);
            let truth = call.map_or(0, |call| call.ended.len() as u32);
            // Read back, those that went by themselves can't be told from those that were ended.
            let answered = matches!(input, Input::Performed { op: Op::Apply, .. });
            if counted > ended.planned || truth > counted || answered && truth != counted {
                model.breaks("I-10 as many ended as it says", format!("step {step}: {counted}, and really {truth}"));
            }
        }
        Event::StepVerified { step, answer } => verified(model, at, *step, answer, input),
        Event::IncidentResolved { incident, how, .. } if is_quiet(how) => {
            let known = &model.ledger.incidents[incident];
            let early = at < known.last_end.min(at) + known.quiet.min(Span::seconds(1));
            if early || model.ledger.alerts_of(*incident).any(|held| held.firing || held.lost) {
                model.breaks("I-42 nobody is told fixed who isn't", format!("incident {incident}"));
            }
        }
        Event::Poisoned { message, .. } => model.breaks("I-34 no input panics it", message.clone()),
        _ => {}
    }
}

fn an_alert_fired(model: &mut Model, input: &Input) {
    let Input::Alert(alert) = input else { return };
    let Some(held) = model.ledger.alerts.get(&alert.fingerprint.to_string()) else { return };
    let same = held.starts_at.millis() == alert.starts_at.millis();
    if held.firing && same {
        model.breaks("I-03 delivered twice is decided once", alert.fingerprint.to_string());
    } else if alert.starts_at < held.starts_at && !same {
        model.breaks("I-06 old news never acts", format!("{} began before the firing held", alert.fingerprint));
    }
}

fn an_alert_resolved(model: &mut Model, input: &Input) {
    let Input::Alert(alert) = input else { return };
    let held = model.ledger.alerts.get(&alert.fingerprint.to_string());
    let later = held.is_some_and(|held| alert.ends_at.is_some_and(|end| end > held.starts_at));
    if alert.status != Status::Resolved || !later {
        model.breaks("I-05 nothing is falsely read as resolved", alert.fingerprint.to_string());
    }
}

/// Everything that must be so at the moment when a step gets the right to write.
fn a_step_started(model: &mut Model, at: Micros, id: StepId, plan: &Plan, perform_by: Micros, input: &Input) {
    let mut broken: Vec<(&'static str, String)> = Vec::new();
    let mut require = |holds: bool, promise: &'static str, says: &str| {
        if !holds {
            broken.push((promise, format!("step {id}: {says}")));
        }
    };
    let ledger = &model.ledger;
    let (Input::Observed { result: Ok(seen), .. }, Some(step)) = (input, ledger.steps.get(&id)) else {
        model.breaks("I-18 acts only on an observation", format!("step {id} started on {}", input.cause()));
        return;
    };
    let Some(policy) = ledger.policy.clone() else { return };
    let target = plan.target.key();
    let by_person = step.purpose.is_by_person();
    require(by_person || !ledger.paused, "I-28 after a pause nothing automatic acts", "it is paused");
    require(perform_by <= at + Span::seconds(60), "I-07 an act has its time", "perform_by is far away");
    require(seen.facts.observed_at + FACTS_FRESH >= at, "I-18 fresh facts", "facts are older than 30 s");
    require(seen.facts.owner.is_none(), "I-22 owned fields", "another controller owns the field");
    require(!seen.facts.is_itself, "never nightshift itself", "its own workload");
    if let Some(replicas) = plan.proposal.effect.replicas {
        let bounds = step.rung.bounds;
        let (least, most) = bounds.map_or((1, u32::MAX), |bounds| (bounds.min.max(1), bounds.max));
        let isolates = replicas.to == 0 && bounds.is_some_and(|bounds| bounds.may_scale_to_zero);
        let worst = ledger.restraints.severity(id.incident) == Some("P0");
        let may = isolates && step.purpose.is_fix() && worst && step.approved.is_some();
        require(may || (least..=most).contains(&replicas.to), "I-17 bounds", "it leaves its bounds");
    }
    let leaves_none = plan.proposal.effect.min_ready_after == Some(0) && seen.facts.ready > 0;
    let asked = step.approved.is_some() || !step.purpose.is_fix();
    require(!leaves_none || asked, "I-17 nothing leaves 0 ready", "perhaps none is ready, and nobody approved it");
    require(seen.facts.disruption.is_none(), "I-17 a budget holds", "a PodDisruptionBudget forbids it");
    require(
        step.purpose.is_fix() || plan.proposal.undo.is_null(),
        "I-23 an undo is never undone",
        "an undo brings a way back",
    );
    require(
        !matches!(plan.action.as_str(), "scale" | "undo" | "flip")
            || !plan.proposal.undo.is_null()
            || !step.purpose.is_fix(),
        "I-24 the way back is journalled first",
        "no pre-image",
    );
    for (other, live) in &ledger.steps {
        if *other != id && live.phase.is_started() && live.rung.target.key() == target {
            require(false, "I-11 never two actions on one target", &format!("step {other} is {}", live.phase.word()));
        }
    }
    let acting = ledger.steps.values().filter(|step| step.phase.is_acting()).count() as u32;
    require(acting < policy.spec.max_concurrent, "I-14 at most max_concurrent acting", &format!("{acting} act"));
    if let Some(approved) = &step.approved {
        require(*approved == plan.hash, "I-26 an approval holds for one plan", "another plan was approved");
        require(plan.until >= at, "I-26 an approval expires", "it had expired");
        require(seen.holds == Some(Holds::Yes), "I-26 changed since approved", "what it rests on has changed");
    }
    if step.purpose.is_fix() {
        fix_started(model, at, id, plan, seen, &mut require);
    }
    for (promise, says) in broken {
        model.breaks(promise, says);
    }
}

fn fix_started(
    model: &Model,
    at: Micros,
    id: StepId,
    plan: &Plan,
    seen: &Observation,
    require: &mut impl FnMut(bool, &'static str, &str),
) {
    let ledger = &model.ledger;
    let (Some(step), Some(incident), Some(policy)) =
        (ledger.steps.get(&id), ledger.incidents.get(&id.incident), &ledger.policy)
    else {
        return require(false, "a step belongs to an incident", "it has none");
    };
    let key = (incident.rule.clone(), step.rung.target.key());
    require(!ledger.unknown.contains_key(&key.1), "I-10 an unknown outcome keeps its target", "nobody has looked");
    require(at >= ledger.settles_until, "I-15 nothing acts before it has settled", "it settles");
    let firing: Vec<Micros> =
        ledger.alerts_of(id.incident).filter(|held| held.firing).map(|held| held.fired_at).collect();
    let fires_for = incident.ladder.as_ref().map_or(Span::ZERO, |ladder| ladder.fires_for);
    let long = firing.iter().min().is_some_and(|first| *first + fires_for <= at);
    require(long, "I-20 blips never act", "nothing of it has fired for `for`");
    require(!ledger.bars.contains_key(&key), "I-19 a veto bars", "a person undid or rejected it");
    let cools = ledger.cooldowns.get(&key).is_some_and(|until| at < *until);
    require(!cools, "I-19 cool-down", "the target cools down");
    require(!incident.acknowledged || step.approved.is_some(), "I-19 after an acknowledge", "not approved");
    require(!incident.resolved, "nothing acts for a closed incident", "it is resolved");
    let live = incident.ladder.as_ref().is_some_and(|ladder| ladder.live);
    require(live, "a ladder that ended acts no more", "its ladder has ended");
    let same = incident.ladder.as_ref().map(|ladder| ladder.rule_hash.as_str()) == policy.rule_hash(&incident.rule);
    require(same, "a reload that changes the rule stops it", "its rule was changed");
    let mode = step.rung.mode.min(policy.spec.mode);
    require(mode != Mode::Shadow, "shadow never acts", "its mode is shadow");
    require(mode == Mode::Auto || step.approved.is_some(), "I-26 ask needs an approval", "not approved");
    rollbacks::fix_started(model, at, id, plan, seen, require);
    require(seen.facts.replicas != Some(0), "I-17 zero on purpose stays", "it is switched off");
    if let Some((promise, says)) = ledger.restraints.forbids(at, id, &step.rung, step.approved.is_some(), policy) {
        require(false, promise, &says);
    }
    let answers: Vec<&Firing> = match &seen.firing {
        FiringAnswer::Answered { alerts, .. } => alerts.values().collect(),
        FiringAnswer::NotAsked | FiringAnswer::Unreachable { .. } => Vec::new(),
    };
    let active = answers.iter().any(|firing| matches!(firing, Firing::Active { .. }));
    require(active, "I-18 still firing, asked again", "no peer lists an alert of it as active");
    let silenced = answers.iter().any(|firing| matches!(firing, Firing::Suppressed { .. }));
    require(!silenced, "I-21 silenced", "it is silenced");
    let rule_limits = policy.rule(&incident.rule).map(|rule| rule.limits.clone()).unwrap_or_default();
    let count = |limit: &Limit, same: &dyn Fn(StepId) -> bool| {
        let within = ledger.starts.iter().filter(|(start, step)| *start + limit.within > at && same(*step));
        within.count() as u32
    };
    let of_rule = |other: StepId| {
        ledger.incidents.get(&other.incident).is_some_and(|known| known.rule == incident.rule)
            && ledger.steps.get(&other).is_some_and(|known| known.rung.target.key() == key.1)
    };
    for limit in &rule_limits {
        require(count(limit, &of_rule) < limit.count, "I-13 limits", "over the rule's limit");
    }
    let namespace = step.rung.target.namespace();
    let in_namespace = |other: StepId| {
        let known = ledger.steps.get(&other).and_then(|known| known.rung.target.namespace());
        namespace.is_some() && known == namespace
    };
    for limit in &policy.spec.limits_namespace {
        require(count(limit, &in_namespace) < limit.count, "I-13 limits", "over its namespace's limit");
    }
    for limit in &policy.spec.limits_all {
        require(count(limit, &|_| true) < limit.count, "I-13 limits", "over the limit of all");
    }
}

/// Plan equals run: what shadow claims must have been true.
fn would_have(model: &mut Model, at: Micros, id: StepId, input: &Input) {
    let Input::Observed { result: Ok(seen), .. } = input else {
        return model.breaks("I-40 shadow claims only what it saw", format!("step {id}"));
    };
    if matches!(seen.dry_run, Some(DryRun::Rejected { .. })) {
        model.breaks("I-40 plan equals run", format!("step {id}: the API server rejects it"));
    }
    let active = match &seen.firing {
        FiringAnswer::Answered { at, alerts } => {
            alerts.values().any(|firing| matches!(firing, Firing::Active { .. })).then_some(*at)
        }
        FiringAnswer::NotAsked | FiringAnswer::Unreachable { .. } => None,
    };
    let confirmed = seen.delivered.values().max().copied().max(active);
    if confirmed.is_none_or(|confirmed| confirmed + CONFIRMATION_FRESH < at) {
        model.breaks("I-06 old news only informs", format!("step {id} rests on old news"));
    }
}

/// Only what did not help and is to be undone then, and what broke by itself.
fn put_back_by_itself(model: &mut Model, undone: StepId) {
    let Some(step) = model.ledger.steps.get(&undone) else { return };
    let may = match &step.answer {
        Some(Answer::Broke { .. }) => true,
        Some(Answer::DidNot) => step.rung.if_ineffective == IfIneffective::Undo,
        _ => false,
    };
    if !may {
        let answer = format!("{:?}", step.answer);
        model
            .breaks("I-23 back by itself only where it broke, or the rule says so", format!("step {undone}: {answer}"));
    }
}

fn verified(model: &mut Model, at: Micros, id: StepId, answer: &Answer, input: &Input) {
    let Some(step) = model.ledger.steps.get(&id) else { return };
    if !step.purpose.is_fix() {
        return;
    }
    if step.missed && matches!(answer, Answer::Helped | Answer::DidNot) {
        model.breaks("I-23 a missed window is inconclusive", format!("step {id}: {answer:?}"));
        return;
    }
    let reading = if let Input::Measured { reading, .. } = input { Some(reading) } else { None };
    let watched = step.rung.action == "flip" && matches!(answer, Answer::Helped | Answer::DidNot);
    if watched && at < step.verify_by {
        model.breaks("I-23 a flip is watched to its end", format!("step {id}: {answer:?}"));
        return;
    }
    match answer {
        Answer::Helped => {
            let ended = !model.ledger.alerts_of(id.incident).any(|held| held.firing || held.lost);
            let last_end = model.ledger.incidents.get(&id.incident).map_or(Micros(0), |incident| incident.last_end);
            let well = reading.is_some_and(|reading| {
                let rule = match reading.rule {
                    RuleReading::NotAsked => !model.spec.asks_prometheus,
                    RuleReading::Evaluated { at } => at > last_end,
                    RuleReading::Unhealthy { .. } | RuleReading::Unread { .. } => false,
                };
                rule && matches!(reading.target, TargetReading::Well { .. } | TargetReading::Watched { .. })
            });
            if !ended || !well || step.took_effect == 0 {
                let says = format!("step {id}: ended {ended}, well {well}, {} effects", step.took_effect);
                // Somebody else may have written the same value: then it reads back as applied.
                if ended && well {
                    model.note(|| says);
                } else {
                    model.breaks("I-23 resolved alone is not helped", says);
                }
            }
        }
        Answer::DidNot => {
            let active = reading.is_some_and(|reading| match &reading.firing {
                FiringAnswer::Answered { alerts, .. } => {
                    alerts.values().any(|firing| matches!(firing, Firing::Active { .. }))
                }
                FiringAnswer::NotAsked | FiringAnswer::Unreachable { .. } => false,
            });
            if !active {
                model.breaks("I-23 did not help is confirmed", format!("step {id}"));
            }
        }
        Answer::Broke { .. } => {
            let hash = step.plan.as_ref().map_or("", |plan| plan.hash.as_str());
            let read = reading.is_some_and(|reading| matches!(reading.target, TargetReading::Broken { .. }));
            if !read || !model.broke.contains(hash) {
                model.breaks("I-23 what broke was really broken", format!("step {id}"));
            }
        }
        Answer::Inconclusive { .. } | Answer::CouldNotMeasure { .. } => {}
    }
}
