//! Incidents: what people handle. Open, monitoring, resolved; reopened in place; forgotten.

use super::{
    Decided, Decider,
    policy::Rule,
    state::{Held, Illegal, IncidentPhase},
};
use crate::model::{
    alert::Alert,
    event::{Event, HowResolved, LadderEnd},
    id::IncidentId,
    letter::Receiver,
    reason::Reason,
    time::Span,
};

/// How long a resolved incident stays in memory; the journal keeps it for `journal_keep`.
pub const RESOLVED_INCIDENT_KEPT: Span = Span::hours(48);
/// A monitored incident whose step is still being verified is looked at again after this.
const STILL_VERIFYING: Span = Span::minutes(1);
/// Characters of a title: one line on a phone.
const TITLE_LENGTH: usize = 150;

impl Decider<'_> {
    pub(super) fn open_incident(
        &mut self,
        rule: &Rule,
        key: String,
        severity: String,
        rank: u32,
        title: String,
        alert: &Alert,
    ) -> Result<IncidentId, Illegal> {
        let incident = IncidentId(self.state.last_incident + 1);
        let channel = rule.slack_channel.clone().or_else(|| self.policy.spec.slack_channel.clone());
        let mentions = self.policy.severity(&severity).map(|(_, found)| found.mentions.clone()).unwrap_or_default();
        let parent = self.parent_for(rule.service.as_deref());
        let security = self.security_receiver(rule.security);
        self.emit(Event::IncidentOpened {
            incident,
            rule: rule.name.clone(),
            key,
            severity,
            rank,
            title,
            service: rule.service.clone(),
            runbook: rule.runbook.clone(),
            quiet: rule.quiet,
            receiver: channel.map(|channel| Receiver::Slack { channel }),
            mentions,
            parent,
            impact: rule.impact.clone(),
            security,
        })?;
        self.emit(Event::AlertJoined { incident, fingerprint: alert.fingerprint.clone() })?;
        self.touched.insert(incident);
        let collectors = self.policy.collectors(&rule.evidence, &alert.labels);
        if !collectors.is_empty() {
            self.emit(Event::EvidenceWanted { incident, collectors })?;
        }
        Ok(incident)
    }

    /// An alert of it resolved. When nothing of it fires any more, it is monitored.
    pub(super) fn an_alert_ended(&mut self, id: IncidentId) -> Decided {
        self.touched.insert(id);
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        if incident.phase != IncidentPhase::Open || incident.firing > 0 {
            return Ok(());
        }
        if incident.lost > 0 {
            return self.may_have_lost_contact(id);
        }
        let until = self.now + incident.quiet;
        self.emit(Event::IncidentMonitoring { incident: id, until })?;
        self.drop_unstarted(id, &Reason::AlertResolved)?;
        self.drop_unstarted_undo(id, &Reason::AlertResolved)?;
        // A person's undo or a lease's end may still be on its way: neither says anything to the ladder.
        if self.ladder_lives(id) && !self.ladder_has_a_step(id) {
            self.end_ladder(id, LadderEnd::NotNeeded)?;
        }
        Ok(())
    }

    /// It fires again while it is monitored: the same incident, and its ladder goes on at the next rung.
    pub(super) fn reopen(&mut self, id: IncidentId) -> Decided {
        self.emit(Event::IncidentReopened { incident: id })?;
        self.post(id, "It fires again: reopened.".into())?;
        self.keep_updating(id)?;
        self.go_on(id)
    }

    /// It fires after a time in which nothing of it did: its ladder goes on at the next rung, unless people have it.
    pub(super) fn go_on(&mut self, id: IncidentId) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let goes_on = incident.ladder.as_ref().is_none_or(|ladder| match &ladder.ended {
            // A step is still being verified: its verdict decides.
            None => false,
            Some(LadderEnd::Helped | LadderEnd::NotNeeded | LadderEnd::WouldHave) => true,
            // Nobody was woken for it alone: there was nothing to be woken for, or a storm's page, until now.
            Some(LadderEnd::HandedOver {
                reason: Reason::LostContact | Reason::Silenced { .. } | Reason::Braked { .. },
            }) => true,
            // People have it, for as long as this incident lasts.
            Some(LadderEnd::Exhausted | LadderEnd::HandedOver { .. } | LadderEnd::Vetoed { .. }) => false,
        });
        if !goes_on {
            return Ok(());
        }
        let Some(rule) = self.policy.rule(&incident.rule).cloned() else {
            return self.page(id, Reason::RulesChanged);
        };
        let first = incident.next_rung;
        let labels = incident
            .alerts
            .iter()
            .filter_map(|print| self.state.alerts.get(print))
            .find(|alert| alert.held == Held::Firing)
            .map(|alert| alert.labels.to_labels())
            .unwrap_or_default();
        self.begin_ladder(id, &rule, &labels, first)
    }

    /// Nothing of it has fired for its quiet time.
    pub(super) fn quiet_over(&mut self, id: IncidentId) -> Decided {
        self.touched.insert(id);
        if self.has_started_step(id) {
            return self.emit(Event::IncidentMonitoring { incident: id, until: self.now + STILL_VERIFYING });
        }
        if !self.state.open_children(id).is_empty() {
            return self.emit(Event::IncidentWaits { incident: id });
        }
        self.resolve_incident(id, HowResolved::Quiet)
    }

    pub(super) fn resolve_incident(&mut self, id: IncidentId, how: HowResolved) -> Decided {
        self.touched.insert(id);
        let forget_at = self.now + RESOLVED_INCIDENT_KEPT;
        let says = how.says();
        let by_itself = how == HowResolved::Quiet;
        self.emit(Event::IncidentResolved { incident: id, how, forget_at })?;
        self.tell_security(id, &format!("Resolved: {says}."))?;
        self.say_it_is_resolved(id, &says)?;
        if self.state.root_of(id) == id {
            // What a person resolved, the thread has heard from them.
            if by_itself {
                self.post(id, format!("Resolved: {says}."))?;
            }
            return self.owe_a_postmortem(id);
        }
        self.post(id, format!("Resolved: {says}."))?;
        self.child_is_over(id)
    }

    pub(super) fn forget_incident(&mut self, id: IncidentId) -> Decided {
        let leased = self.state.leases.values().any(|lease| lease.step.incident == id);
        let owed = self.state.owed.iter().any(|letter| letter.incident == id);
        let locked = self.state.locks.values().any(|lock| lock.incident == id);
        let closed = self.is_closed_while_it_fires(id);
        let published = self.state.leads_a_publication(id);
        let paged = self.state.pages_of(id).any(|(_, page)| page.ours && page.is_open());
        let has_children = self.state.incidents.get(&id).is_some_and(|incident| !incident.children.is_empty());
        let is_live = !self.state.live_steps_of(id).is_empty();
        if leased || owed || locked || closed || published || paged || has_children || is_live {
            let forget_at = self.now + Span::hours(1);
            return self.emit(Event::IncidentKept { incident: id, forget_at });
        }
        self.emit(Event::IncidentForgotten { incident: id })
    }

    /// A person resolved it, and what still fires of it is known as closed by it.
    fn is_closed_while_it_fires(&self, id: IncidentId) -> bool {
        self.state
            .incidents
            .get(&id)
            .is_some_and(|incident| incident.resolved_by.is_some() && incident.firing + incident.lost > 0)
    }

    pub(super) fn gathered(&mut self, id: IncidentId) -> Decided {
        if !self.state.incidents.contains_key(&id) {
            return Ok(());
        }
        self.touched.insert(id);
        self.emit(Event::EvidenceGathered { incident: id })
    }

    pub(super) fn has_started_step(&self, id: IncidentId) -> bool {
        let steps = self.state.live_steps_of(id);
        steps.iter().filter_map(|step| self.state.steps.get(step)).any(|step| step.phase.is_started())
    }
}

/// One line for people: the summary that the alert's author wrote, else its name.
pub(super) fn title_of(alert: &Alert) -> String {
    let words = alert.annotations.get("summary").or_else(|| alert.labels.get("alertname"));
    let words = words.map_or("an alert without a name", String::as_str);
    words.chars().filter(|letter| !letter.is_control()).take(TITLE_LENGTH).collect()
}
