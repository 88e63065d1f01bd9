//! Alerts: what a delivery means, and when an alert that nobody refreshes is called lost.

use super::{
    Decided, Decider, Policy, State,
    incident::title_of,
    state::{AlertState, Held, IncidentPhase, Timer, same_start},
};
use crate::model::{
    alert::{Alert, Status},
    event::{Event, LadderEnd},
    firing::{Firing, FiringAnswer},
    id::{Fingerprint, IncidentId},
    reason::Reason,
    time::{Micros, Span},
};

/// How long a resolved alert is remembered: a re-fire with the same start is noticed for that long.
pub const RESOLVED_KEPT: Span = Span::hours(6);
/// How long a lost alert is remembered.
pub const LOST_KEPT: Span = Span::hours(24 * 7);

impl Decider<'_> {
    pub(super) fn alert(&mut self, alert: &Alert) -> Decided {
        let held = self.state.alerts.get(&alert.fingerprint);
        match (held.map(|held| held.held), alert.status) {
            (None, Status::Firing) => self.fired(alert, false),
            (None | Some(Held::Resolved), Status::Resolved) => Ok(()),
            (Some(Held::Firing), Status::Firing) => match held {
                Some(held) if same_start(held, alert) && self.state.is_taken_now(self.policy, held, alert) => {
                    self.fired(alert, false)
                }
                // Alertmanager sends nothing that is silenced.
                Some(held) if same_start(held, alert) => self.heard_again(&alert.fingerprint, held.silenced),
                Some(held) if alert.starts_at < held.starts_at => self.emit(Event::AlertStale),
                _ => self.fired(alert, false),
            },
            (Some(Held::Resolved), Status::Firing) => match held {
                Some(held) if same_start(held, alert) => self.fired(alert, true),
                Some(held) if alert.starts_at < held.starts_at => self.emit(Event::AlertStale),
                _ => self.fired(alert, false),
            },
            (Some(Held::Lost), Status::Firing) => match held {
                Some(held) if !same_start(held, alert) && alert.starts_at < held.starts_at => {
                    self.emit(Event::AlertStale)
                }
                _ => self.fired(alert, false),
            },
            (Some(Held::Firing | Held::Lost), Status::Resolved) => {
                let ends_after = held.is_some_and(|held| alert.ends_at.is_some_and(|end| end > held.starts_at));
                if ends_after { self.resolves(alert) } else { self.emit(Event::AlertStale) }
            }
        }
    }

    fn fired(&mut self, alert: &Alert, doubtful: bool) -> Decided {
        let policy = self.policy;
        let rule = policy.classify(&alert.labels);
        let confirm_at = self.now + self.policy.spec.lost_after;
        self.emit(Event::AlertFired { rule: rule.map(|rule| rule.name.clone()), doubtful, confirm_at })?;
        let joined = self.state.alerts.get(&alert.fingerprint).and_then(|held| held.incident);
        if let Some(incident) = joined {
            return self.fires_again(incident, doubtful);
        }
        let Some(rule) = rule else { return self.page_untaken(alert) };
        let key = key_of(&rule.group_by, alert);
        let (rank, severity) = policy.severity_of(rule, &alert.labels);
        if let Some(incident) = self.state.open.get(&(rule.name.clone(), key.clone())).copied() {
            self.emit(Event::AlertJoined { incident, fingerprint: alert.fingerprint.clone() })?;
            if self.state.incidents.get(&incident).is_some_and(|known| rank < known.rank) {
                self.emit(Event::SeverityChanged { incident, severity, rank })?;
                self.more_severe(incident)?;
            }
            return self.fires_again(incident, doubtful);
        }
        let title = title_of(alert);
        let incident = self.open_incident(rule, key, severity, rank, title.clone(), alert)?;
        if let Some(into) = self.folds_into(rule, &alert.labels) {
            self.fold(incident, into, &title)?;
        }
        self.joins_its_parent(incident)?;
        self.tell_security(incident, "It has begun.")?;
        self.begin_ladder(incident, rule, &alert.labels, 0)?;
        self.may_open_channel(incident)
    }

    /// An alert of a known incident fires.
    fn fires_again(&mut self, incident: IncidentId, doubtful: bool) -> Decided {
        self.touched.insert(incident);
        self.keep_updating(incident)?;
        let Some(known) = self.state.incidents.get(&incident) else { return Ok(()) };
        match known.phase {
            IncidentPhase::Monitoring => self.reopen(incident)?,
            // Contact was lost, and here it is again: only this alert of it fires.
            IncidentPhase::Open if known.firing == 1 => self.go_on(incident)?,
            IncidentPhase::Open | IncidentPhase::Resolved => {}
        }
        if doubtful {
            self.post(
                incident,
                "It fired again with the same start time: whether it does is asked before anything acts.".into(),
            )?;
        }
        Ok(())
    }

    fn resolves(&mut self, alert: &Alert) -> Decided {
        self.emit(Event::AlertResolved { forget_at: self.now + RESOLVED_KEPT })?;
        match self.state.alerts.get(&alert.fingerprint).and_then(|held| held.incident) {
            Some(incident) => self.an_alert_ended(incident),
            None => Ok(()),
        }
    }

    /// Nobody has refreshed an alert for long: is it lost? `delivered`: the last webhook that this process remembers.
    pub(super) fn confirmed(
        &mut self,
        print: &Fingerprint,
        delivered: Option<Micros>,
        answer: &FiringAnswer,
    ) -> Decided {
        if !self.state.confirming.contains(print) {
            return Ok(());
        }
        let listed = match answer {
            FiringAnswer::Answered { at, alerts } => match alerts.get(print) {
                Some(Firing::Active { .. } | Firing::Suppressed { .. } | Firing::Unprocessed) => Some(*at),
                Some(Firing::Absent) | None => None,
            },
            FiringAnswer::NotAsked | FiringAnswer::Unreachable { .. } => None,
        };
        let (is_active, is_suppressed) = match answer {
            FiringAnswer::Answered { alerts, .. } => (
                matches!(alerts.get(print), Some(Firing::Active { .. })),
                matches!(alerts.get(print), Some(Firing::Suppressed { .. })),
            ),
            FiringAnswer::NotAsked | FiringAnswer::Unreachable { .. } => (false, false),
        };
        let silenced = (is_active || is_suppressed).then_some(is_suppressed);
        let lost_after = self.policy.spec.lost_after;
        if let Some(last) = delivered.max(listed)
            && last + lost_after > self.now
        {
            self.emit(Event::AlertConfirmed { fingerprint: print.clone(), confirm_at: last + lost_after, silenced })?;
            if is_active {
                self.silence_over(print)?;
            }
            return self.escalation_heard(print, !is_suppressed);
        }
        // It was asked for another reason than that nobody refreshed it: whether it is lost is not asked yet.
        if let Some(confirm_at) = self.state.due.get(&Timer::Confirm(print.clone())).copied() {
            self.emit(Event::AlertConfirmed { fingerprint: print.clone(), confirm_at, silenced })?;
            return self.escalation_heard(print, false);
        }
        // What was delivered before this start is remembered by nobody: only a peer that answers can say that it is gone.
        let answered = matches!(answer, FiringAnswer::Answered { .. });
        let all_could_have_come = self.state.leads_since + lost_after;
        if !answered && all_could_have_come > self.now {
            self.emit(Event::AlertConfirmed { fingerprint: print.clone(), confirm_at: all_could_have_come, silenced })?;
            return self.escalation_heard(print, false);
        }
        self.emit(Event::AlertLost { fingerprint: print.clone(), forget_at: self.now + LOST_KEPT })?;
        let Some(id) = self.state.alerts.get(print).and_then(|held| held.incident) else { return Ok(()) };
        self.touched.insert(id);
        self.may_have_lost_contact(id)
    }

    /// A known alert is delivered that waits for a silence's end.
    fn heard_again(&mut self, print: &Fingerprint, was_silenced: bool) -> Decided {
        if was_silenced {
            let confirm_at = self.now + self.policy.spec.lost_after;
            self.emit(Event::AlertConfirmed { fingerprint: print.clone(), confirm_at, silenced: Some(false) })?;
        }
        self.silence_over(print)
    }

    /// An alert is found active. If its ladder ended because it was silenced, it goes on: nobody was told to look.
    fn silence_over(&mut self, print: &Fingerprint) -> Decided {
        let waits = self.state.alerts.get(print).filter(|held| self.state.waits_for_a_silence(held));
        match waits.and_then(|held| held.incident) {
            Some(incident) if !self.state.has_a_silenced_alert(incident) => self.go_on(incident),
            Some(_) | None => Ok(()),
        }
    }

    /// Nothing of an open incident fires, and of some of it nobody knows: nobody acts on it any more.
    pub(super) fn may_have_lost_contact(&mut self, id: IncidentId) -> Decided {
        let lost_after = self.policy.spec.lost_after;
        let has_lost = self.state.incidents.get(&id).is_some_and(|incident| {
            let is_open = incident.phase == IncidentPhase::Open && !incident.lost_contact;
            is_open && incident.firing == 0 && incident.lost > 0
        });
        if !has_lost {
            return Ok(());
        }
        self.emit(Event::IncidentLostContact { incident: id })?;
        let published = self.stays_published(id);
        self.post(id, format!("Lost contact: nobody has confirmed what is left of its alerts for {lost_after}. It is not counted as resolved, and nothing acts on it.{published}"))?;
        self.stop_ladder(id, Reason::LostContact)
    }
}

impl State {
    /// No rule took it when it fired, and one does now: the rules have changed since.
    pub(super) fn is_taken_now(&self, policy: &Policy, held: &AlertState, alert: &Alert) -> bool {
        held.rule.is_none() && held.incident.is_none() && policy.classify(&alert.labels).is_some()
    }

    /// Some alert of it fires, and is silenced, as far as is known.
    fn has_a_silenced_alert(&self, id: IncidentId) -> bool {
        let alerts = self.incidents.get(&id).into_iter().flat_map(|incident| &incident.alerts);
        let mut alerts = alerts.filter_map(|print| self.alerts.get(print));
        alerts.any(|alert| alert.held == Held::Firing && alert.silenced)
    }

    /// Its incident's ladder ended because it was silenced.
    pub(super) fn waits_for_a_silence(&self, held: &AlertState) -> bool {
        held.incident.and_then(|id| self.incidents.get(&id)).is_some_and(|incident| {
            let ended = incident.ladder.as_ref().and_then(|ladder| ladder.ended.as_ref());
            incident.phase == IncidentPhase::Open
                && matches!(ended, Some(LadderEnd::HandedOver { reason: Reason::Silenced { .. } }))
        })
    }
}

impl Decider<'_> {
    /// An alert has been over for long. One that was lost stays lost while its incident is open: forgetting it would
    /// make it resolved, which nobody knows.
    pub(super) fn forget_alert(&mut self, print: &Fingerprint) -> Decided {
        let lost = self.state.alerts.get(print).filter(|held| held.held == Held::Lost);
        let incident = lost.and_then(|held| held.incident).and_then(|incident| self.state.incidents.get(&incident));
        if incident.is_some_and(|incident| incident.phase != IncidentPhase::Resolved) {
            return self.emit(Event::AlertLost { fingerprint: print.clone(), forget_at: self.now + LOST_KEPT });
        }
        self.emit(Event::AlertForgotten { fingerprint: print.clone() })
    }
}

/// The values of the `group_by` labels, in the rule's order: a JSON list of [label, value].
fn key_of(group_by: &[String], alert: &Alert) -> String {
    let value = |label: &String| alert.labels.get(label).map_or("", String::as_str);
    let pairs: Vec<(&String, &str)> = group_by.iter().map(|label| (label, value(label))).collect();
    serde_json::to_string(&pairs).unwrap_or_default()
}
