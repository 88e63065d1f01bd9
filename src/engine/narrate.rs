//! The log lines of what was decided, made from committed events only: the log and the journal never disagree.
//!
//! ERROR: a person must look. WARN: it did not go as planned and was coped with. INFO: a decision or a change.

use crate::{
    decide::Policy,
    model::{
        event::{Event, LadderEnd},
        input::Input,
        step::{Answer, Verdict},
    },
};
use tracing::{debug, error, info, warn};

/// One entry, after its commit.
pub(super) fn narrate(policy: &Policy, seq: u64, input: &Input, events: &[Event]) {
    if let Input::Started { damage: Some(damage), .. } = input {
        error!(seq, damage, "the journal is damaged: nothing acts until a person resumes");
    }
    for event in events {
        match event {
            Event::PageReleased { .. }
            | Event::IncidentOpened { .. }
            | Event::IncidentAcknowledged { .. }
            | Event::IncidentMonitoring { .. }
            | Event::IncidentReopened { .. }
            | Event::IncidentLostContact { .. }
            | Event::IncidentResolved { .. }
            | Event::SeverityChanged { .. }
            | Event::LadderBegan { .. }
            | Event::LadderEnded { .. } => incident(policy, seq, event),
            Event::LeaseBegan { .. }
            | Event::LeaseExtended { .. }
            | Event::LeaseEnding { .. }
            | Event::LeaseEnded { .. } => lease(policy, seq, event),
            Event::Settling { .. }
            | Event::Settled
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Barred { .. }
            | Event::Rearmed { .. }
            | Event::PolicyChanged { .. }
            | Event::PolicyKept { .. }
            | Event::Started { .. }
            | Event::Stopped
            | Event::ClockStepped { .. }
            | Event::CommandRefused { .. }
            | Event::Poisoned { .. } => itself(policy, seq, event),
            Event::LetterFailed { letter, reason } => {
                warn!(seq, receiver = %letter.receiver, incident = %letter.incident, reason, "a letter was refused for good");
            }
            Event::AlertLost { fingerprint, .. } => warn!(seq, %fingerprint, "an alert is lost: nobody refreshes it"),
            _ if event.step().is_some() => step(policy, seq, event),
            _ => debug!(seq, event = ?event, "recorded"),
        }
    }
}

fn incident(policy: &Policy, seq: u64, event: &Event) {
    let zone = &policy.zone;
    match event {
        Event::PageReleased { incident, reason, .. } => {
            error!(seq, %incident, reason = reason.word(), says = reason.says(zone), "page: a person is needed");
        }
        Event::IncidentOpened { incident, rule, severity, title, .. } => {
            info!(seq, %incident, rule, severity, title, "incident opened");
        }
        Event::IncidentAcknowledged { incident, by } => info!(seq, %incident, by, "incident acknowledged"),
        Event::IncidentMonitoring { incident, until } => {
            info!(seq, %incident, until = until.in_zone(zone), "nothing of it fires: watching");
        }
        Event::IncidentReopened { incident } => info!(seq, %incident, "it fires again"),
        Event::IncidentLostContact { incident } => warn!(seq, %incident, "contact with its alerts is lost"),
        Event::IncidentResolved { incident, how, .. } => info!(seq, %incident, how = ?how, "incident resolved"),
        Event::SeverityChanged { incident, severity, .. } => info!(seq, %incident, severity, "severity changed"),
        Event::LadderBegan { incident, rungs, .. } => info!(seq, %incident, rungs = rungs.len(), "ladder began"),
        Event::LadderEnded { incident, how, .. } => match how {
            LadderEnd::HandedOver { reason } => {
                info!(seq, %incident, reason = reason.word(), says = reason.says(zone), "handed over to people");
            }
            LadderEnd::Helped
            | LadderEnd::NotNeeded
            | LadderEnd::WouldHave
            | LadderEnd::Exhausted
            | LadderEnd::Vetoed { .. } => info!(seq, %incident, how = ?how, "ladder ended"),
        },
        _ => {}
    }
}

fn step(policy: &Policy, seq: u64, event: &Event) {
    let zone = &policy.zone;
    match event {
        Event::StepPlanned { step, rung, rung_number, .. } => {
            info!(seq, %step, rung_number, action = rung.action, target = %rung.target.key(), "step planned");
        }
        Event::StepJudged { step, verdict, plan, .. } => {
            let says = verdict.reason().map(|reason| reason.says(zone)).unwrap_or_default();
            let summary = plan.as_ref().map_or("", |plan| plan.proposal.summary.as_str());
            let reason = verdict.reason().map_or("", crate::model::reason::Reason::word);
            match verdict {
                Verdict::WouldHave => info!(seq, %step, summary, "shadow: would have acted"),
                Verdict::Allow | Verdict::Ask { .. } | Verdict::Hold { .. } | Verdict::Deny { .. } => {
                    info!(seq, %step, verdict = verdict.word(), reason, says, summary, "judged");
                }
            }
        }
        Event::StepHeld { step, reason, .. } => {
            info!(seq, %step, reason = reason.word(), says = reason.says(zone), "step held");
        }
        Event::StepDropped { step, reason } => {
            info!(seq, %step, reason = reason.word(), says = reason.says(zone), "step dropped");
        }
        Event::ApprovalAsked { step, plan, until } => {
            info!(seq, %step, summary = plan.proposal.summary, until = until.in_zone(zone), "approval asked");
        }
        Event::Approved { step, by } => info!(seq, %step, by, "approved"),
        Event::ApprovalVoided { step, reason } => {
            info!(seq, %step, reason = reason.word(), says = reason.says(zone), "approval void");
        }
        Event::StepStarted { step, plan, .. } => {
            info!(seq, %step, action = plan.action, target = %plan.target.key(), summary = plan.proposal.summary, "acting");
        }
        Event::StepOutcomeLost { step, why } => warn!(seq, %step, why, "the call's answer was lost"),
        Event::StepApplied { step, ended: Some(ended), .. } => info!(seq, %step, says = ended.says(), "applied"),
        Event::StepApplied { step, ended: None, .. } => info!(seq, %step, "applied"),
        Event::StepFailed { step, reason } => {
            warn!(seq, %step, reason = reason.word(), says = reason.says(zone), "the step failed");
        }
        Event::StepUnknown { step, why } => error!(seq, %step, why, "the step's outcome is unknown"),
        Event::StepVerified { step, answer } => match answer {
            Answer::Helped => info!(seq, %step, "it helped"),
            Answer::DidNot => warn!(seq, %step, "it did not help"),
            Answer::Inconclusive { why } => warn!(seq, %step, why, "inconclusive"),
            Answer::CouldNotMeasure { why } => warn!(seq, %step, why, "could not measure"),
        },
        _ => debug!(seq, event = ?event, "recorded"),
    }
}

fn lease(policy: &Policy, seq: u64, event: &Event) {
    let zone = &policy.zone;
    match event {
        Event::LeaseBegan { lease, step, until, .. } => {
            info!(seq, %step, target = %lease.target, field = lease.field, until = until.in_zone(zone), "lease began");
        }
        Event::LeaseExtended { lease, until, .. } => {
            info!(seq, target = %lease.target, field = lease.field, until = until.in_zone(zone), "lease extended");
        }
        Event::LeaseEnding { lease } => info!(seq, target = %lease.target, field = lease.field, "lease is ending"),
        Event::LeaseEnded { lease, how } => {
            info!(seq, target = %lease.target, field = lease.field, how = ?how, "lease ended");
        }
        _ => {}
    }
}

fn itself(policy: &Policy, seq: u64, event: &Event) {
    match event {
        Event::Started { replica } => info!(seq, replica, policy = policy.hash, "leading"),
        Event::Stopped => info!(seq, "stopped cleanly"),
        Event::Settling { until } => {
            info!(seq, until = until.in_zone(&policy.zone), "settling: nothing acts until then")
        }
        Event::Settled => info!(seq, "settled"),
        Event::Paused { by, reason } => warn!(seq, by, reason, "paused: nothing acts"),
        Event::Resumed { by } => info!(seq, by, "resumed"),
        Event::Barred { incident, rule, target, by } => {
            info!(seq, %incident, rule, %target, by, "the rule stays away from the target until the incident is resolved");
        }
        Event::Rearmed { rule, by, .. } => info!(seq, rule, by, "rearmed"),
        Event::PolicyChanged { policy } => info!(seq, policy, "decides by other rules"),
        Event::PolicyKept { problems } => warn!(seq, problems, "the new rules were refused: the old ones stay"),
        Event::ClockStepped { by } => warn!(seq, %by, "the wall clock was stepped"),
        Event::CommandRefused { reason } => info!(seq, reason, "command refused"),
        Event::Poisoned { digest, message } => {
            error!(seq, digest, message, "an input could not be decided; it is recorded and not tried again");
        }
        _ => {}
    }
}
