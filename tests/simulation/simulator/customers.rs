//! The status page as customers read it: what is written there lands, is refused, or lands unheard. What must never be read
//! there is judged by the committed entries and by the page itself.

use super::model::{Broken, Model, Moment, Shared, locked};
use nightshift::{
    action::Boxed,
    decide::state::DueLetter,
    engine::Clock,
    model::{
        event::Event,
        id::IncidentId,
        letter::{External, PublicStatus, Published, Receiver, Told},
        public::ComponentStatus,
        time::Span,
        view::IncidentView,
    },
    notify::{Notifier, Transient},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

type Key = (String, IncidentId);

#[derive(Default)]
pub struct Page {
    /// What customers read.
    shown: BTreeMap<Key, PublicStatus>,
    /// The last that was to be written there was refused for good: people were told to look.
    refused: BTreeSet<Key>,
    pub writes: u64,
    /// As the entries have it.
    due: BTreeMap<Key, PublicStatus>,
    members: BTreeMap<Key, BTreeSet<IncidentId>>,
    waits: BTreeSet<Key>,
}

/// An event of a committed entry, before the ledger follows it.
pub fn before_event(model: &mut Model, event: &Event) {
    match event {
        Event::StatusDue { component, incident, joined, status, waits, .. } => {
            let key = (component.clone(), *incident);
            let members = model.page.members.entry(key.clone()).or_default();
            members.extend(joined);
            let members = members.clone();
            may_be_read(model, &members, *status);
            let before = model.page.due.insert(key.clone(), *status);
            if before == Some(PublicStatus::Identified) && *status == PublicStatus::Investigating {
                model.breaks("customers never read less than before", format!("{key:?}"));
            }
            let is_other = |(other, due): (&Key, &PublicStatus)| {
                other.0 == *component && other.1 != *incident && *due != PublicStatus::Resolved
            };
            if *status != PublicStatus::Resolved && model.page.due.iter().any(is_other) {
                model.breaks("customers read of one incident a component", format!("{key:?}"));
            }
            if *waits {
                model.page.waits.insert(key);
            }
        }
        Event::StatusPublished { component, incident, .. } => {
            model.page.waits.remove(&(component.clone(), *incident));
        }
        _ => {}
    }
}

/// Nobody reads that it is better while an alert of it fires, or that it is over while an incident of it is not.
fn may_be_read(model: &mut Model, members: &BTreeSet<IncidentId>, status: PublicStatus) {
    let live = members.iter().filter(|id| model.ledger.incidents.get(id).is_some_and(|known| !known.resolved));
    let live: Vec<IncidentId> = live.copied().collect();
    let fires = |id: &&IncidentId| model.ledger.alerts_of(**id).any(|held| held.firing);
    let wrong = match status {
        PublicStatus::Investigating | PublicStatus::Identified => None,
        PublicStatus::Monitoring => live.iter().find(fires),
        PublicStatus::Resolved => live.first(),
    };
    if let Some(id) = wrong.copied() {
        model.breaks("I-42 customers are not told fixed what isn't", format!("incident {id}, {}", status.word()));
    }
}

/// At the end of a calm world.
pub fn judge(model: &mut Model) {
    let wrong = model
        .page
        .shown
        .iter()
        .find(|(key, shown)| **shown != PublicStatus::Resolved && !model.page.refused.contains(*key));
    if let Some((key, shown)) = wrong.map(|(key, shown)| (key.clone(), *shown)) {
        model.breaks("the status page shows what is", format!("{key:?} is {} for ever", shown.word()));
    }
}

/// The service, for one process.
pub struct Customers {
    pub shared: Shared,
    pub process: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Nothing,
    Refused,
    Done { lasts: Span, heard: bool },
}

impl Customers {
    fn fate(&self, within: Duration) -> Fate {
        let mut model = locked(&self.shared);
        if model.is_calm {
            return Fate::Done { lasts: Span::ZERO, heard: true };
        }
        if model.is_broken(Broken::SlackDown) {
            return Fate::Nothing;
        }
        let lasts = model.random.span(Span::ZERO, Span::seconds(4));
        let gives_up = Span(within.as_micros() as i64);
        match model.random.below(30) {
            0..=2 => Fate::Nothing,
            3..=5 => Fate::Done { lasts: gives_up, heard: false },
            6 if model.random.chance(40) => Fate::Refused,
            7..=12 => Fate::Done { lasts, heard: true },
            _ => Fate::Done { lasts: Span::ZERO, heard: true },
        }
    }

    /// What it leaves there. None: customers read nothing of it, and it is over.
    fn lands(&self, key: &Key, letter: &DueLetter, status: PublicStatus) -> Option<Published> {
        let mut model = locked(&self.shared);
        if model.page.waits.contains(key) {
            model.breaks("nothing goes out before somebody says so", format!("{key:?}"));
        }
        // The page is looked at first: what an earlier try or process left there is found.
        let is_there = model.page.shown.contains_key(key);
        if letter.external.is_some() && !is_there {
            model.breaks("what was told is there", format!("{key:?}"));
        }
        if !is_there && status == PublicStatus::Resolved {
            return None;
        }
        let other = model.page.shown.iter().find(|(other, shown)| {
            other.0 == key.0
                && *other != key
                && **shown != PublicStatus::Resolved
                && !model.page.refused.contains(*other)
        });
        if let Some(other) = other.map(|(other, _)| other.clone()) {
            model.breaks("customers read of one incident a component", format!("{key:?} beside {other:?}"));
        }
        model.page.writes += 1;
        model.page.refused.remove(key);
        model.page.shown.insert(key.clone(), status);
        let over = status == PublicStatus::Resolved;
        Some(Published {
            status_incident: format!("{}-{}", key.0, key.1),
            status,
            component: Some(if over { ComponentStatus::Operational } else { ComponentStatus::PartialOutage }),
            left_alone: Vec::new(),
        })
    }

    async fn wait(&self, span: Span) {
        if span > Span::ZERO {
            let clock = locked(&self.shared).clock.clone();
            clock.sleep_until(clock.now() + span).await;
        }
        if !locked(&self.shared).is_alive(self.process) {
            std::future::pending::<()>().await;
        }
    }
}

impl Notifier for Customers {
    fn send<'a>(
        &'a self,
        letter: &'a DueLetter,
        view: &'a IncidentView,
        within: Duration,
    ) -> Boxed<'a, Result<Told, Transient>> {
        Box::pin(async move {
            let Receiver::Statuspage { component } = &letter.key.receiver else {
                return Ok(Told::Failed { reason: "not_for_statuspage".to_owned() });
            };
            let key = (component.clone(), letter.key.incident);
            let Some(public) = &view.public else {
                locked(&self.shared).breaks("what is owed can be said", format!("{key:?}"));
                return Ok(Told::Failed { reason: "nothing".to_owned() });
            };
            locked(&self.shared).moment(Moment::Sending);
            self.wait(Span::ZERO).await;
            match self.fate(within) {
                Fate::Nothing => Err(Transient { reason: "status_5xx", retry_after: None }),
                Fate::Refused => {
                    locked(&self.shared).page.refused.insert(key);
                    Ok(Told::Failed { reason: "refused".to_owned() })
                }
                Fate::Done { lasts, heard } => {
                    let published = self.lands(&key, letter, public.status);
                    // A kill strikes here: done, and recorded by nobody.
                    locked(&self.shared).moment(Moment::Sending);
                    self.wait(lasts).await;
                    match heard {
                        true => Ok(Told::Sent { external: published.map(External::Published) }),
                        false => Err(Transient { reason: "timeout", retry_after: None }),
                    }
                }
            }
        })
    }
}
