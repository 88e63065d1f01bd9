//! When PagerDuty is told, and what: a page is triggered, acknowledged with its incident, resolved when its group is over.
//!
//! Its key is the one that Alertmanager uses for the pages of that group, so that a page that Alertmanager sends later
//! joins ours. What PagerDuty told us of by itself is not triggered once more.

use super::{
    Decided, Decider,
    pages::Page,
    policy::DEFAULT_SERVICE,
    state::{AlertState, Held, Incident, IncidentPhase},
};
use crate::model::{
    alert::{Alert, Source},
    event::{Event, LadderEnd},
    id::{IncidentId, StepId},
    input::Input,
    letter::{LetterKey, Note, PageState, Receiver, Slot},
    page::{DedupKey, dedup_key},
    peer::PeerEvent,
};
use std::collections::{BTreeMap, BTreeSet};

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
        let number = self.state.last_page + 1;
        // One page for one incident: what it has there, and nobody took, is that.
        let own = self.state.pages_of(id).filter(|(number, page)| {
            let rings = page.ours && page.wants == PageState::Triggered;
            rings && page.service == service && page.group == group && self.is_newest(*number, page)
        });
        if let Some((number, dedup_key)) = own.map(|(number, page)| (number, page.dedup_key)).max() {
            return self.owe_to_pagerduty(id, number, Ring { service, dedup_key, group, rests }, why);
        }
        // Triggered again under a key that somebody has acknowledged, it would wake nobody.
        let is_taken = |(_, page): (_, &Page)| {
            page.dedup_key == dedup_key && page.service == service && page.wants == PageState::Acknowledged
        };
        if self.state.pages.iter().any(is_taken) {
            let dedup_key = crate::model::page::dedup_key(&format!("{dedup_key} {number}"));
            return self.owe_to_pagerduty(id, number, Ring { service, dedup_key, group, rests }, why);
        }
        let is_same = |page: &Page| page.dedup_key == dedup_key && page.service == service && page.ours;
        let same = self.state.pages_of(id).filter(|(number, page)| is_same(page) && self.is_newest(*number, page));
        let number = same.map(|(same, _)| same).max().unwrap_or(number);
        self.owe_to_pagerduty(id, number, Ring { service, dedup_key, group, rests }, why)
    }

    /// Another incident may have had the key since: the newest page of a key is the one that PagerDuty is told of.
    fn is_newest(&self, number: u32, page: &Page) -> bool {
        let is_same = |other: &Page| other.dedup_key == page.dedup_key && other.service == page.service;
        self.state.pages.iter().all(|((_, other), known)| *other <= number || !known.ours || !is_same(known))
    }

    /// For an alert that no incident has, under the key of its group; resolved with it.
    pub(super) fn page_group_in_pagerduty(&mut self, alert: &Alert, severity: &str, why: &str) -> Decided {
        let Some(service) = self.policy.spec.pagerduty.service(severity).map(str::to_owned) else { return Ok(()) };
        let id = IncidentId::ITSELF;
        let group = (!alert.group_key.is_empty()).then(|| dedup_key(&alert.group_key));
        let dedup_key = group.unwrap_or_else(|| self.own_key(id));
        let is_same = |page: &Page| page.dedup_key == dedup_key && page.service == service;
        // Another incident may have had the key since: the newest page of a key is the one that PagerDuty is told of.
        let newest = self.state.pages.iter().filter(|(_, page)| is_same(page)).map(|((_, number), _)| *number).max();
        let same = self.state.pages_of(id).filter(|(_, page)| is_same(page)).map(|(same, _)| same).max();
        let same = same.filter(|same| newest == Some(*same));
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
        let incident = IncidentId::ITSELF;
        // What PagerDuty has not taken yet says the newest of it.
        let owed = self.state.pages_of(incident).filter(|(_, page)| page.group.is_none() && page.service == service);
        let page = owed.map(|(number, _)| number).max().unwrap_or(self.state.last_page + 1);
        let receiver = Receiver::PagerDuty { service: service.clone() };
        let letter = LetterKey { receiver, incident, slot: Slot::Page(page) };
        let (dedup_key, why) = (self.own_key(incident), note.text.clone());
        let (group, rests) = (None, false);
        self.emit(Event::PageOwed { incident, page, service, dedup_key, group, ours: true, rests, why })?;
        self.emit(Event::Tell { letter, note: None })
    }

    /// For what has no group: the same for as long as this journal lives, and no other journal's.
    pub(super) fn own_key(&self, id: IncidentId) -> DedupKey {
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

    /// Every page whose incident or group this input touched is told anew how it is to be. Where one is over, and its
    /// incident still fires in another group or fires again, and nobody has it, people are woken there anew.
    pub(super) fn owe_pages(&mut self) -> Decided {
        self.acknowledge_joined()?;
        self.take_there()?;
        let group = match self.input {
            Input::Alert(alert) if !alert.group_key.is_empty() => Some(dedup_key(&alert.group_key)),
            _ => None,
        };
        // Two incidents of one group share its page: what happens to one may change how it is to be for the other.
        let shared = |page: &Page| (page.service.clone(), page.dedup_key);
        let of_touched = self.state.pages.iter().filter(|((id, _), _)| self.touched.contains(id));
        let keys: BTreeSet<(String, DedupKey)> = of_touched.map(|(_, page)| shared(page)).collect();
        let is_touched = |page: &Page| keys.contains(&shared(page)) || group.is_some() && page.group == group;
        let open = self.state.pages.iter().filter(|(_, page)| page.is_open());
        // Its own trouble is people's to close; what it paged for an alert that has no incident is not.
        let has_an_end = |id, page: &Page| id != IncidentId::ITSELF || page.group.is_some();
        let open = open.filter(|((id, _), page)| has_an_end(*id, page) && is_touched(page));
        let changed: Vec<(IncidentId, u32, PageState, LetterKey)> = open
            .filter_map(|((id, number), page)| {
                let wants = self.wanted(*id, page);
                (wants != page.wants).then(|| (*id, *number, wants, page.letter(*id, *number)))
            })
            .collect();
        let mut rings = self.fires_again_unheard();
        for (incident, page, state, letter) in changed {
            let Some(known) = self.state.pages.get(&(incident, page)) else { continue };
            let (ours, key) = (known.ours, known.dedup_key);
            self.emit(Event::PageWanted { incident, page, state })?;
            if ours && state == PageState::Resolved {
                rings.insert(incident);
            }
            if self.is_to_be_told(&letter, ours, key, state) {
                self.emit(Event::Tell { letter, note: None })?;
            }
        }
        for id in rings {
            if self.is_paged_and_nobody_has_it(id) {
                self.page_in_pagerduty(id, "its page there is over, and alerts of it fire")?;
            }
        }
        Ok(())
    }

    /// PagerDuty is told of what it does not know already.
    fn is_to_be_told(&self, letter: &LetterKey, ours: bool, key: DedupKey, state: PageState) -> bool {
        match state {
            PageState::Triggered => ours,
            // What we did not trigger is not ours to close.
            PageState::Resolved => ours,
            // Closed there, it would be opened anew, and ring for what somebody has.
            PageState::Acknowledged => {
                let is_closed = ours && self.state.is_closed_there(letter);
                !is_closed && (ours || self.acknowledged_there() != Some(key))
            }
        }
    }

    /// Where this input is somebody's acknowledge there.
    fn acknowledged_there(&self) -> Option<DedupKey> {
        match self.input {
            Input::Peer(news) if news.event == PeerEvent::Acknowledged => self.state.peers.key_of(&news.incident.id),
            _ => None,
        }
    }

    /// The incident that fires with this input, where nothing more is tried by itself: it is people's.
    fn fires_again_unheard(&self) -> BTreeSet<IncidentId> {
        let Input::Alert(alert) = self.input else { return BTreeSet::new() };
        let fires = self.events.iter().any(|event| matches!(event, Event::AlertFired { .. }));
        let of = self.state.alerts.get(&alert.fingerprint).filter(|_| fires).and_then(|held| held.incident);
        let is_peoples = |id: &IncidentId| {
            let waits = self.state.incidents.get(id).is_none_or(Incident::page_may_wait);
            !waits && !self.ladder_lives(*id)
        };
        of.filter(is_peoples).into_iter().collect()
    }

    /// What PagerDuty has of an incident that somebody has, and that we did not trigger, is acknowledged there too.
    fn acknowledge_joined(&mut self) -> Decided {
        let of = |id: &IncidentId| {
            let incident = self.state.incidents.get(id)?;
            incident.acknowledged_by.as_ref().filter(|_| incident.phase != IncidentPhase::Resolved)?;
            let service = self.policy.spec.pagerduty.service(&incident.severity)?.to_owned();
            let known: BTreeSet<DedupKey> = self.state.pages_of(*id).map(|(_, page)| page.dedup_key).collect();
            let keys: BTreeSet<DedupKey> = self.state.peers.keys_of(*id).filter(|key| !known.contains(key)).collect();
            Some(keys.into_iter().map(|key| (*id, service.clone(), key)).collect::<Vec<_>>())
        };
        let owed: Vec<(IncidentId, String, DedupKey)> = self.touched.iter().filter_map(of).flatten().collect();
        // Where somebody took it there, PagerDuty knows.
        let told = self.acknowledged_there();
        for (incident, service, dedup_key) in owed {
            let page = self.state.last_page + 1;
            let receiver = Receiver::PagerDuty { service: service.clone() };
            let letter = LetterKey { receiver, incident, slot: Slot::Page(page) };
            let (group, why) = (Some(dedup_key), String::new());
            let (ours, rests) = (false, false);
            self.emit(Event::PageOwed { incident, page, service, dedup_key, group, ours, rests, why })?;
            if told != Some(dedup_key) {
                self.emit(Event::Tell { letter, note: None })?;
            }
        }
        Ok(())
    }

    /// What PagerDuty opened by itself knows no key of ours: whoever has it here is noted there, and takes it by its id.
    fn take_there(&mut self) -> Decided {
        if !self.policy.spec.pagerduty.notes {
            return Ok(());
        }
        let taken = |id: &IncidentId| {
            let incident = self.state.incidents.get(id).filter(|incident| incident.phase != IncidentPhase::Resolved)?;
            let by = incident.acknowledged_by.clone().filter(|_| self.state.peers.rings_for(*id))?;
            Some((*id, by, self.noted_at(*id)?))
        };
        let owed: Vec<(IncidentId, String, String)> = self.touched.iter().filter_map(taken).collect();
        for (id, by, service) in owed {
            let note = Note { takes: true, ..Note::plain(self.now, format!("{by} has it.")) };
            self.owe_note(Receiver::PagerDuty { service }, id, note)?;
        }
        Ok(())
    }

    /// What was done is noted on PagerDuty's incident, for whoever was woken by it.
    pub(super) fn owe_notes(&mut self) -> Decided {
        if !self.policy.spec.pagerduty.notes {
            return Ok(());
        }
        let mut notes: BTreeMap<IncidentId, Vec<String>> = BTreeMap::new();
        for (id, line) in self.events.iter().filter_map(|event| self.noted(event)) {
            notes.entry(id).or_default().push(line);
        }
        for (id, lines) in notes {
            if let Some(service) = self.noted_at(id) {
                self.post_to(Some(Receiver::PagerDuty { service }), id, lines.join(" "))?;
            }
        }
        Ok(())
    }

    fn noted(&self, event: &Event) -> Option<(IncidentId, String)> {
        let zone = &self.policy.zone;
        let step = |id: StepId, says: String| {
            let step = self.state.steps.get(&id);
            let plan = step.and_then(|step| step.plan.as_ref());
            let did =
                plan.map(|plan| format!(" ({} on {}: {})", plan.action, plan.target.key().0, plan.proposal.summary));
            (id.incident, format!("Step {id}{}: {says}.", did.unwrap_or_default()))
        };
        match event {
            Event::StepVerified { step: id, answer } => Some(step(*id, super::verify::words(answer))),
            Event::StepFailed { step: id, reason } => {
                Some(step(*id, format!("changed nothing: {}", reason.says(zone))))
            }
            Event::StepUnknown { step: id, why } => {
                Some(step(*id, format!("nobody knows whether it changed anything: {why}")))
            }
            Event::LadderEnded { incident, how, .. } => match how {
                LadderEnd::Helped | LadderEnd::NotNeeded | LadderEnd::WouldHave => None,
                LadderEnd::Exhausted | LadderEnd::HandedOver { .. } | LadderEnd::Vetoed { .. } => {
                    Some((*incident, format!("nightshift stops here: {}.", how.says(zone))))
                }
            },
            _ => None,
        }
    }

    /// Where PagerDuty has it. A page that is only now triggered says all that itself.
    fn noted_at(&self, id: IncidentId) -> Option<String> {
        let incident = self.state.incidents.get(&id)?;
        let is_new = |number: u32| {
            self.events.iter().any(|event| matches!(event, Event::PageOwed { page, .. } if *page == number))
        };
        let page = self.state.pages_of(id).find(|(number, _)| !is_new(*number));
        let service = || self.policy.spec.pagerduty.service(&incident.severity).unwrap_or(DEFAULT_SERVICE);
        match page {
            Some((_, page)) => Some(page.service.clone()),
            None if self.state.peers.has(id) => Some(service().to_owned()),
            None => None,
        }
    }

    /// How an open page is to be. It only goes forward: nothing takes an acknowledge back.
    fn wanted(&self, id: IncidentId, page: &Page) -> PageState {
        let Some(incident) = self.state.incidents.get(&id) else {
            return if self.group_fires(page) { page.wants } else { PageState::Resolved };
        };
        if !self.still_fires(incident, page) {
            PageState::Resolved
        } else if self.another_needs(id, page) {
            page.wants
        } else if incident.resolved_by.is_some() && !page.since_the_end {
            PageState::Resolved
        } else if incident.acknowledged_by.is_some() {
            PageState::Acknowledged
        } else {
            page.wants
        }
    }

    /// The page is also of another incident, which fires, and which nobody has.
    fn another_needs(&self, id: IncidentId, page: &Page) -> bool {
        let is_same = |other: &Page| other.dedup_key == page.dedup_key && other.service == page.service;
        let mut others = self.state.pages.iter().filter(|((other, _), _)| *other != id);
        others.any(|((other, _), known)| {
            let open = self.state.incidents.get(other).filter(|it| it.phase != IncidentPhase::Resolved);
            let needs = open.is_some_and(|it| it.acknowledged_by.is_none() && it.firing + it.lost > 0);
            needs && known.ours && known.is_open() && is_same(known)
        })
    }

    /// Something of the page's group fires, or nobody knows whether it does: a lost alert is not over.
    fn still_fires(&self, incident: &Incident, page: &Page) -> bool {
        if page.since_the_end {
            return true;
        }
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

    /// PagerDuty does not take this page as it is: people are woken where they still can be.
    pub(super) fn page_was_refused(&mut self, letter: &LetterKey, reason: &str, and_then: &str) -> Decided {
        let Slot::Page(number) = letter.slot else { return Ok(()) };
        let wants = self.state.pages.get(&(letter.incident, number)).map(|page| page.wants);
        let lost = match wants {
            None | Some(PageState::Triggered) => {
                let text =
                    format!("PagerDuty did not take the page ({reason}): nobody was woken through it.{and_then}");
                return self.page_in_slack(letter.incident, text);
            }
            Some(PageState::Acknowledged) => "that somebody has it",
            Some(PageState::Resolved) => "that it is over",
        };
        self.post(
            letter.incident,
            format!("PagerDuty did not take {lost} ({reason}): it goes on paging there.{and_then}"),
        )
    }
}

/// The alert is of the page's group, and not known to be over.
fn keeps(page: &Page, alert: &AlertState) -> bool {
    alert.group == page.group && alert.held != Held::Resolved
}
