//! Pages that may wait, judged from the committed entries alone: who asked, whether anything is being done about it, who was
//! woken, and when at the latest.

use super::{ledger::Ledger, model::Model};
use nightshift::model::{
    alert::{Status, asks_to_hold},
    event::{Event, LadderEnd, Spared},
    id::{IncidentId, StepId},
    input::Input,
    mode::Mode,
    reason::Reason,
    step::{Answer, Phase},
    time::{Micros, Span},
};
use std::collections::{BTreeMap, BTreeSet};

/// An incident that is seen without its page after the hold is over has it in the next moment.
const NEXT_MOMENT: Span = Span::seconds(2);

#[derive(Default)]
pub struct Held {
    /// Alerts that ask, and are not over: since when each fires, as far as anybody could know.
    asking: BTreeMap<String, Micros>,
    /// Fired again with the same start.
    doubtful: BTreeSet<String>,
    /// What a step waits for.
    waits: BTreeMap<StepId, Reason>,
    incidents: BTreeMap<IncidentId, Page>,
}

#[derive(Default)]
struct Page {
    held: bool,
    /// People were woken since it began to fire.
    out: bool,
    acknowledged: bool,
    ended: Option<LadderEnd>,
    /// The earliest of those that asked since then.
    asked_at: Option<Micros>,
    /// It was seen without its page then, and too late.
    late_since: Option<Micros>,
}

impl Held {
    pub fn follow(&mut self, at: Micros, input: &Input, event: &Event) {
        match (event, input) {
            (Event::AlertFired { doubtful, .. }, Input::Alert(alert)) if asks_to_hold(&alert.labels) => {
                let print = alert.fingerprint.to_string();
                self.asking.insert(print.clone(), alert.starts_at.min(at));
                if *doubtful {
                    self.doubtful.insert(print);
                } else {
                    self.doubtful.remove(&print);
                }
            }
            (Event::AlertResolved { .. }, Input::Alert(alert)) if alert.status == Status::Resolved => {
                self.asking.remove(&alert.fingerprint.to_string());
            }
            (Event::AlertForgotten { fingerprint }, _) => {
                self.asking.remove(&fingerprint.to_string());
            }
            (Event::StepHeld { step, reason, .. }, _) => {
                self.waits.insert(*step, reason.clone());
            }
            _ => {}
        }
        let Some(page) = event.incident().map(|id| self.incidents.entry(id).or_default()) else { return };
        match event {
            Event::IncidentReopened { .. } if !page.held => (page.out, page.asked_at) = (false, None),
            Event::IncidentAcknowledged { .. } => page.acknowledged = true,
            Event::AcknowledgeVoided { .. } => page.acknowledged = false,
            Event::LadderBegan { .. } => page.ended = None,
            Event::LadderEnded { how, .. } => page.ended = Some(how.clone()),
            Event::PageHeld { .. } => page.held = true,
            Event::PageReleased { .. } => (page.held, page.out) = (false, true),
            Event::PageSpared { how, .. } => {
                page.held = false;
                page.out |= matches!(how, Spared::Storm { .. });
                page.asked_at = None;
            }
            _ => {}
        }
    }

    fn asking_of<'a>(&'a self, ledger: &'a Ledger, id: IncidentId) -> impl Iterator<Item = (&'a str, Micros)> {
        let asking = self.asking.iter().map(|(print, at)| (print.as_str(), *at));
        asking.filter(move |(print, _)| ledger.alerts.get(*print).is_some_and(|held| held.incident == Some(id)))
    }

    /// Why nothing that a page could wait for is going on. None: it is.
    fn idle(&self, ledger: &Ledger, at: Micros, id: IncidentId) -> Option<&'static str> {
        let policy = ledger.policy.as_ref()?;
        let rule = ledger.incidents.get(&id).and_then(|incident| policy.rule(&incident.rule));
        let Some(hold) = rule.and_then(|rule| rule.hold_page) else { return Some("its rule holds no page") };
        let severity = ledger.restraints.severity(id).and_then(|name| policy.severity(name));
        let within = severity.and_then(|(_, severity)| severity.respond_within);
        if within.is_none_or(|within| within.at_least() < hold) {
            return Some("people answer sooner than that");
        }
        if self.asking_of(ledger, id).any(|(print, _)| self.doubtful.contains(print)) {
            return Some("it fired again with the same start");
        }
        let range = StepId { incident: id, number: 0 }..=StepId { incident: id, number: u32::MAX };
        let mut fixes =
            ledger.steps.range(range).filter(|(_, step)| step.purpose.is_fix() && !step.phase.is_terminal());
        let Some((step, fix)) = fixes.next() else { return Some("no step of it lives") };
        if fix.rung.mode != Mode::Auto {
            return Some("it does not act by itself");
        }
        match fix.phase {
            Phase::Acting | Phase::ReadBack | Phase::Verifying => None,
            _ if ledger.paused => Some("it is paused"),
            _ if at < ledger.settles_until => Some("it settles"),
            Phase::Observing => None,
            Phase::Holding if matches!(self.waits.get(step), Some(Reason::TooYoung { .. })) => None,
            _ => Some("it waits for something else than its age"),
        }
    }
}

/// After all events of an entry.
pub fn after_entry(model: &mut Model, at: Micros, input: &Input, events: &[Event]) {
    let Model { ledger, .. } = &mut *model;
    let mut pages = std::mem::take(&mut ledger.held_pages);
    let mut broken: Vec<(&'static str, String)> = Vec::new();
    let concerned: BTreeSet<IncidentId> = ledger
        .incidents
        .keys()
        .copied()
        .filter(|id| {
            pages.incidents.get(id).is_some_and(|page| page.held) || pages.asking_of(ledger, *id).next().is_some()
        })
        .collect();
    for id in concerned {
        let earliest = pages.asking_of(ledger, id).map(|(_, at)| at).min();
        let known = &ledger.incidents[&id];
        let fires = ledger.alerts_of(id).any(|held| held.firing || held.lost);
        let idle = pages.idle(ledger, at, id);
        let page = pages.incidents.entry(id).or_default();
        page.asked_at = page.asked_at.into_iter().chain(earliest).min();
        let silenced = matches!(page.ended, Some(LadderEnd::HandedOver { reason: Reason::Silenced { .. } }));
        if page.out || page.acknowledged || known.resolved || silenced {
            if page.held {
                broken.push(("a page is held only while it may be sent", format!("incident {id}")));
            }
            page.late_since = None;
            continue;
        }
        let failed = events.iter().any(|event| match event {
            Event::StepVerified { step, answer } => {
                step.incident == id
                    && *answer != Answer::Helped
                    && ledger.steps.get(step).is_some_and(|it| it.purpose.is_fix())
            }
            _ => false,
        });
        if failed {
            broken.push(("what did not help wakes people", format!("incident {id}")));
        } else if let Some(why) = idle {
            let says = if fires { "it fires" } else { "it is held" };
            broken.push(("a page waits only for what goes on", format!("incident {id}: {says}, and {why}")));
        }
        let hold = ledger.policy.as_ref().and_then(|policy| policy.rule(&known.rule)).and_then(|rule| rule.hold_page);
        let due = page.asked_at.zip(hold).map(|(asked_at, hold)| asked_at + hold);
        match (due.filter(|due| *due < at), page.late_since) {
            (Some(due), Some(since)) if since + NEXT_MOMENT < at => {
                broken.push(("a held page is never late", format!("incident {id}: due {}", due.rfc3339_seconds())));
            }
            (Some(_), None) => page.late_since = Some(at),
            (Some(_), Some(_)) => {}
            (None, _) => page.late_since = None,
        }
    }
    let paged_itself = |event: &Event| matches!(event, Event::PageReleased { incident: IncidentId::ITSELF, .. });
    for event in events {
        match (event, input) {
            (Event::AlertFired { rule: None, .. }, Input::Alert(alert)) => {
                let print = alert.fingerprint.to_string();
                let joined = ledger.alerts.get(&print).is_some_and(|held| held.incident.is_some());
                if asks_to_hold(&alert.labels) && !joined && !events.iter().any(paged_itself) {
                    broken.push(("what no rule takes waits for nothing", print));
                }
            }
            (Event::PageSpared { incident, how }, _) => {
                let ended = pages.incidents.get(incident).and_then(|page| page.ended.as_ref());
                let fires = ledger.alerts_of(*incident).any(|held| held.firing || held.lost);
                let right = match how {
                    Spared::Helped => !fires && ended == Some(&LadderEnd::Helped),
                    Spared::Resolved => !fires,
                    _ => true,
                };
                if !right {
                    broken.push(("nobody is told fixed who isn't", format!("incident {incident}: {how:?}")));
                }
            }
            _ => {}
        }
    }
    ledger.held_pages = pages;
    for (promise, says) in broken {
        model.breaks(promise, says);
    }
}
