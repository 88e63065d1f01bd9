//! PagerDuty in the model world: pages by key, as they were last told. It is away while Slack limits, so that the two
//! receivers fail apart from each other.

use super::{
    model::{Broken, Model, Moment, locked},
    world::ModelWorld,
};
use nightshift::{
    decide::state::DueLetter,
    model::{
        event::Event,
        id::IncidentId,
        letter::{External, PageState, Paged, Told},
        time::{Micros, Span},
    },
    notify::{
        Transient,
        pagerduty::{Call, next},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

#[derive(Default)]
pub struct PagerDuty {
    /// Whether each key is open, and when it was last told anything.
    pages: BTreeMap<String, (bool, Micros)>,
}

/// What the journal says of pages.
#[derive(Default)]
pub struct Pages {
    /// Keys that were owed a trigger, nightshift's own left out: when last.
    owed: BTreeMap<String, Micros>,
    /// Incidents that have woken people, and not through PagerDuty.
    elsewhere: BTreeSet<IncidentId>,
    over: BTreeSet<IncidentId>,
    /// Keys that were owed a trigger of what is over: people close them.
    left_to_people: BTreeSet<String>,
}

impl Pages {
    pub fn follow(&mut self, at: Micros, event: &Event) {
        match event {
            Event::PageReleased { incident, .. } if *incident != IncidentId::ITSELF => {
                self.elsewhere.insert(*incident);
            }
            Event::PageOwed { incident, dedup_key, ours: true, .. } if *incident != IncidentId::ITSELF => {
                self.elsewhere.remove(incident);
                self.owed.insert(dedup_key.to_string(), at);
                if self.over.contains(incident) {
                    self.left_to_people.insert(dedup_key.to_string());
                } else {
                    self.left_to_people.remove(&dedup_key.to_string());
                }
            }
            Event::IncidentResolved { incident, .. } => {
                self.over.insert(*incident);
            }
            Event::IncidentReopened { incident } => {
                self.over.remove(incident);
            }
            _ => {}
        }
    }
}

impl PagerDuty {
    fn takes(&mut self, key: &str, call: Call, at: Micros) {
        let known = self.pages.get(key).is_some_and(|(open, _)| *open);
        let open = match call {
            Call::Trigger => true,
            // What is not open is dropped without a word.
            Call::Acknowledge => known,
            Call::Resolve => false,
        };
        self.pages.insert(key.to_owned(), (open, at));
    }
}

/// One letter, as the notifier sends it: perhaps in two calls, perhaps with a lost answer.
pub async fn send(world: &ModelWorld, letter: &DueLetter, within: Duration) -> Result<Told, Transient> {
    let failed = |reason| Err(Transient { reason, retry_after: None });
    let Some(page) = &letter.page else { return Ok(Told::Sent { external: None }) };
    let Some(wants) = page.wants else { return Ok(Told::Sent { external: None }) };
    let told = letter.external.as_ref().and_then(External::paged).map(|paged| paged.page);
    let mut last = if wants == PageState::Triggered { None } else { told };
    let key = page.dedup_key.to_string();
    while let Some(call) = next(wants, page.ours, last) {
        locked(&world.shared).moment(Moment::Sending);
        world.wait(Span::ZERO).await;
        let (down, loses) = {
            let mut model = locked(&world.shared);
            let loses = !model.is_calm && model.random.chance(5);
            (model.is_broken(Broken::SlackLimits), loses)
        };
        if down {
            world.wait(Span(within.as_micros() as i64)).await;
            return failed("unreachable");
        }
        {
            let mut model = locked(&world.shared);
            let at = model.now();
            model.pagerduty.takes(&key, call, at);
        }
        // The process may die here, with PagerDuty told and the journal not.
        locked(&world.shared).moment(Moment::Sending);
        world.wait(Span::ZERO).await;
        if loses {
            return failed("timeout");
        }
        last = Some(match call {
            Call::Trigger => PageState::Triggered,
            Call::Acknowledge => PageState::Acknowledged,
            Call::Resolve => PageState::Resolved,
        });
    }
    Ok(Told::Sent { external: last.map(|page| External::Paged(Paged { dedup_key: key, page })) })
}

/// At the end, when nothing fires and everything owed was sent.
pub fn judge(model: &mut Model) {
    if let Some(incident) = model.ledger.pages.elsewhere.first() {
        let says = format!("people were woken for incident {incident}, and PagerDuty was not told");
        model.breaks("I-30 a page reaches PagerDuty", says);
    }
    let owed = model.ledger.pages.owed.clone();
    for (key, at) in owed {
        match model.pagerduty.pages.get(&key).copied() {
            Some((false, told_at)) if told_at >= at => {}
            Some((true, told_at)) if told_at >= at && model.ledger.pages.left_to_people.contains(&key) => {}
            Some((true, _)) => model.breaks("I-42 what is over is closed", format!("{key} is open in PagerDuty")),
            _ => model.breaks("I-30 a page reaches PagerDuty", format!("{key} was never told")),
        }
    }
}
