//! When PagerDuty is told, and what: a page is triggered, acknowledged with its incident, resolved when its group is over.
//!
//! Its key is the one that Alertmanager uses for the pages of that group, so that a page that Alertmanager sends later
//! joins ours. What PagerDuty told us of by itself is not triggered once more.

use super::{
    Decided, Decider,
    pages::Page,
    state::{AlertState, Held, Incident, IncidentPhase},
};
use crate::model::{
    alert::{Alert, Source},
    event::Event,
    id::IncidentId,
    input::Input,
    letter::{LetterKey, Note, PageState, Receiver, Slot},
    page::{DedupKey, dedup_key},
};
use std::collections::BTreeSet;

/// A page, as it is to be triggered.
struct Ring {
    service: String,
    dedup_key: DedupKey,
    group: Option<DedupKey>,
    rests: bool,
}

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
        let rests = incident.firing == 0;
        let dedup_key = group.unwrap_or_else(|| self.own_key(id));
        // Triggered again under a key that somebody has acknowledged, it would wake nobody.
        let is_taken = |(_, page): (_, &Page)| {
            page.dedup_key == dedup_key && page.service == service && page.wants == PageState::Acknowledged
        };
        let number = self.state.last_page + 1;
        if self.state.pages.iter().any(is_taken) {
            let dedup_key = crate::model::page::dedup_key(&format!("{dedup_key} {number}"));
            return self.owe_to_pagerduty(id, number, Ring { service, dedup_key, group, rests }, why);
        }
        let is_same = |page: &Page| page.dedup_key == dedup_key && page.service == service && page.ours;
        let same = self.state.pages_of(id).find(|(_, page)| is_same(page)).map(|(same, _)| same);
        let number = same.unwrap_or(number);
        self.owe_to_pagerduty(id, number, Ring { service, dedup_key, group, rests }, why)
    }

    /// For an alert that no incident has, under the key of its group; resolved with it.
    pub(super) fn page_group_in_pagerduty(&mut self, alert: &Alert, severity: &str, why: &str) -> Decided {
        let Some(service) = self.policy.spec.pagerduty.service(severity).map(str::to_owned) else { return Ok(()) };
        let id = IncidentId::ITSELF;
        let group = (!alert.group_key.is_empty()).then(|| dedup_key(&alert.group_key));
        let dedup_key = group.unwrap_or_else(|| self.own_key(id));
        let is_same = |page: &Page| page.dedup_key == dedup_key && page.service == service;
        let same = self.state.pages_of(id).find(|(_, page)| is_same(page)).map(|(same, _)| same);
        let number = same.unwrap_or(self.state.last_page + 1);
        self.owe_to_pagerduty(id, number, Ring { service, dedup_key, group, rests: false }, why)
    }

    fn owe_to_pagerduty(&mut self, incident: IncidentId, page: u32, ring: Ring, why: &str) -> Decided {
        let Ring { service, dedup_key, group, rests } = ring;
        let receiver = Receiver::PagerDuty { service: service.clone() };
        let letter = LetterKey { receiver, incident, slot: Slot::Page(page) };
        let why = why.to_owned();
        self.emit(Event::PageOwed { incident, page, service, dedup_key, group, ours: true, rests, why })?;
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
        let (group, rests) = (None, false);
        self.emit(Event::PageOwed { incident, page, service, dedup_key, group, ours: true, rests, why })?;
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

    /// Whose page is triggered: of an alert that fires before one that does not, of one that Alertmanager holds back before
    /// others, then of the oldest.
    fn group_to_page(&self, incident: &Incident) -> Option<DedupKey> {
        let alerts = incident.alerts.iter().filter_map(|print| self.state.alerts.get(print));
        let alerts = alerts.filter(|alert| alert.group.is_some());
        alerts.min_by_key(|alert| (alert.held != Held::Firing, !alert.asks_to_hold(), alert.starts_at))?.group
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
        // Its own trouble is people's to close; what it paged for an alert that has no incident is not.
        let has_an_end = |id, page: &Page| id != IncidentId::ITSELF || page.group.is_some();
        let open = open.filter(|((id, _), page)| has_an_end(*id, page) && is_touched(&(*id, page)));
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
        let Some(incident) = self.state.incidents.get(&id) else {
            return if self.group_fires(page) { page.wants } else { PageState::Resolved };
        };
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
        // What was sent though nothing fired is not over because nothing fires.
        if page.rests {
            return incident.phase != IncidentPhase::Resolved;
        }
        if page.group.is_none() {
            return incident.phase == IncidentPhase::Open;
        }
        let mut own = incident.alerts.iter().filter_map(|print| self.state.alerts.get(print));
        own.any(|alert| keeps(page, alert)) || self.group_fires(page)
    }

    fn group_fires(&self, page: &Page) -> bool {
        page.group.is_some() && self.state.alerts.values().any(|alert| keeps(page, alert))
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

/// The alert is of the page's group, and not known to be over.
fn keeps(page: &Page, alert: &AlertState) -> bool {
    alert.group == page.group && alert.held != Held::Resolved
}
