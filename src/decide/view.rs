//! The state as people see it: one incident, one alert, one step; the same words in Slack, CLI and API.

use super::{
    Policy, State,
    state::{AlertState, Held, Incident, Step},
    verify,
};
use crate::model::{
    event::LadderEnd,
    id::{Fingerprint, IncidentId, StepId},
    letter::{LetterKey, Posted, Receiver, Slot},
    mode::Mode,
    public::PublicView,
    step::{Phase, Purpose},
    time::Micros,
    view::{ALERTS_SHOWN, AlertView, CHILDREN_SHOWN, ChildView, IncidentView, StepView},
};
use std::collections::BTreeSet;

impl State {
    /// The steps whose change is lent, and put back.
    pub fn leased_steps(&self) -> impl Iterator<Item = StepId> {
        self.leases.values().map(|lease| lease.step)
    }

    /// The targets that a rule is kept from until it is rearmed.
    #[must_use]
    pub fn waits_to_be_rearmed(&self, rule: &str) -> Vec<String> {
        let barred = self.barred.keys().filter(|(of, _)| of == rule).map(|(_, key)| key.0.clone());
        let disarmed = self.records.disarmed_of(rule).flatten().map(|key| key.0.clone());
        let all: BTreeSet<String> = barred.chain(disarmed).collect();
        all.into_iter().collect()
    }

    /// One incident for people. `now`: what may no longer be done then is not offered.
    #[must_use]
    pub fn incident_view(&self, policy: &Policy, id: IncidentId, now: Micros) -> Option<IncidentView> {
        let incident = self.incidents.get(&id)?;
        let root = self.root_of(id);
        let told_in = self.incidents.get(&root)?;
        let team = policy.levels(&incident.severity).first().map(|level| level.to.clone());
        let (children, more_children) = self.children_views(policy, incident, now);
        Some(IncidentView {
            id,
            rule: incident.rule.clone(),
            title: incident.title.clone(),
            severity: incident.severity.clone(),
            rank: incident.rank,
            ranks: u32::try_from(policy.spec.severities.len()).unwrap_or(u32::MAX),
            service: incident.service.clone(),
            runbook: incident.runbook.clone(),
            state: incident.phase.word().to_owned(),
            opened_at: incident.opened_at,
            resolved_at: incident.resolved_at,
            quiet_until: incident.quiet_until,
            acknowledged_by: incident.acknowledged_by.clone(),
            acknowledged_at: incident.acknowledged_at,
            lost_contact: incident.lost_contact,
            firing: incident.firing,
            resolved: incident.resolved,
            lost: incident.lost,
            alerts: incident.alerts.iter().take(ALERTS_SHOWN).filter_map(|print| self.alert_view(print)).collect(),
            ladder: ladder_says(policy, incident),
            steps: self.step_views(policy, id, now),
            evidence: incident.evidence.clone(),
            pages: self.family(id).map(|(_, incident)| incident.pages).sum(),
            calls: self.call_views(policy, id),
            next_call: self.next_call(policy, id),
            pagerduty_pages: self.page_views(id),
            page_held_until: self.page_held_until(id),
            pagerduty: self.peers.views_of(id),
            page_keys: self.page_keys(id),
            posted: told_in.receiver.clone().and_then(|receiver| self.card_in(receiver, root)),
            parent: incident.parent,
            children,
            more_children,
            impact: incident.impact.clone(),
            team,
            channel: (told_in.channel.clone()).and_then(|name| self.card_in(Receiver::IncidentChannel { name }, root)),
            update_every: told_in.channel.as_ref().map(|_| policy.update_every(&told_in.severity)),
            public: self.public_view(policy, id),
            note: None,
        })
    }

    fn card_in(&self, receiver: Receiver, incident: IncidentId) -> Option<Posted> {
        let card = LetterKey { receiver, incident, slot: Slot::Card };
        self.letters.get(&card)?.external.as_ref()?.posted().cloned()
    }

    fn step_views(&self, policy: &Policy, incident: IncidentId, now: Micros) -> Vec<StepView> {
        let range = StepId { incident, number: 0 }..=StepId { incident, number: u32::MAX };
        self.steps.range(range).map(|(id, step)| self.step_view(policy, *id, step, now)).collect()
    }

    /// The newest, and how many there are besides.
    fn children_views(&self, policy: &Policy, parent: &Incident, now: Micros) -> (Vec<ChildView>, u32) {
        let newest = parent.children.iter().rev().take(CHILDREN_SHOWN);
        let shown: Vec<ChildView> = newest
            .filter_map(|id| {
                let child = self.incidents.get(id)?;
                Some(ChildView {
                    id: *id,
                    title: child.title.clone(),
                    severity: child.severity.clone(),
                    state: child.phase.word().to_owned(),
                    firing: child.firing,
                    lost_contact: child.lost_contact,
                    ladder: ladder_says(policy, child),
                    steps: self.step_views(policy, *id, now),
                })
            })
            .collect();
        let more = parent.children.len().saturating_sub(shown.len());
        (shown, u32::try_from(more).unwrap_or(u32::MAX))
    }

    fn public_view(&self, policy: &Policy, id: IncidentId) -> Option<PublicView> {
        let (component, publication) = self.published_on(id)?;
        let incident = publication.incident;
        let letter =
            LetterKey { receiver: Receiver::Statuspage { component: component.clone() }, incident, slot: Slot::Card };
        let told = self.letters.get(&letter).and_then(|letter| letter.external.as_ref()?.published());
        let page = policy.spec.statuspage.as_ref();
        let sentences = page.and_then(|page| page.components.get(component)).map(|known| &known.sentences);
        Some(PublicView {
            component: component.clone(),
            incident,
            status: publication.status,
            shows: publication.shows,
            waits: publication.waits,
            published_by: publication.published_by.clone(),
            told: told.map(|told| told.status),
            title: sentences.map(|known| known.title.clone()).unwrap_or_default(),
            sentence: sentences.map(|known| known.of(publication.status).to_owned()).unwrap_or_default(),
        })
    }

    #[must_use]
    pub fn alert_view(&self, print: &Fingerprint) -> Option<AlertView> {
        let alert: &AlertState = self.alerts.get(print)?;
        let state = match alert.held {
            Held::Firing => "firing",
            Held::Resolved => "resolved",
            Held::Lost => "lost",
        };
        Some(AlertView {
            fingerprint: print.clone(),
            state: state.to_owned(),
            doubtful: alert.doubtful,
            starts_at: alert.starts_at,
            rule: alert.rule.clone(),
            incident: alert.incident,
            labels: alert.labels.to_labels(),
            annotations: alert.annotations.to_labels(),
            url: alert.url.to_string(),
        })
    }

    fn step_view(&self, policy: &Policy, id: StepId, step: &Step, now: Micros) -> StepView {
        let proposal = step.plan.as_ref().map(|plan| &plan.proposal);
        let undo_until = undo_until(self, id).filter(|until| *until >= now && step.undone_by.is_none());
        let lease = self.leases.values().find(|lease| lease.step == id).map(|lease| lease.until);
        let holding = step.phase == Phase::Holding;
        let reason = match step.phase {
            Phase::Holding => step.held_for.clone(),
            _ => step.reason.clone(),
        };
        StepView {
            id,
            purpose: match &step.purpose {
                Purpose::Fix => "fix".to_owned(),
                Purpose::Undo { step, .. } => format!("undo of {step}"),
                Purpose::LeaseEnd { .. } => "end of a lease".to_owned(),
            },
            action: step.rung.action.clone(),
            target: step.rung.target.key().0,
            mode: step.rung.mode.word().to_owned(),
            phase: step.phase.word().to_owned(),
            wants: Some(step.rung.parameters()).filter(|wants| step.purpose.is_fix() && !wants.is_empty()),
            summary: proposal.map(|proposal| proposal.summary.clone()),
            undo_summary: proposal.and_then(|proposal| proposal.undo_summary.clone()),
            plan_hash: step.plan.as_ref().map(|plan| plan.hash.clone()),
            approval_until: step.approval_until.filter(|_| step.phase == Phase::Asking),
            approved_by: step.approved_by.clone(),
            held_until: step.held_until.filter(|_| holding),
            planned_at: step.planned_at,
            started_at: step.started_at,
            ended_at: step.ended_at,
            undo_until,
            lease_until: lease,
            verify_by: step.verify_by.filter(|_| step.phase == Phase::Verifying),
            says: says(policy, step),
            reason,
            verdict: step.answer.as_ref().map(verify::words),
            trace: step.trace.clone(),
            commands: commands(id, step, undo_until, lease),
        }
    }
}

/// Until when a person may undo a step, if it is a fix that changed something and has a way back.
pub(super) fn undo_until(state: &State, id: StepId) -> Option<Micros> {
    let step = state.steps.get(&id)?;
    let has_undo = step.plan.as_ref().is_some_and(|plan| !plan.proposal.undo.is_null());
    if !step.purpose.is_fix() || !has_undo {
        return None;
    }
    let window = state.incidents.get(&id.incident)?.ladder.as_ref()?.undo_within;
    step.applied_at.map(|applied| applied + window)
}

/// How a step stands, in one sentence without a full stop.
fn says(policy: &Policy, step: &Step) -> String {
    let words = phase_says(policy, step);
    match &step.ended {
        Some(ended) => format!("{}: {words}", ended.says()),
        None => words,
    }
}

fn phase_says(policy: &Policy, step: &Step) -> String {
    let zone = &policy.zone;
    let because = |reason: &Option<crate::model::reason::Reason>| {
        reason.as_ref().map(|reason| reason.says(zone)).unwrap_or_default()
    };
    match step.phase {
        Phase::Observing => "looking at the target".to_owned(),
        Phase::Holding => format!("held: {}", because(&step.held_for)),
        Phase::Asking => match step.approval_until {
            Some(until) => format!("waits for an approval until {}", until.time_of_day(zone)),
            None => "waits for an approval".to_owned(),
        },
        Phase::Acting if step.outcome_lost => "the answer was lost: it will be read back".to_owned(),
        Phase::Acting => "acting".to_owned(),
        Phase::ReadBack => "reading back what it did".to_owned(),
        Phase::Verifying => match step.verify_by {
            Some(by) => format!("done; being verified until {}", by.time_of_day(zone)),
            None => "done; being verified".to_owned(),
        },
        Phase::Dropped if matches!(step.reason, Some(crate::model::reason::Reason::Shadow)) => {
            "would have done this; not measured (shadow)".to_owned()
        }
        Phase::Dropped => format!("not done: {}", because(&step.reason)),
        Phase::Failed => format!("changed nothing: {}", because(&step.reason)),
        Phase::Unknown => because(&step.reason),
        Phase::Verified | Phase::Ineffective | Phase::Inconclusive => {
            step.answer.as_ref().map(verify::words).unwrap_or_default()
        }
    }
}

/// What a person may type next.
fn commands(id: StepId, step: &Step, undo_until: Option<Micros>, lease: Option<Micros>) -> Vec<String> {
    let mut commands = Vec::new();
    if step.phase == Phase::Asking {
        commands.push(format!("nightshift approve {id}"));
        commands.push(format!("nightshift reject {id}"));
    }
    if undo_until.is_some() && !matches!(step.phase, Phase::Acting | Phase::ReadBack) {
        commands.push(format!("nightshift undo {id}"));
    }
    if lease.is_some() {
        commands.push(format!("nightshift lease extend {id} 1h"));
        commands.push(format!("nightshift lease end {id}"));
    }
    commands
}

pub(super) fn ladder_says(policy: &Policy, incident: &Incident) -> String {
    if incident.rule == super::brake::RULE {
        return "the brake: nothing acts on what alerts".to_owned();
    }
    let Some(ladder) = &incident.ladder else { return "no remediation is configured: it is only told".to_owned() };
    match &ladder.ended {
        None => {
            let rungs = ladder.rungs.len();
            // Earlier rungs were tried before the incident was reopened, or did not help.
            let word = if rungs == 1 { "rung" } else { "rungs" };
            format!("working on it: {} of {rungs} {word} tried", incident.next_rung)
        }
        Some(LadderEnd::NotNeeded) if !ladder.started.is_empty() => {
            "the alert resolved before anything more had to be done".to_owned()
        }
        Some(how) => how.says(&policy.zone),
    }
}

/// The mode in effect of a rule, for lists.
#[must_use]
pub fn effective_mode(policy: &Policy, rule: &str) -> Mode {
    policy.rule(rule).map_or(Mode::Shadow, |rule| rule.mode.min(policy.spec.mode))
}
