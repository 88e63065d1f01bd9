//! Whom nightshift may call, from the committed events alone: nobody early, nobody twice, nobody for what somebody has or
//! what is over; and whose incident speaks in whose thread.

use nightshift::{
    decide::{Policy, brake},
    model::{
        event::Event,
        freeze::Window,
        id::IncidentId,
        letter::{LetterKey, Slot},
        time::{Micros, Span},
    },
};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Callings {
    incidents: BTreeMap<IncidentId, Known>,
    /// Freezes that people were told to be on.
    freezes: BTreeMap<String, bool>,
}

struct Known {
    rule: String,
    opened_at: Micros,
    service: Option<String>,
    parent: Option<IncidentId>,
    severity: String,
    had: bool,
    over: bool,
    /// Since when the levels count, and the last that was called.
    escalation: Option<(Micros, u32)>,
    updated_at: Option<Micros>,
}

/// Which promise an event breaks, and how.
pub type Broken = (&'static str, String);

impl Callings {
    /// `fires`: an alert of the incident fires.
    pub fn judge(
        &self,
        at: Micros,
        event: &Event,
        policy: &Policy,
        fires: &dyn Fn(IncidentId) -> bool,
    ) -> Option<Broken> {
        let broken = |promise, says: String| Some((promise, says));
        match event {
            Event::Escalated { incident, level, to, .. } => {
                let known = self.incidents.get(incident)?;
                let promise = "a level is called in time, once, while nobody has it";
                let Some((since, last)) = known.escalation else {
                    return broken(promise, format!("incident {incident} was not paged"));
                };
                let family = self.incidents.iter().filter(|(id, it)| *id == incident || it.parent == Some(*incident));
                let fires = known.rule == brake::RULE || family.into_iter().any(|(id, it)| !it.over && fires(*id));
                let planned = policy.levels(&known.severity).get(*level as usize);
                let says = if known.had || known.over || known.parent.is_some() {
                    "somebody has it, or it is over, or it is a child"
                } else if !fires {
                    "nothing of it fires"
                } else if *level <= last {
                    "that level was called"
                } else if planned.is_none_or(|planned| planned.to != *to || since + planned.after > at) {
                    "it is early, or not in the rules"
                } else {
                    return None;
                };
                broken(promise, format!("incident {incident}, level {level}: {says}"))
            }
            Event::IncidentOpened { incident, service, parent: Some(parent), .. } => {
                let known = self.incidents.get(parent);
                let fits = known.is_some_and(|known| {
                    !known.over
                        && known.parent.is_none()
                        && known.service == *service
                        && service.is_some()
                        && known.opened_at + Span::minutes(10) >= at
                });
                if fits { None } else { broken("a child is of its service, and soon", format!("incident {incident}")) }
            }
            Event::IncidentResolved { incident, .. } => {
                let open = |it: &Known| it.parent == Some(*incident) && !it.over;
                let has_open = self.incidents.values().any(open);
                if has_open { broken("a parent waits for its children", format!("incident {incident}")) } else { None }
            }
            Event::Tell { letter: LetterKey { incident, slot: Slot::Card | Slot::Post(_), receiver }, .. } => {
                let is_child = self.incidents.get(incident).is_some_and(|known| known.parent.is_some());
                let is_security = receiver.to_string() == "slack:#security";
                if is_child && !is_security {
                    broken("a child speaks in its parent's thread", format!("incident {incident}"))
                } else {
                    None
                }
            }
            Event::UpdateDue { incident, .. } => {
                let known = self.incidents.get(incident)?;
                let every = policy.update_every(&known.severity).min(Span::minutes(1));
                let early = known.updated_at.is_some_and(|before| before + every > at);
                if early || known.over {
                    broken("updates have their time", format!("incident {incident}"))
                } else {
                    None
                }
            }
            Event::FreezeWatched { name, on, .. } => {
                let freeze = policy.freeze(name)?;
                let holds = match &freeze.window {
                    Window::Dates { from, to } => *from <= at && at < *to,
                    Window::Weekly { .. } => return None,
                };
                if holds == *on { None } else { broken("a freeze is said when it is", name.clone()) }
            }
            _ => None,
        }
    }

    pub fn follow(&mut self, at: Micros, event: &Event) {
        match event {
            Event::IncidentOpened { incident, rule, service, parent, severity, .. } => {
                let known = Known {
                    rule: rule.clone(),
                    opened_at: at,
                    service: service.clone(),
                    parent: *parent,
                    severity: severity.clone(),
                    had: false,
                    over: false,
                    escalation: None,
                    updated_at: None,
                };
                self.incidents.insert(*incident, known);
            }
            Event::FreezeWatched { name, on, .. } => {
                self.freezes.insert(name.clone(), *on);
            }
            Event::SeverityChanged { incident, .. }
            | Event::IncidentAcknowledged { incident, .. }
            | Event::AcknowledgeVoided { incident }
            | Event::IncidentResolved { incident, .. }
            | Event::EscalationBegan { incident, .. }
            | Event::Escalated { incident, .. }
            | Event::UpdateDue { incident, .. } => {
                let Some(known) = self.incidents.get_mut(incident) else { return };
                match event {
                    Event::SeverityChanged { severity, .. } => known.severity.clone_from(severity),
                    Event::IncidentAcknowledged { .. } => known.had = true,
                    Event::AcknowledgeVoided { .. } => known.had = false,
                    Event::IncidentResolved { .. } => known.over = true,
                    Event::EscalationBegan { .. } => known.escalation = Some((at, 0)),
                    Event::Escalated { level, .. } => {
                        known.escalation = known.escalation.map(|(since, _)| (since, *level));
                    }
                    _ => known.updated_at = Some(at),
                }
            }
            _ => {}
        }
    }
}
