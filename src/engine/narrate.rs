//! The log lines of what was decided, made from committed events only: the log and the journal never disagree.
//!
//! ERROR: a person must look. WARN: it did not go as planned and was coped with. INFO: a decision or a change. What one
//! decision says twice is said once, by the event that tells more; the other is DEBUG.

use crate::{
    decide::{Policy, policy::short_hash},
    journal::chain::GENESIS,
    model::{
        event::{Event, HowResolved, LadderEnd},
        id::IncidentId,
        input::Input,
        letter::Receiver,
        reason::Reason,
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
        if is_said_by_another(event, events) {
            debug!(seq, event = ?event, "recorded");
            continue;
        }
        match event {
            Event::AlertFired { rule: None, .. } => unmatched(seq, input),
            // Before the first entry no rules were in force.
            Event::PolicyChanged { .. } if seq == GENESIS.seq + 1 => debug!(seq, event = ?event, "recorded"),
            Event::PageReleased { .. }
            | Event::PageHeld { .. }
            | Event::PageSpared { .. }
            | Event::IncidentOpened { .. }
            | Event::IncidentAcknowledged { .. }
            | Event::AcknowledgeVoided { .. }
            | Event::IncidentMonitoring { .. }
            | Event::IncidentReopened { .. }
            | Event::IncidentLostContact { .. }
            | Event::IncidentResolved { .. }
            | Event::Escalated { .. }
            | Event::EscalationSilenced { .. }
            | Event::ChannelOpened { .. }
            | Event::PostmortemDue { .. }
            | Event::SeverityChanged { .. }
            | Event::StatusDue { .. }
            | Event::StatusPublished { .. }
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
            | Event::Disarmed { .. }
            | Event::Rearmed { .. }
            | Event::Braked { .. }
            | Event::BrakeReleased { .. }
            | Event::FreezeWatched { .. }
            | Event::PolicyChanged { .. }
            | Event::PolicyKept { .. }
            | Event::Started { .. }
            | Event::Stopped
            | Event::ClockStepped { .. }
            | Event::Clicked { .. }
            | Event::CommandRefused { .. }
            | Event::Poisoned { .. } => itself(policy, seq, event),
            // Customers read something else than what is, and nobody tries again.
            Event::LetterFailed { letter, reason } if matches!(letter.receiver, Receiver::Statuspage { .. }) => {
                error!(seq, receiver = %letter.receiver, incident = %letter.incident, reason, "customers were not told");
            }
            Event::LetterFailed { letter, reason } if letter.is_page() => {
                error!(seq, receiver = %letter.receiver, incident = %letter.incident, reason, "PagerDuty refused a page for good");
            }
            Event::LetterWaits { letter, reason } if letter.is_page() => {
                error!(seq, receiver = %letter.receiver, incident = %letter.incident, reason, "PagerDuty refused a page, which waits for that to be set right");
            }
            Event::LetterFailed { letter, reason } => {
                warn!(seq, receiver = %letter.receiver, incident = %letter.incident, reason, "a letter was refused for good");
            }
            Event::AlertLost { fingerprint, .. } => warn!(seq, %fingerprint, "an alert is lost: nobody refreshes it"),
            _ if event.step().is_some() => step(policy, seq, event, events),
            _ => debug!(seq, event = ?event, "recorded"),
        }
    }
}

/// Another event of the same entry tells a person the same, and more.
fn is_said_by_another(event: &Event, events: &[Event]) -> bool {
    let any = |tells: &dyn Fn(&Event) -> bool| events.iter().any(tells);
    let judged = |step| move |other: &Event| matches!(other, Event::StepJudged { .. }) && other.step() == Some(step);
    match event {
        // What follows from it says why.
        Event::StepJudged { step, verdict, .. } => match verdict {
            Verdict::WouldHave => false,
            Verdict::Allow | Verdict::Ask { .. } | Verdict::Hold { .. } | Verdict::Deny { .. } => {
                any(&|other| other.step() == Some(*step) && other != event)
            }
        },
        Event::StepDropped { step, reason: Reason::Shadow } => any(&judged(*step)),
        Event::StepDropped { step, reason } => any(&|other| match other {
            Event::LadderEnded { incident, how, .. } if *incident == step.incident => match how {
                LadderEnd::HandedOver { reason: handed } => handed == reason,
                LadderEnd::NotNeeded => *reason == Reason::AlertResolved,
                LadderEnd::Helped | LadderEnd::WouldHave | LadderEnd::Exhausted | LadderEnd::Vetoed { .. } => false,
            },
            _ => false,
        }),
        Event::ApprovalVoided { step, .. } => {
            any(&|other| matches!(other, Event::StepDropped { step: dropped, .. } if dropped == step))
        }
        Event::LadderEnded { incident, how, .. } => any(&|other| tells_the_end(other, *incident, how)),
        _ => false,
    }
}

/// `event` says already that the ladder of `id` ended so.
fn tells_the_end(event: &Event, id: IncidentId, how: &LadderEnd) -> bool {
    match (event, how) {
        (Event::PageReleased { incident, reason, .. }, LadderEnd::HandedOver { reason: handed }) => {
            *incident == id && reason == handed
        }
        (Event::PageReleased { incident, reason, .. }, LadderEnd::Exhausted) => {
            *incident == id && *reason == Reason::Exhausted
        }
        (
            Event::IncidentResolved { incident, how: HowResolved::ByPerson { .. }, .. },
            LadderEnd::HandedOver { reason: Reason::Closed { .. } },
        )
        | (Event::IncidentLostContact { incident }, LadderEnd::HandedOver { reason: Reason::LostContact })
        | (Event::Barred { incident, .. }, LadderEnd::Vetoed { .. }) => *incident == id,
        (Event::StepVerified { step, answer: Answer::Helped }, LadderEnd::Helped) => step.incident == id,
        (Event::StepJudged { step, verdict: Verdict::WouldHave, .. }, LadderEnd::WouldHave) => step.incident == id,
        _ => false,
    }
}

/// So that one knows what to ask `why` about.
fn unmatched(seq: u64, input: &Input) {
    if let Input::Alert(alert) = input {
        let alertname = alert.labels.get("alertname").map(String::as_str);
        info!(seq, fingerprint = %alert.fingerprint, alertname, "alert fired and no rule matches");
    }
}

fn incident(policy: &Policy, seq: u64, event: &Event) {
    let zone = &policy.zone;
    match event {
        Event::PageReleased { incident, reason, .. } => {
            error!(seq, %incident, reason = reason.word(), says = reason.says(zone), "page: a person is needed");
        }
        Event::PageHeld { incident, until } => {
            info!(seq, %incident, until = until.in_zone(zone), "its page is held");
        }
        Event::PageSpared { incident, how } => info!(seq, %incident, says = how.says(), "its page is not sent"),
        Event::IncidentOpened { incident, rule, severity, title, .. } => {
            info!(seq, %incident, rule, severity, title, "incident opened");
        }
        Event::IncidentAcknowledged { incident, by } => info!(seq, %incident, by, "incident acknowledged"),
        Event::AcknowledgeVoided { incident } => info!(seq, %incident, "more severe than what was acknowledged"),
        Event::IncidentMonitoring { incident, until } => {
            info!(seq, %incident, until = until.in_zone(zone), "nothing of it fires: watching");
        }
        Event::IncidentReopened { incident } => info!(seq, %incident, "it fires again"),
        Event::IncidentLostContact { incident } => warn!(seq, %incident, "contact with its alerts is lost"),
        Event::IncidentResolved { incident, how, .. } => info!(seq, %incident, how = how.says(), "incident resolved"),
        Event::Escalated { incident, level, to, .. } => {
            warn!(seq, %incident, level = level + 1, to, "escalated: nobody has acknowledged it");
        }
        Event::EscalationSilenced { incident } => info!(seq, %incident, "silenced: nobody else is called"),
        Event::ChannelOpened { incident, name } => info!(seq, %incident, name, "it has a channel of its own"),
        Event::PostmortemDue { incident, due, .. } => {
            info!(seq, %incident, due = due.in_zone(zone), "its post-mortem is due");
        }
        Event::SeverityChanged { incident, severity, .. } => info!(seq, %incident, severity, "severity changed"),
        Event::StatusDue { component, incident, status, shows, waits, .. } => {
            let (status, shows) = (status.word(), shows.word());
            info!(seq, %incident, component, status, shows, waits, "the status page is to show");
        }
        Event::StatusPublished { component, incident, by } => info!(seq, %incident, component, by, "published"),
        Event::LadderBegan { incident, rungs, .. } => info!(seq, %incident, rungs = rungs.len(), "ladder began"),
        Event::LadderEnded { incident, how, .. } => match how {
            LadderEnd::HandedOver { reason } => {
                info!(seq, %incident, reason = reason.word(), says = reason.says(zone), "handed over to people");
            }
            LadderEnd::Helped
            | LadderEnd::NotNeeded
            | LadderEnd::WouldHave
            | LadderEnd::Exhausted
            | LadderEnd::Vetoed { .. } => info!(seq, %incident, how = how.says(zone), "ladder ended"),
        },
        _ => {}
    }
}

fn step(policy: &Policy, seq: u64, event: &Event, events: &[Event]) {
    let zone = &policy.zone;
    match event {
        Event::StepPlanned { step, rung, .. } => {
            info!(seq, %step, action = rung.action, target = %rung.target.key(), "step planned");
        }
        Event::StepJudged { step, verdict, plan, .. } => {
            let says = verdict.reason().map(|reason| reason.says(zone)).unwrap_or_default();
            let summary = plan.as_ref().map_or("", |plan| plan.proposal.summary.as_str());
            let reason = verdict.reason().map_or("", Reason::word);
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
            let judged = events.iter().find_map(|other| match other {
                Event::StepJudged { step: judged, verdict, .. } if judged == step => verdict.reason(),
                _ => None,
            });
            let says = judged.map(|reason| reason.says(zone));
            info!(seq, %step, summary = plan.proposal.summary, until = until.in_zone(zone), says, "approval asked");
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
            Answer::Broke { why } => warn!(seq, %step, why, "what it put in place is not well"),
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
            info!(seq, target = %lease.target, field = lease.field, how = how.says(zone), "lease ended");
        }
        _ => {}
    }
}

fn itself(policy: &Policy, seq: u64, event: &Event) {
    match event {
        Event::Started { replica, .. } => info!(seq, replica, policy = short_hash(&policy.hash), "leading"),
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
        Event::Disarmed { incident, rule, target, failures, of } => {
            let target = target.as_ref().map_or("all", |target| target.0.as_str());
            warn!(seq, %incident, rule, target, failures, of, "disarmed: the rule stays away until it is rearmed");
        }
        Event::Rearmed { rule, by, .. } => info!(seq, rule, by, "rearmed"),
        Event::Braked { set, incident, targets, .. } => {
            let set = set.as_deref().unwrap_or("all rules");
            warn!(seq, %incident, set, targets, "the brake is on: so many targets alert that nothing acts on them");
        }
        Event::BrakeReleased { set } => {
            let set = set.as_deref().unwrap_or("all rules");
            info!(seq, set, "the brake is off");
        }
        Event::FreezeWatched { name, on, look_at } => {
            let until = look_at.map(|at| at.in_zone(&policy.zone));
            info!(seq, name, on, until, "freeze");
        }
        Event::PolicyChanged { policy } => info!(seq, policy = short_hash(policy), "decides by other rules"),
        Event::PolicyKept { problems } => warn!(seq, problems, "the new rules were refused: the old ones stay"),
        Event::ClockStepped { by } => warn!(seq, %by, "the wall clock was stepped"),
        Event::CommandRefused { reason } => info!(seq, reason, "command refused"),
        Event::Poisoned { digest, message } => {
            error!(seq, digest, message, "an input could not be decided; it is recorded and not tried again");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decide::{State, decide},
        engine::testing::{MORNING, command, firing, policy, rule},
        model::{
            id::StepId,
            input::Command,
            mode::Mode,
            observation::Moment,
            time::{Micros, Span},
        },
    };
    use std::{
        io::{Result, Write},
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    /// The INFO lines, and worse, of a start and of these inputs; the first is at [`MORNING`], each a second later.
    fn told(policy: &Policy, inputs: Vec<Input>) -> Vec<String> {
        let started = |policy: &Policy| Input::Started {
            replica: "one".to_owned(),
            version: String::new(),
            policy: policy.hash.clone(),
            clean: true,
            damage: None,
        };
        let sink = Sink::default();
        let written = sink.clone();
        let lines = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || sink.clone())
            .finish();
        tracing::subscriber::with_default(lines, || {
            let mut state = State::default();
            let mut at: Micros = MORNING;
            for (seq, input) in (1..).zip(std::iter::once(started(policy)).chain(inputs)) {
                let events = decide(policy, &mut state, &input, at).unwrap();
                narrate(policy, seq, &input, &events);
                at = at + Span::seconds(1);
            }
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim_start().to_owned()).collect()
    }

    fn not_observed(step: StepId) -> Input {
        Input::Observed { step, moment: Moment::ForPlan, result: Err("no cluster".to_owned()) }
    }

    const FIRST: StepId = StepId { incident: IncidentId(1), number: 1 };

    #[test]
    fn a_first_start_names_its_rules_once_and_no_rules_before_them() {
        let policy = policy(Vec::new());
        let hash = short_hash(&policy.hash);
        assert_eq!(hash.len(), 12);
        let leads = format!("INFO leading seq=1 replica=\"one\" policy=\"{hash}\"");
        assert_eq!(told(&policy, Vec::new()), [leads]);
    }

    #[test]
    fn an_alert_that_no_rule_matches_is_told_with_what_why_wants() {
        let lines = told(&policy(Vec::new()), vec![firing("Odd", MORNING)]);
        assert_eq!(
            lines[1..],
            ["INFO alert fired and no rule matches seq=2 fingerprint=Odd alertname=\"Odd\"".to_owned()]
        );
    }

    #[test]
    fn what_holds_a_step_is_told_once_and_what_ends_its_ladder_by_the_page() {
        let acts = policy(vec![rule("acts", Mode::Auto, Some("noop"))]);
        let pause = command(Command::Pause { reason: "odd".to_owned() });
        let lines = told(&acts, vec![firing("A", MORNING), not_observed(FIRST), pause]);
        let about =
            |seq: &str| lines.iter().filter(|line| line.contains(seq)).map(|line| &line[..12]).collect::<Vec<_>>();
        assert_eq!(about("seq=3"), ["INFO step he"], "{lines:#?}");
        assert_eq!(about("seq=4"), ["WARN paused:", "ERROR page: "], "{lines:#?}");
    }

    #[test]
    fn a_step_in_shadow_is_not_handed_over_in_a_second_line() {
        let says = policy(vec![rule("says", Mode::Shadow, Some("noop"))]);
        let lines = told(&says, vec![firing("A", MORNING), not_observed(FIRST)]);
        let about: Vec<&String> = lines.iter().filter(|line| line.contains("seq=3")).collect();
        assert_eq!(about.len(), 1, "{lines:#?}");
        assert!(about[0].starts_with("INFO handed over to people"), "{lines:#?}");
    }

    #[test]
    fn a_resolve_by_a_person_is_one_line_with_their_name() {
        let acts = policy(vec![rule("acts", Mode::Auto, Some("noop"))]);
        let resolve = command(Command::Resolve { incident: IncidentId(1) });
        let lines = told(&acts, vec![firing("A", MORNING), resolve]);
        let about: Vec<&String> = lines.iter().filter(|line| line.contains("seq=3")).collect();
        assert_eq!(about, [&"INFO incident resolved seq=3 incident=1 how=\"by ana\"".to_owned()]);
        assert!(!lines.iter().any(|line| line.contains('{')), "no debug values for people: {lines:#?}");
    }
}
