//! When PagerDuty is told, and what: a page is triggered, acknowledged with its incident, resolved when its group is over.
//!
//! Its key is the one that Alertmanager uses for the pages of that group, so that a page that Alertmanager sends later
//! joins ours. What PagerDuty told us of by itself is not triggered once more.

use super::{
    Decided, Decider,
    pages::Page,
    state::{Held, Incident, IncidentPhase},
};
use crate::model::{
    alert::Source,
    event::Event,
    id::IncidentId,
    input::Input,
    letter::{LetterKey, Note, PageState, Receiver, Slot},
    page::{DedupKey, dedup_key},
};
use std::collections::BTreeSet;

/// The label of an alert whose page Alertmanager holds back.
pub const HOLD_LABEL: &str = "nightshift_hold";

impl Decider<'_> {
    /// People are woken through PagerDuty, too, where it is configured.
    pub(super) fn page_in_pagerduty(&mut self, id: IncidentId, why: &str) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let Some(service) = self.policy.spec.pagerduty.service(&incident.severity).map(str::to_owned) else {
            return Ok(());
        };
        if self.came_from_pagerduty(incident) {
            return Ok(());
        }
        let group = self.group_to_page(incident);
        let dedup_key = group.unwrap_or_else(|| self.own_key(id));
        // Triggered again under a key that somebody has acknowledged, it would wake nobody.
        let is_taken = |(_, page): (_, &Page)| {
            page.dedup_key == dedup_key && page.service == service && page.wants == PageState::Acknowledged
        };
        let number = self.state.last_page + 1;
        if self.state.pages.iter().any(is_taken) {
            let dedup_key = crate::model::page::dedup_key(&format!("{dedup_key} {number}"));
            return self.owe_to_pagerduty(id, number, service, dedup_key, group, why);
        }
        let is_same = |page: &Page| page.dedup_key == dedup_key && page.service == service && page.ours;
        let same = self.state.pages_of(id).find(|(_, page)| is_same(page)).map(|(same, _)| same);
        let number = same.unwrap_or(number);
        self.owe_to_pagerduty(id, number, service, dedup_key, group, why)
    }

    fn owe_to_pagerduty(
        &mut self,
        incident: IncidentId,
        page: u32,
        service: String,
        dedup_key: DedupKey,
        group: Option<DedupKey>,
        why: &str,
    ) -> Decided {
        let receiver = Receiver::PagerDuty { service: service.clone() };
        let letter = LetterKey { receiver, incident, slot: Slot::Page(page) };
        let why = why.to_owned();
        self.emit(Event::PageOwed { incident, page, service, dedup_key, group, ours: true, why })?;
        self.emit(Event::Tell { letter, note: None })
    }

    /// nightshift's own trouble, under one key: more of it joins what nobody has closed yet. It is left to people.
    pub(super) fn page_itself_in_pagerduty(&mut self, note: &Note) -> Decided {
        let worst = self.policy.spec.severities.first().map_or("", |worst| worst.name.as_str());
        let Some(service) = self.policy.spec.pagerduty.service(worst).map(str::to_owned) else { return Ok(()) };
        let (incident, page) = (IncidentId::ITSELF, self.state.last_page + 1);
        let receiver = Receiver::PagerDuty { service: service.clone() };
        let letter = LetterKey { receiver, incident, slot: Slot::Page(page) };
        let (dedup_key, why) = (self.own_key(incident), note.text.clone());
        self.emit(Event::PageOwed { incident, page, service, dedup_key, group: None, ours: true, why })?;
        self.emit(Event::Tell { letter, note: None })
    }

    /// For what has no group: the same for as long as this journal lives, and no other journal's.
    fn own_key(&self, id: IncidentId) -> DedupKey {
        dedup_key(&format!("nightshift {} {id}", self.state.identity))
    }

    /// An alert of it is PagerDuty's own: it has woken people already.
    fn came_from_pagerduty(&self, incident: &Incident) -> bool {
        let alerts = incident.alerts.iter().filter_map(|print| self.state.alerts.get(print));
        alerts.into_iter().any(|alert| alert.source == Source::PagerDuty && alert.held == Held::Firing)
    }

    /// Whose page is triggered: of an alert that Alertmanager holds back before others, then of the oldest.
    fn group_to_page(&self, incident: &Incident) -> Option<DedupKey> {
        let alerts = incident.alerts.iter().filter_map(|print| self.state.alerts.get(print));
        let firing = alerts.filter(|alert| alert.held == Held::Firing && alert.group.is_some());
        firing.min_by_key(|alert| (alert.labels.get(HOLD_LABEL) != Some("true"), alert.starts_at))?.group
    }

    /// Every page whose incident or group this input touched is told anew how it is to be. Where one is over and its
    /// incident still fires in another group, and nobody has it, that group's page is triggered.
    pub(super) fn owe_pages(&mut self) -> Decided {
        let group = match self.input {
            Input::Alert(alert) if !alert.group_key.is_empty() => Some(dedup_key(&alert.group_key)),
            _ => None,
        };
        let is_touched =
            |(id, page): &(IncidentId, &Page)| self.touched.contains(id) || group.is_some() && page.group == group;
        let open = self.state.pages.iter().filter(|(_, page)| page.is_open());
        let open = open.filter(|((id, _), page)| *id != IncidentId::ITSELF && is_touched(&(*id, page)));
        let changed: Vec<(IncidentId, u32, PageState, LetterKey)> = open
            .filter_map(|((id, number), page)| {
                let wants = self.wanted(*id, page);
                (wants != page.wants).then(|| (*id, *number, wants, page.letter(*id, *number)))
            })
            .collect();
        let mut over = BTreeSet::new();
        for (incident, page, state, letter) in changed {
            self.emit(Event::PageWanted { incident, page, state })?;
            self.emit(Event::Tell { letter, note: None })?;
            if state == PageState::Resolved {
                over.insert(incident);
            }
        }
        for id in over {
            if self.is_paged_and_nobody_has_it(id) {
                self.page_in_pagerduty(id, "what it was paged for is over, and other alerts of it still fire")?;
            }
        }
        Ok(())
    }

    /// How an open page is to be. It only goes forward: nothing takes an acknowledge back.
    fn wanted(&self, id: IncidentId, page: &Page) -> PageState {
        let Some(incident) = self.state.incidents.get(&id) else { return PageState::Resolved };
        if incident.resolved_by.is_some() || !self.still_fires(incident, page) {
            PageState::Resolved
        } else if incident.acknowledged_by.is_some() {
            PageState::Acknowledged
        } else {
            page.wants
        }
    }

    /// Something of the page's group fires, or nobody knows whether it does: a lost alert is not over.
    fn still_fires(&self, incident: &Incident, page: &Page) -> bool {
        if page.group.is_none() {
            return incident.phase == IncidentPhase::Open;
        }
        let fires = |alert: &super::state::AlertState| alert.group == page.group && alert.held != Held::Resolved;
        let mut own = incident.alerts.iter().filter_map(|print| self.state.alerts.get(print));
        own.any(fires) || self.state.alerts.values().any(fires)
    }

    fn is_paged_and_nobody_has_it(&self, id: IncidentId) -> bool {
        let is_open = self.state.pages_of(id).any(|(_, page)| page.is_open());
        !is_open
            && self.state.incidents.get(&id).is_some_and(|incident| {
                let fires = incident.phase == IncidentPhase::Open && incident.firing > 0;
                fires && incident.pages > 0 && incident.acknowledged_by.is_none()
            })
    }

    /// PagerDuty will never take this page as it is: people are woken where they still can be.
    pub(super) fn page_was_refused(&mut self, letter: &LetterKey, reason: &str) -> Decided {
        let Slot::Page(number) = letter.slot else { return Ok(()) };
        let wants = self.state.pages.get(&(letter.incident, number)).map(|page| page.wants);
        let lost = match wants {
            None | Some(PageState::Triggered) => {
                let text = format!("PagerDuty did not take the page ({reason}): nobody was woken through it.");
                return self.page_in_slack(letter.incident, text);
            }
            Some(PageState::Acknowledged) => "that somebody has it",
            Some(PageState::Resolved) => "that it is over",
        };
        self.post(letter.incident, format!("PagerDuty did not take {lost} ({reason}): it goes on paging there."))
    }
}
