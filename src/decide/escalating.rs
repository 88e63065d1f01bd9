//! Escalation: who was paged and does not acknowledge it has company, level by level.
//!
//! It begins with the page and ends with the acknowledge. No freeze, pause, mode or brake stops it: those stop acting. A
//! level is not called for what is silenced or for what nobody has heard of since nightshift was away: it is asked first,
//! for a moment; who gives no answer delays nobody for longer. Where PagerDuty is configured it pages whom its own policy
//! names: our levels mention people in Slack.

use super::{
    Decided, Decider,
    levels::{Level, Reach},
    state::Held,
};
use crate::model::{
    event::Event,
    id::{Fingerprint, IncidentId},
    time::{Micros, Span},
};
use std::collections::BTreeSet;

/// What gives no answer in this time is taken to fire still.
const ANSWER_WITHIN: Span = Span::seconds(30);
/// A level that comes later than this is called only for what is known to fire, and takes the place of those before it.
const LATE: Span = Span::hours(1);
/// ... and is asked about so often until then.
const ASK_AGAIN: Span = Span::minutes(1);
/// Alerts that are asked about. Where more fire they are not looked at: it is no silence.
const ASKED: usize = 20;

impl Decider<'_> {
    /// A page went out: levels count from the first one.
    pub(super) fn begin_escalation(&mut self, id: IncidentId) -> Decided {
        let root = self.state.root_of(id);
        let Some(incident) = self.state.incidents.get(&root) else { return Ok(()) };
        if incident.acknowledged_by.is_some() || incident.escalation.is_some() {
            return Ok(());
        }
        self.escalation_begins(root)
    }

    /// It is more severe than what people were paged for: that severity's levels count from now, its people are woken.
    fn escalation_begins(&mut self, root: IncidentId) -> Decided {
        let Some(incident) = self.state.incidents.get(&root) else { return Ok(()) };
        let next = self.policy.levels(&incident.severity).get(1);
        let next_at = next.map(|level| self.now + level.after);
        self.emit(Event::EscalationBegan { incident: root, next_at })
    }

    /// Its severity was raised after people were woken for it, and nobody has it.
    pub(super) fn escalate_anew(&mut self, root: IncidentId) -> Decided {
        if self.state_of_escalation(root).is_some() { self.escalation_begins(root) } else { Ok(()) }
    }

    fn state_of_escalation(&self, root: IncidentId) -> Option<&super::escalation::Escalation> {
        self.state.incidents.get(&root)?.escalation.as_ref()
    }

    /// The next level's time has come, or that of the answers that it waits for.
    pub(super) fn escalation_due(&mut self, root: IncidentId) -> Decided {
        let has_asked = self.state_of_escalation(root).is_some_and(|escalation| !escalation.asked.is_empty());
        if has_asked || !self.policy.spec.asks_alertmanager && !self.comes_late(root) {
            return self.escalate(root, false);
        }
        self.ask_before_escalating(root, self.now + ANSWER_WITHIN)
    }

    fn comes_late(&self, root: IncidentId) -> bool {
        let planned = self.state_of_escalation(root).and_then(|escalation| escalation.at);
        planned.is_some_and(|planned| self.now - planned > LATE)
    }

    fn ask_before_escalating(&mut self, root: IncidentId, until: Micros) -> Decided {
        let fingerprints: Vec<Fingerprint> = self.firing_of_family(root, ASKED).into_iter().collect();
        if fingerprints.is_empty() {
            return self.escalate(root, true);
        }
        self.emit(Event::EscalationAsked { incident: root, fingerprints, until })
    }

    fn firing_of_family(&self, root: IncidentId, most: usize) -> BTreeSet<Fingerprint> {
        let alerts = self.state.family(root).flat_map(|(_, incident)| &incident.alerts);
        let fires = |print: &&Fingerprint| self.state.alerts.get(*print).is_some_and(|it| it.held == Held::Firing);
        alerts.filter(fires).take(most).cloned().collect()
    }

    /// Something was learned of an alert. `fires`: it fires, and is not silenced.
    pub(super) fn escalation_heard(&mut self, print: &Fingerprint, fires: bool) -> Decided {
        let Some(id) = self.state.alerts.get(print).and_then(|alert| alert.incident) else { return Ok(()) };
        let root = self.state.root_of(id);
        let Some(asked) = self.state_of_escalation(root).map(|it| it.asked.clone()) else { return Ok(()) };
        if !asked.contains(print) {
            return Ok(());
        }
        if fires {
            return self.escalate(root, true);
        }
        if asked.iter().any(|print| self.state.confirming.contains(print)) {
            return Ok(());
        }
        let is_silenced = |print: &Fingerprint| self.state.alerts.get(print).is_some_and(|alert| alert.silenced);
        let firing = self.firing_of_family(root, ASKED + 1);
        if firing.is_empty() {
            // All of it is lost, or over: it rests by itself.
            return Ok(());
        }
        if firing.iter().all(is_silenced) {
            self.emit(Event::EscalationSilenced { incident: root })?;
            self.touched.insert(root);
            return self.post(
                root,
                "What fires of it is silenced in Alertmanager: nobody else is called until it is not.".into(),
            );
        }
        if self.comes_late(root) { Ok(()) } else { self.escalate(root, false) }
    }

    /// Calls the next level. `is_known`: what it is for fires, somebody said so just now.
    fn escalate(&mut self, root: IncidentId, is_known: bool) -> Decided {
        let late = self.comes_late(root);
        if late && !is_known {
            return self.ask_before_escalating(root, self.now + ASK_AGAIN);
        }
        let Some(incident) = self.state.incidents.get(&root) else { return Ok(()) };
        let Some(escalation) = &incident.escalation else { return Ok(()) };
        let levels = self.policy.levels(&incident.severity);
        let mut level = escalation.level as usize;
        let has_come = |level: &Level| escalation.since + level.after <= self.now;
        while late && levels.get(level + 1).is_some_and(has_come) {
            level += 1;
        }
        let Some(called) = levels.get(level).cloned() else {
            return self.emit(Event::EscalationEnded { incident: root });
        };
        // Each level has its own time, also after one that came late.
        let next_at = levels.get(level + 1).map(|next| {
            let planned = escalation.since + next.after;
            planned.max(self.now + (planned - (escalation.since + called.after)))
        });
        let waited = (self.now - escalation.since).rounded();
        let (to, nth, all) = (&called.to, level + 1, levels.len());
        let mut text = format!("Nobody has acknowledged it for {waited}: {to} is called (level {nth} of {all}).");
        if late {
            text += " nightshift was not running when that was due.";
        }
        if next_at.is_none() {
            text += " It is the last level.";
        }
        let number = u32::try_from(level).unwrap_or(u32::MAX);
        self.touched.insert(root);
        self.emit(Event::Escalated { incident: root, level: number, to: called.to.clone(), next_at })?;
        self.call(root, &called.to, text)
    }

    /// One line in the thread, shown in the channel: with a mention, or with a post of its own where somebody is a channel.
    fn call(&mut self, root: IncidentId, name: &str, text: String) -> Decided {
        match self.policy.reach(name) {
            Reach::Mention(id) => self.call_in_thread(root, text, vec![id.to_owned()]),
            Reach::Channel(channel) => {
                self.call_in_thread(root, text.clone(), Vec::new())?;
                self.call_in_channel(root, channel, text)
            }
            Reach::Nowhere => self.call_in_thread(root, text, Vec::new()),
        }
    }

    /// The level that the page itself calls, where it is a channel: it cannot be mentioned.
    pub(super) fn page_in_channel_of_level(&mut self, id: IncidentId, text: &str) -> Decided {
        let root = self.state.root_of(id);
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let first = self.policy.levels(&incident.severity).first().map(|level| level.to.as_str());
        match first.map(|name| self.policy.reach(name)) {
            Some(Reach::Channel(channel)) => self.call_in_channel(root, channel, text.to_owned()),
            Some(Reach::Mention(_) | Reach::Nowhere) | None => Ok(()),
        }
    }
}
