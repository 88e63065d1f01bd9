//! Pages that wait for a verdict. An alert that asks for it (`nightshift_hold="true"`) is paged when its hold is over, and
//! before that as soon as nightshift is not, or not surely, about to help.
//!
//! One function says which, [`Decider::must_page`], at the end of every entry, of every incident that the entry touched. It holds a
//! page only while a step of the incident's own ladder goes on in mode auto: whatever else there is, or is not, is a page
//! now. Alertmanager's route with the fuse is behind all this, and pages though nightshift is gone; each error here is an
//! earlier page.

use super::{
    Decided, Decider, State,
    guard::CONFIRMATION_FRESH,
    state::{Held, Incident, IncidentPhase, Step, Timer, Woken},
};
use crate::model::{
    alert::{Alert, Source, asks_to_hold},
    event::{Event, LadderEnd, Spared},
    id::IncidentId,
    input::{Command, Input},
    mode::Mode,
    peer::PeerEvent,
    reason::Reason,
    step::{Answer, Phase, Verdict},
    time::{Micros, Span},
};

/// What is due of an incident's page.
enum Due {
    /// It is out, or nobody asked to hold it.
    Nothing,
    Hold {
        until: Micros,
    },
    Page {
        reason: Reason,
    },
    Spare {
        how: Spared,
    },
}

impl Decider<'_> {
    /// Every incident that this input happened to; all whose page is held, where it happened to nightshift as a whole.
    pub(super) fn hold_pages(&mut self) -> Decided {
        let mut looked = std::mem::take(&mut self.looked);
        if self.concerns_all() {
            looked.extend(self.state.held_pages());
        }
        // One that fires again in an incident that is open anyway says nothing of it in its events.
        if let Input::Alert(alert) = self.input {
            looked.extend(self.state.alerts.get(&alert.fingerprint).and_then(|held| held.incident));
        }
        for id in looked {
            match self.must_page(id) {
                Due::Nothing => {}
                Due::Hold { until } => self.hold_page(id, until)?,
                Due::Page { reason } => self.page(id, reason)?,
                Due::Spare { how } => {
                    let mut says = how.says();
                    if let Some(first) = says.get_mut(..1) {
                        first.make_ascii_uppercase();
                    }
                    self.touched.insert(id);
                    self.emit(Event::PageSpared { incident: id, how })?;
                    self.post(id, format!("{says}."))?;
                }
            }
        }
        Ok(())
    }

    fn concerns_all(&self) -> bool {
        match self.input {
            Input::Started { .. } | Input::PolicyLoaded { .. } | Input::ClockStepped { .. } => true,
            Input::Command { command, .. } => {
                matches!(command, Command::Pause { .. } | Command::Resume { .. } | Command::Rearm { .. })
            }
            Input::Stopped
            | Input::PolicyRefused { .. }
            | Input::Alert(_)
            | Input::Peer(_)
            | Input::Observed { .. }
            | Input::Performed { .. }
            | Input::Measured { .. }
            | Input::Gathered { .. }
            | Input::Confirmed { .. }
            | Input::Told { .. }
            | Input::Wake
            | Input::Poisoned { .. } => false,
        }
    }

    fn hold_page(&mut self, id: IncidentId, until: Micros) -> Decided {
        let before = self.state.incidents.get(&id).map(|incident| incident.woken);
        if before == Some(Woken::Held { until }) {
            return Ok(());
        }
        self.touched.insert(id);
        self.emit(Event::PageHeld { incident: id, until })?;
        if matches!(before, Some(Woken::Held { .. })) {
            return Ok(());
        }
        let until = self.time(until);
        self.post(id, format!("The page is held until {until}: nightshift acts first."))
    }

    fn must_page(&self, id: IncidentId) -> Due {
        let Some(incident) = self.state.incidents.get(&id) else { return Due::Nothing };
        let held = match incident.woken {
            Woken::Yes => return Due::Nothing,
            Woken::No if !incident.asks_to_hold => return Due::Nothing,
            Woken::No => None,
            Woken::Held { until } => Some(until),
        };
        let asked_at = self.state.asked_to_hold_at(incident);
        if held.is_none() && asked_at.is_none() {
            return Due::Nothing;
        }
        if let Some(how) = self.needs_no_page(incident) {
            // A storm's page is this one's too, held or not.
            let is_told = held.is_some() || matches!(how, Spared::Storm { .. });
            return if is_told { Due::Spare { how } } else { Due::Nothing };
        }
        if self.pagerduty_has_paged() {
            return Due::Page { reason: Reason::NotHeld { why: "PagerDuty has woken people already".into() } };
        }
        let until = match self.may_hold(id, incident) {
            Err(reason) => return Due::Page { reason },
            // What has resolved while its verdict is awaited waits as long as before.
            Ok(hold) => held.into_iter().chain(asked_at.map(|at| at + hold)).min().unwrap_or(self.now),
        };
        if until > self.now {
            return Due::Hold { until };
        }
        let reason = match asked_at {
            Some(at) if held.is_none() => {
                let at = at.in_zone(&self.policy.zone);
                Reason::NotHeld { why: format!("it fires since {at}, which is longer than its page is held") }
            }
            _ => Reason::HoldOver { until },
        };
        Due::Page { reason }
    }

    /// This input says so of what it concerns: Alertmanager's fuse burnt down early, or somebody pages there by hand.
    fn pagerduty_has_paged(&self) -> bool {
        match self.input {
            Input::Peer(news) => {
                let is_new = matches!(news.event, PeerEvent::Triggered | PeerEvent::Reopened);
                is_new && news.occurred_at + CONFIRMATION_FRESH >= self.now
            }
            _ => false,
        }
    }

    /// Somebody is awake, or there is nothing left to wake them for.
    fn needs_no_page(&self, incident: &Incident) -> Option<Spared> {
        if incident.phase == IncidentPhase::Resolved {
            return Some(match &incident.resolved_by {
                Some(by) => Spared::Closed { by: by.clone() },
                None => Spared::Resolved,
            });
        }
        if let Some(by) = &incident.acknowledged_by {
            return Some(Spared::Acknowledged { by: by.clone() });
        }
        let is_over = incident.firing + incident.lost == 0;
        match incident.ladder.as_ref()?.ended.as_ref()? {
            LadderEnd::Helped if is_over => Some(Spared::Helped),
            LadderEnd::NotNeeded if is_over => Some(Spared::Resolved),
            LadderEnd::HandedOver { reason: Reason::Silenced { .. } } => Some(Spared::Silenced),
            LadderEnd::HandedOver { reason: Reason::Braked { by, .. } } => {
                let storm = self.state.incidents.get(by).filter(|_| self.state.tells_of_a_storm(*by))?;
                let woken = storm.pages > 0 || storm.acknowledged_by.is_some();
                woken.then_some(Spared::Storm { by: *by })
            }
            _ => None,
        }
    }

    /// How long after the alert's start, or why not.
    fn may_hold(&self, id: IncidentId, incident: &Incident) -> Result<Span, Reason> {
        let not_held = |why: String| Reason::NotHeld { why };
        let rule = self.policy.rule(&incident.rule).ok_or(Reason::RulesChanged)?;
        let hold = rule.hold_page.ok_or_else(|| not_held(format!("rule {} does not hold its page", rule.name)))?;
        let severity = self.policy.severity(&incident.severity).map(|(_, severity)| severity);
        if severity.and_then(|severity| severity.respond_within).is_none_or(|within| within.at_least() < hold) {
            return Err(not_held(format!("a page of {} waits no {hold}", incident.severity)));
        }
        if self.state.held_alerts(incident).any(|alert| alert.doubtful) {
            return Err(Reason::Doubtful);
        }
        if self.just_did_not_help(id) {
            return Err(Reason::DidNotHelp);
        }
        let ladder = incident.ladder.as_ref().ok_or_else(|| not_held("nothing is done about it".into()))?;
        if let Some(ended) = &ladder.ended {
            return Err(why_it_ended(ended));
        }
        let steps = self.state.live_steps_of(id);
        let mut fixes = steps.iter().filter_map(|step| self.state.steps.get(step)).filter(|step| step.purpose.is_fix());
        let fix = fixes.next().ok_or(Reason::DidNotHelp)?;
        match self.why_it_does_not_go_on(fix) {
            Some(reason) => Err(reason),
            None => Ok(hold),
        }
    }

    /// The verdict of this very entry: what is tried next is tried with people awake.
    fn just_did_not_help(&self, id: IncidentId) -> bool {
        self.events.iter().any(|event| match event {
            Event::StepVerified { step, answer: Answer::DidNot | Answer::Broke { .. } } => step.incident == id,
            _ => false,
        })
    }

    /// Why a live fix is not about to help, if it waits for anything but the alert's own age.
    fn why_it_does_not_go_on(&self, fix: &Step) -> Option<Reason> {
        match fix.rung.mode {
            Mode::Shadow => return Some(Reason::Shadow),
            Mode::Ask => return Some(Reason::ModeAsks),
            Mode::Auto => {}
        }
        if fix.phase.is_started() {
            return None;
        }
        if let Some(pause) = &self.state.paused {
            return Some(Reason::Paused { by: pause.by.clone(), why: pause.reason.clone() });
        }
        if let Some(until) = self.state.settling_until.filter(|until| *until > self.now) {
            return Some(Reason::Settling { until });
        }
        match (fix.phase, &fix.held_for) {
            (Phase::Holding, Some(Reason::TooYoung { .. })) => None,
            (Phase::Holding, held_for) => Some(held_for.clone().unwrap_or(Reason::DidNotHelp)),
            (Phase::Asking, _) => Some(why_it_asks(fix)),
            _ => None,
        }
    }

    /// An alert that asks to be held, and that no rule takes: nobody acts on it, and its page would wait for nothing.
    pub(super) fn page_untaken(&mut self, alert: &Alert) -> Decided {
        if alert.source != Source::Alertmanager || !asks_to_hold(&alert.labels) {
            return Ok(());
        }
        let name = super::incident::title_of(alert);
        let reason =
            Reason::NotHeld { why: format!("no rule takes the alert \"{name}\", which asks to hold its page") };
        self.page_without_incident(alert, reason)
    }
}

fn why_it_ended(ended: &LadderEnd) -> Reason {
    match ended {
        LadderEnd::HandedOver { reason } => reason.clone(),
        LadderEnd::WouldHave => Reason::Shadow,
        LadderEnd::Vetoed { by } => Reason::Undone { by: by.clone() },
        LadderEnd::Exhausted => Reason::Exhausted,
        LadderEnd::Helped | LadderEnd::NotNeeded => {
            Reason::NotHeld { why: "it fires, and nothing is done about it any more".into() }
        }
    }
}

/// The first guard that wants a person.
fn why_it_asks(fix: &Step) -> Reason {
    let asks = fix.trace.iter().find_map(|line| match &line.verdict {
        Verdict::Ask { reason } => Some(reason.clone()),
        _ => None,
    });
    asks.unwrap_or(Reason::ModeAsks)
}

impl Incident {
    /// Nobody was woken yet, and perhaps nobody need be: what begins with the page has not begun.
    pub(super) fn page_may_wait(&self) -> bool {
        match self.woken {
            Woken::Held { .. } => true,
            Woken::No => self.asks_to_hold && self.acknowledged_by.is_none(),
            Woken::Yes => false,
        }
    }
}

impl State {
    /// Incidents whose page is held.
    pub(super) fn held_pages(&self) -> Vec<IncidentId> {
        let held = Timer::HoldEnds(IncidentId(0))..=Timer::HoldEnds(IncidentId(u64::MAX));
        let held = self.due.range(held).map(|(timer, _)| timer);
        held.filter_map(|timer| if let Timer::HoldEnds(id) = timer { Some(*id) } else { None }).collect()
    }

    /// Until when an incident's page is held, if it is.
    #[must_use]
    pub fn page_held_until(&self, id: IncidentId) -> Option<Micros> {
        match self.incidents.get(&id)?.woken {
            Woken::Held { until } => Some(until),
            Woken::No | Woken::Yes => None,
        }
    }

    /// Alerts of it that ask to be held, and are not over.
    fn held_alerts<'a>(&'a self, incident: &'a Incident) -> impl Iterator<Item = &'a super::state::AlertState> {
        let alerts = incident.alerts.iter().filter_map(|print| self.alerts.get(print));
        alerts.filter(|alert| alert.asks_to_hold() && alert.held != Held::Resolved)
    }

    /// When the first of them began. A sender's clock that is ahead of ours holds nothing for longer.
    fn asked_to_hold_at(&self, incident: &Incident) -> Option<Micros> {
        self.held_alerts(incident).map(|alert| alert.starts_at.min(alert.seen_at)).min()
    }
}
