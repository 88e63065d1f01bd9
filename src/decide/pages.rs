//! Pages in PagerDuty, as the state keeps them: each under its key, and how it is to be.
//!
//! What the state wants is compared with what PagerDuty was last told by the notifier, when the letter is sent: so
//! nothing has to be sent in the order in which it was wished for. When one is wanted is told in [`super::paging`].

use super::{
    State,
    apply::illegal,
    state::{Illegal, IncidentPhase},
};
use crate::model::{
    event::Event,
    id::IncidentId,
    letter::{External, LetterKey, PageState, Receiver, Slot},
    page::DedupKey,
    time::Micros,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One page of one incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    pub service: String,
    pub dedup_key: DedupKey,
    /// It is over once nothing of this group fires. None: once nothing of the incident does.
    pub group: Option<DedupKey>,
    /// We triggered it. Else it is only acknowledged.
    pub ours: bool,
    /// Nothing fired when it was sent: it is over once its incident is resolved.
    pub rests: bool,
    /// Its incident was over when it was sent: something went wrong since, and that is over when people say so.
    pub since_the_end: bool,
    pub wants: PageState,
    pub at: Micros,
    pub why: String,
}

/// How a page is to be, when its letter is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageWish {
    pub dedup_key: DedupKey,
    /// None: a later page has the same key, and says how it is to be.
    pub wants: Option<PageState>,
    pub ours: bool,
    /// When people were woken, and why.
    pub at: Micros,
    pub why: String,
}

impl Page {
    pub fn letter(&self, incident: IncidentId, number: u32) -> LetterKey {
        let receiver = Receiver::PagerDuty { service: self.service.clone() };
        LetterKey { receiver, incident, slot: Slot::Page(number) }
    }

    /// People are to see it in PagerDuty.
    pub fn is_open(&self) -> bool {
        self.wants != PageState::Resolved
    }
}

impl State {
    /// The pages of an incident, by number.
    pub(super) fn pages_of(&self, id: IncidentId) -> impl Iterator<Item = (u32, &Page)> {
        self.pages.range((id, 0)..=(id, u32::MAX)).map(|((_, number), page)| (*number, page))
    }

    /// The keys under which PagerDuty may have an incident: of its pages, and of what was joined.
    pub(super) fn page_keys(&self, id: IncidentId) -> Vec<DedupKey> {
        let own = self.pages_of(id).map(|(_, page)| page.dedup_key);
        let keys: BTreeSet<DedupKey> = own.chain(self.peers.keys_of(id)).collect();
        keys.into_iter().collect()
    }

    pub(super) fn page_wish(&self, key: &LetterKey) -> Option<PageWish> {
        let Slot::Page(number) = key.slot else { return None };
        let page = self.pages.get(&(key.incident, number))?;
        // Numbers count up over all incidents.
        let is_newer = |(other, later): (&(IncidentId, u32), &Page)| {
            other.1 > number && later.dedup_key == page.dedup_key && later.service == page.service
        };
        let superseded = self.pages.iter().any(is_newer);
        Some(PageWish {
            dedup_key: page.dedup_key,
            wants: (!superseded).then_some(page.wants),
            ours: page.ours,
            at: page.at,
            why: page.why.clone(),
        })
    }

    /// PagerDuty said that a page is over that we want open, and have told it of.
    pub(super) fn is_closed_there(&self, key: &LetterKey) -> bool {
        self.letters.get(key).is_some_and(|letter| {
            let state = letter.external.as_ref().and_then(External::paged).map(|paged| paged.page);
            letter.told >= letter.want && state == Some(PageState::Resolved)
        })
    }

    pub(super) fn page_owed(&mut self, at: Micros, event: &Event) {
        let Event::PageOwed { incident, page: number, service, dedup_key, group, ours, rests, why } = event else {
            return;
        };
        self.last_page = self.last_page.max(*number);
        let since_the_end = self.incidents.get(incident).is_some_and(|it| it.phase == IncidentPhase::Resolved);
        let page = Page {
            service: service.clone(),
            dedup_key: *dedup_key,
            group: *group,
            ours: *ours,
            rests: *rests,
            since_the_end,
            wants: if *ours { PageState::Triggered } else { PageState::Acknowledged },
            at,
            why: why.clone(),
        };
        // What PagerDuty was told before says nothing of this time.
        if let Some(letter) = self.letters.get_mut(&page.letter(*incident, *number)).filter(|_| *ours) {
            letter.external = None;
        }
        self.pages.insert((*incident, *number), page);
    }

    pub(super) fn page_wanted(
        &mut self,
        incident: IncidentId,
        number: u32,
        state: PageState,
        event: &Event,
    ) -> Result<(), Illegal> {
        let page = self.pages.get_mut(&(incident, number)).ok_or_else(|| illegal(event, "no such page"))?;
        page.wants = state;
        Ok(())
    }

    /// nightshift's own trouble: once PagerDuty has it, it is people's. What is the page of a group stays until that is over.
    pub(super) fn page_told(&mut self, key: &LetterKey) {
        if let Slot::Page(number) = key.slot
            && key.incident == IncidentId::ITSELF
            && self.pages.get(&(key.incident, number)).is_none_or(|page| page.group.is_none() || !page.is_open())
        {
            self.pages.remove(&(key.incident, number));
            self.letters.remove(key);
        }
    }
}
