//! PagerDuty's news: an incident that both report, or that is our own page coming back, is one incident.
//!
//! It is one of ours when a key of it is one that we sent, or that Alertmanager uses for the group of an alert that fires.
//! Else it is an alert of its own, which rules match like any other. An acknowledge or a resolve by somebody there counts
//! as ours; everything else is a line in the thread. Old news only informs.

use super::{
    Decided, Decider, Illegal, State,
    apply::illegal,
    guard::CONFIRMATION_FRESH,
    state::{Held, IncidentPhase},
};
use crate::model::{
    alert::Source,
    event::Event,
    id::{Fingerprint, IncidentId},
    input::Input,
    letter::{External, PageState, Paged},
    page::DedupKey,
    peer::{NOTE_MARK, PeerEvent, PeerNews},
    time::{Micros, Span},
    view::PagerDutyView,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// PagerDuty delivers for 48 h; its ids are remembered for longer.
pub const HEARD_FOR: Span = Span::hours(49);
/// Ids that are remembered; of more, those that were heard first are forgotten first.
const HEARD_MOST: usize = 100_000;
/// News that wait for an answer about their keys, in all. What comes beyond is taken as it is.
const ASKED_MOST: usize = 1000;
/// Alertmanager pages and tells us at the same time: how long its page waits for its alert.
const ALERT_MAY_COME: Span = Span::seconds(10);
/// PagerDuty incidents that one of ours knows.
const JOINED_MOST: usize = 50;
/// "Who" of somebody in PagerDuty: `pagerduty:Ana`.
const BY: &str = "pagerduty:";

/// What the state knows of PagerDuty's incidents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Peers {
    /// Ids of events and webhooks, until when each is remembered.
    heard: BTreeMap<String, Micros>,
    /// By PagerDuty's id.
    joined: BTreeMap<String, Joined>,
    /// News whose keys are being asked for, by PagerDuty's id, in the order they came.
    asking: BTreeMap<String, Waiting>,
}

/// News of one of PagerDuty's incidents that wait for what the first of them is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Waiting {
    news: Vec<PeerNews>,
    /// Its keys are known, and what has them may yet come.
    until: Option<Micros>,
}

/// An incident of PagerDuty that belongs to one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Joined {
    incident: IncidentId,
    /// By which it was joined; None: it is an alert of that incident.
    key: Option<DedupKey>,
    number: Option<u64>,
    url: String,
    /// Whoever has our incident has it there: PagerDuty said so, or is to be told.
    taken: bool,
}

/// Which of our incidents one of PagerDuty's belongs to.
enum Place {
    Ours {
        incident: IncidentId,
        key: Option<DedupKey>,
    },
    /// It was paged under this key, and is over: what fires now may not have been heard of yet.
    Over {
        incident: IncidentId,
        key: DedupKey,
    },
    /// Nightshift's own trouble, or an alert that is known and belongs to no incident.
    Known,
    Unknown,
}

impl Peers {
    pub fn has_heard(&self, news: &PeerNews) -> bool {
        news.ids.iter().any(|id| self.heard.contains_key(id))
    }

    /// What is to be asked: of each incident the first.
    pub fn to_ask(&self) -> impl Iterator<Item = (&PeerNews, Option<Micros>)> {
        self.asking.values().filter_map(|waiting| Some((waiting.news.first()?, waiting.until)))
    }

    /// An alert of this group fires: what waited for it, does not any more. Whether something did.
    pub fn came(&mut self, at: Micros, group: DedupKey) -> bool {
        let key = group.to_string();
        let mut waited = false;
        for waiting in self.asking.values_mut().filter(|waiting| waiting.until.is_some_and(|until| until > at)) {
            if waiting.news.first().is_some_and(|first| first.incident.keys.contains(&key)) {
                waiting.until = Some(at);
                waited = true;
            }
        }
        waited
    }

    fn is_asked_about(&self, news: &PeerNews) -> bool {
        self.asking
            .get(&news.incident.id)
            .and_then(|waiting| waiting.news.first())
            .is_some_and(|first| first.ids == news.ids)
    }

    fn hear(&mut self, at: Micros, ids: &[String], until: Micros) {
        self.heard.retain(|_, until| *until >= at);
        self.heard.extend(ids.iter().map(|id| (id.clone(), until)));
        while self.heard.len() > HEARD_MOST {
            let oldest = self.heard.iter().min_by_key(|(_, until)| **until).map(|(id, _)| id.clone());
            oldest.map(|id| self.heard.remove(&id));
        }
    }

    pub fn forget(&mut self, id: IncidentId) {
        self.joined.retain(|_, joined| joined.incident != id);
    }

    /// The keys of PagerDuty's incidents that belong to one of ours.
    pub fn keys_of(&self, id: IncidentId) -> impl Iterator<Item = DedupKey> {
        self.joined.values().filter(move |joined| joined.incident == id).filter_map(|joined| joined.key)
    }

    /// An incident of PagerDuty belongs to it.
    pub fn has(&self, id: IncidentId) -> bool {
        self.joined.values().any(|joined| joined.incident == id)
    }

    /// Somebody has it from here on: where that was not said in PagerDuty, it is to be told.
    pub fn has_it(&mut self, id: IncidentId, input: &Input) {
        for (peer, joined) in self.joined.iter_mut().filter(|(_, joined)| joined.incident == id) {
            joined.taken = was_taken_there(input, peer);
        }
    }

    /// PagerDuty is to be told of it.
    pub fn taken(&mut self, id: IncidentId) {
        self.joined.values_mut().filter(|joined| joined.incident == id).for_each(|joined| joined.taken = true);
    }

    /// An incident that PagerDuty opened by itself belongs to it, and is not taken there.
    pub fn rings_for(&self, id: IncidentId) -> bool {
        self.joined.values().any(|joined| joined.incident == id && joined.key.is_none() && !joined.taken)
    }

    /// By which PagerDuty's incident was joined.
    pub fn key_of(&self, peer: &str) -> Option<DedupKey> {
        self.joined.get(peer).and_then(|joined| joined.key)
    }

    pub fn views_of(&self, id: IncidentId) -> Vec<PagerDutyView> {
        let of = self.joined.iter().filter(|(_, joined)| joined.incident == id);
        of.map(|(peer, joined)| PagerDutyView {
            id: peer.clone(),
            number: joined.number,
            url: joined.url.clone(),
            has_key: joined.key.is_some(),
        })
        .collect()
    }
}

impl State {
    /// Delivered again, or the answer to a question that nobody has any more.
    pub(super) fn knows_news(&self, news: &PeerNews) -> bool {
        match news.asked {
            None => self.peers.has_heard(news),
            Some(_) => !self.peers.is_asked_about(news),
        }
    }

    pub(super) fn peer_event(&mut self, at: Micros, input: &Input, event: &Event) -> Result<(), Illegal> {
        match event {
            Event::PeerHeard { ids, until } => self.peers.hear(at, ids, *until),
            Event::PeerAsked { .. } => {
                let Input::Peer(news) = input else { return Err(illegal(event, "its input is no news")) };
                self.peers.asking.entry(news.incident.id.clone()).or_default().news.push((**news).clone());
                self.work_version += 1;
            }
            Event::PeerAnswered { peer } => {
                let waiting =
                    self.peers.asking.get_mut(peer).ok_or_else(|| illegal(event, "nothing of it was asked"))?;
                waiting.news.remove(0);
                waiting.until = None;
                if waiting.news.is_empty() {
                    self.peers.asking.remove(peer);
                }
                self.work_version += 1;
            }
            Event::PeerWaits { peer, until } => {
                let Input::Peer(news) = input else { return Err(illegal(event, "its input is no news")) };
                let waiting = self.peers.asking.get_mut(peer);
                let waiting = waiting.ok_or_else(|| illegal(event, "nothing of it was asked"))?;
                waiting.until = Some(*until);
                if let Some(first) = waiting.news.first_mut() {
                    first.clone_from(news);
                }
                self.work_version += 1;
            }
            Event::PeerJoined { incident, peer, key, number, url } => {
                let known = self.peers.joined.get(peer).filter(|known| known.incident == *incident);
                let taken = known.is_some_and(|known| known.taken) || was_taken_there(input, peer);
                let joined = Joined { incident: *incident, key: *key, number: *number, url: url.clone(), taken };
                self.peers.joined.insert(peer.clone(), joined);
                self.letters_version += 1;
            }
            Event::PageSeen { incident, page, state } => {
                let Some(held) = self.pages.get(&(*incident, *page)) else { return Ok(()) };
                let key = held.letter(*incident, *page);
                let seen = External::Paged(Paged { dedup_key: held.dedup_key.to_string(), page: *state });
                if let Some(letter) = self.letters.get_mut(&key) {
                    letter.external = Some(seen);
                    self.letters_version += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Decider<'_> {
    pub(super) fn peer(&mut self, news: &PeerNews) -> Decided {
        let peer = news.incident.id.clone();
        if news.asked.is_none() {
            self.emit(Event::PeerHeard { ids: news.ids.clone(), until: self.now + HEARD_FOR })?;
            if self.must_ask(news) {
                return self.emit(Event::PeerAsked { peer });
            }
        } else {
            if self.may_yet_come(news) {
                return self.emit(Event::PeerWaits { peer, until: self.now + ALERT_MAY_COME });
            }
            self.emit(Event::PeerAnswered { peer })?;
        }
        match self.place_of(news) {
            Place::Ours { incident, key: Some(key) } | Place::Over { incident, key } => {
                self.joined_news(incident, key, news)
            }
            Place::Ours { incident, key: None } => self.own_news(Some(incident), news),
            Place::Unknown => self.own_news(None, news),
            Place::Known => Ok(()),
        }
    }

    /// Whether it is ours is not known without its keys, and they can be asked for. What comes behind news that wait,
    /// waits too.
    fn must_ask(&self, news: &PeerNews) -> bool {
        let peers = &self.state.peers;
        let waiting = peers.asking.values().map(|waiting| waiting.news.len()).sum::<usize>();
        if waiting >= ASKED_MOST {
            return false;
        }
        let is_behind = peers.asking.contains_key(&news.incident.id);
        let could_tell = self.policy.spec.pagerduty.asks || has_key_of_a_group(news);
        let is_unknown = || matches!(self.place_of(news), Place::Unknown | Place::Over { .. });
        is_behind || could_tell && news.alert.is_some() && news.event != PeerEvent::Resolved && is_unknown()
    }

    /// It looks like Alertmanager's page of a group of which nothing has been heard yet, and has not waited for that.
    fn may_yet_come(&self, news: &PeerNews) -> bool {
        let waited = self.state.peers.asking.get(&news.incident.id).is_some_and(|waiting| waiting.until.is_some());
        let is_unknown = || matches!(self.place_of(news), Place::Unknown | Place::Over { .. });
        !waited && has_key_of_a_group(news) && is_unknown()
    }

    fn place_of(&self, news: &PeerNews) -> Place {
        let peer = &news.incident.id;
        if let Some(joined) = self.state.peers.joined.get(peer)
            && self.state.incidents.contains_key(&joined.incident)
            && let Some(key) = joined.key
        {
            return Place::Ours { incident: self.now_of(joined.incident, key), key: Some(key) };
        }
        let held = self.state.alerts.get(&Fingerprint::new(peer)).filter(|held| held.source == Source::PagerDuty);
        if let Some(held) = held {
            return held.incident.map_or(Place::Unknown, |incident| Place::Ours { incident, key: None });
        }
        let keys = news.incident.keys.iter().filter_map(|key| DedupKey::parse(key));
        for key in keys {
            if let Some(place) = self.place_of_key(key) {
                return place;
            }
        }
        Place::Unknown
    }

    fn place_of_key(&self, key: DedupKey) -> Option<Place> {
        if key == self.own_key(IncidentId::ITSELF) {
            return Some(Place::Known);
        }
        let paged = || {
            let pages = self.state.pages.iter().rev().filter(|(_, page)| page.dedup_key == key);
            pages.map(|((incident, _), _)| *incident)
        };
        let of_a_group = || {
            let alerts = self.state.alerts.values();
            alerts.filter(|alert| alert.group == Some(key) && alert.held != Held::Resolved).filter_map(|it| it.incident)
        };
        // What is open, before what somebody closed while it fires.
        let open = paged().chain(of_a_group()).find(|id| !self.is_over(*id));
        if let Some(incident) = open.or_else(|| of_a_group().next()) {
            return Some(Place::Ours { incident, key: Some(key) });
        }
        // Paged for an alert that no incident has.
        let has_none = self.state.pages_of(IncidentId::ITSELF).any(|(_, page)| page.dedup_key == key && page.is_open());
        match paged().next()? {
            incident if incident != IncidentId::ITSELF && !has_none => Some(Place::Over { incident, key }),
            _ => Some(Place::Known),
        }
    }

    fn is_over(&self, id: IncidentId) -> bool {
        self.state.incidents.get(&id).is_none_or(|incident| incident.phase == IncidentPhase::Resolved)
    }

    /// PagerDuty's incident may have stayed open when ours was over: what fires of its group now, and has none of its own
    /// there, has joined it.
    fn now_of(&self, joined: IncidentId, key: DedupKey) -> IncidentId {
        match self.place_of_key(key) {
            Some(Place::Ours { incident, .. })
                if self.is_over(joined) && self.state.peers.keys_of(incident).all(|known| known != key) =>
            {
                incident
            }
            _ => joined,
        }
    }

    fn is_late(&self, news: &PeerNews) -> bool {
        news.occurred_at + CONFIRMATION_FRESH < self.now
    }

    /// Of an incident that Alertmanager, or we, had PagerDuty open.
    fn joined_news(&mut self, id: IncidentId, key: DedupKey, news: &PeerNews) -> Decided {
        self.join(id, Some(key), news)?;
        let late = self.is_late(news);
        let seen = match news.event {
            PeerEvent::Acknowledged => Some(PageState::Acknowledged),
            PeerEvent::Resolved => Some(PageState::Resolved),
            _ => None,
        };
        if let Some(state) = seen.filter(|_| !late) {
            self.see_page(id, key, state)?;
        }
        match (&news.event, &news.by) {
            (PeerEvent::Acknowledged, Some(by)) => self.taken_in_pagerduty(id, by, news),
            (PeerEvent::Resolved, Some(by)) => self.closed_in_pagerduty(id, Some(key), by, news),
            // By a service: our own, or Alertmanager's, whose word on its alerts we have from itself.
            (PeerEvent::Acknowledged | PeerEvent::Resolved | PeerEvent::Triggered, _) => Ok(()),
            _ => self.told_of(id, news),
        }
    }

    /// Of an incident that is an alert of its own.
    fn own_news(&mut self, id: Option<IncidentId>, news: &PeerNews) -> Decided {
        let alert = match (&news.event, &news.alert) {
            (PeerEvent::Triggered | PeerEvent::Reopened | PeerEvent::Resolved, Some(alert)) => Some(alert),
            // Heard of for the first time: it is open.
            (_, Some(alert)) if id.is_none() => Some(alert),
            _ => None,
        };
        if let Some(alert) = alert {
            self.alert(alert)?;
        }
        let print = Fingerprint::new(&news.incident.id);
        let now = self.state.alerts.get(&print).and_then(|held| held.incident);
        let is_new = id.is_none();
        let Some(id) = now.or(id) else { return Ok(()) };
        self.join(id, None, news)?;
        let says_who = matches!(news.event, PeerEvent::Acknowledged | PeerEvent::Unacknowledged | PeerEvent::Resolved);
        // Heard of for the first time, and somebody has it there: who, its own event would have said.
        if is_new && news.incident.acknowledged && !says_who {
            self.taken_in_pagerduty(id, "somebody", news)?;
        }
        match (&news.event, &news.by) {
            (PeerEvent::Triggered, _) => Ok(()),
            (PeerEvent::Acknowledged, Some(by)) => self.taken_in_pagerduty(id, by, news),
            (PeerEvent::Resolved, Some(by)) => self.closed_in_pagerduty(id, None, by, news),
            (PeerEvent::Acknowledged | PeerEvent::Resolved, None) => Ok(()),
            (PeerEvent::PriorityUpdated { .. }, _) => {
                self.told_of(id, news)?;
                self.judged_anew(id, news)
            }
            _ => self.told_of(id, news),
        }
    }

    fn join(&mut self, id: IncidentId, key: Option<DedupKey>, news: &PeerNews) -> Decided {
        let peer = &news.incident.id;
        let held = self.state.peers.joined.get(peer);
        let known = self.state.peers.joined.values().filter(|joined| joined.incident == id).count();
        let is_known = held.is_some_and(|joined| joined.incident == id && joined.key == key);
        if is_known || held.is_none() && known >= JOINED_MOST {
            return Ok(());
        }
        self.touched.insert(id);
        let (number, url) = (news.incident.number, news.incident.url.clone());
        self.emit(Event::PeerJoined { incident: id, peer: peer.clone(), key, number, url })?;
        match key {
            Some(_) => self.post(id, format!("PagerDuty has it as incident {}.", called(news))),
            None => Ok(()),
        }
    }

    /// What PagerDuty says of a page is not said to it again.
    fn see_page(&mut self, id: IncidentId, key: DedupKey, state: PageState) -> Decided {
        let pages = self.state.pages_of(id).filter(|(_, page)| page.dedup_key == key);
        let pages: Vec<u32> = pages.map(|(number, _)| number).collect();
        for page in pages {
            self.emit(Event::PageSeen { incident: id, page, state })?;
        }
        Ok(())
    }

    /// A page that nobody has there any more: whoever takes it here next is told there.
    fn rings_again(&mut self, id: IncidentId, key: DedupKey) -> Decided {
        let pages = self.state.pages_of(id).filter(|(_, page)| page.dedup_key == key && page.is_open());
        let pages: Vec<u32> = pages.map(|(number, _)| number).collect();
        for page in pages {
            self.emit(Event::PageWanted { incident: id, page, state: PageState::Triggered })?;
        }
        self.see_page(id, key, PageState::Triggered)
    }

    fn taken_in_pagerduty(&mut self, id: IncidentId, by: &str, news: &PeerNews) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let by = format!("{BY}{by}");
        if self.is_late(news) {
            return self.late(id, &format!("{by} acknowledged it"), news);
        }
        // Whoever has it has it, also where this is our own word coming back.
        if incident.phase == IncidentPhase::Resolved || incident.acknowledged_by.is_some() {
            return Ok(());
        }
        self.taken(id, &by)
    }

    /// `key`: by which it was joined. What else of the incident fires is not closed with it.
    fn closed_in_pagerduty(&mut self, id: IncidentId, key: Option<DedupKey>, by: &str, news: &PeerNews) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        if incident.phase == IncidentPhase::Resolved {
            return Ok(());
        }
        let by = format!("{BY}{by}");
        if self.is_late(news) {
            return self.late(id, &format!("{by} resolved it"), news);
        }
        let alerts = incident.alerts.iter().filter_map(|print| self.state.alerts.get(print));
        let others = alerts.filter(|alert| alert.held != Held::Resolved && (key.is_none() || alert.group != key));
        match others.count() {
            0 if self.state.open_children(id).is_empty() => self.close(&by, id),
            0 => {
                let what = called(news);
                self.post(id, format!("{by} resolved {what} in PagerDuty; other incidents of this service go on."))
            }
            others => {
                let what = called(news);
                let goes_on = if others == 1 { "another alert goes on" } else { "other alerts go on" };
                self.post(id, format!("{by} resolved {what} in PagerDuty; {goes_on}."))
            }
        }
    }

    /// Old news changes nothing: who reads it knows what it is worth.
    fn late(&mut self, id: IncidentId, what: &str, news: &PeerNews) -> Decided {
        let age = (self.now - news.occurred_at).rounded();
        self.post(id, format!("{what}, {age} ago: this came too late to count."))
    }

    fn told_of(&mut self, id: IncidentId, news: &PeerNews) -> Decided {
        let who = news.by.as_ref().map_or_else(|| "PagerDuty".to_owned(), |by| format!("{BY}{by}"));
        let what = called(news);
        let to = |to: &str| if to.is_empty() { String::new() } else { format!(" to {to}") };
        let text = match &news.event {
            PeerEvent::Triggered | PeerEvent::Acknowledged | PeerEvent::Resolved => return Ok(()),
            PeerEvent::Annotated { text } if text.starts_with(NOTE_MARK) => return Ok(()),
            PeerEvent::Annotated { text } => format!("{who} noted on {what}: {text}"),
            PeerEvent::Reopened => format!("{who} reopened {what}."),
            PeerEvent::Unacknowledged => return self.nobody_has_it(id, news),
            PeerEvent::Reassigned { to: whom } => format!("{who} reassigned {what}{}.", to(whom)),
            PeerEvent::Escalated { to: whom } => format!("{who} escalated {what}{}.", to(whom)),
            PeerEvent::Delegated { to: whom } => format!("{who} delegated {what}{}.", to(whom)),
            PeerEvent::PriorityUpdated { to } if to.is_empty() => format!("{who} took the priority off {what}."),
            PeerEvent::PriorityUpdated { to } => format!("{who} set the priority of {what} to {to}."),
        };
        if self.is_late(news) {
            let age = (self.now - news.occurred_at).rounded();
            return self.post(id, format!("{age} ago: {text}"));
        }
        self.post(id, text)
    }

    /// An acknowledge that ran out there, or was taken back: one that came from there is no longer good here.
    fn nobody_has_it(&mut self, id: IncidentId, news: &PeerNews) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let from_there = incident.acknowledged_by.as_ref().is_some_and(|by| by.starts_with(BY));
        let what = called(news);
        if !from_there || self.is_late(news) || incident.phase == IncidentPhase::Resolved {
            return self.post(id, format!("In PagerDuty nobody has {what} any more."));
        }
        let root = self.state.root_of(id);
        self.touched.insert(root);
        self.void_acknowledge(root)?;
        if let Some(key) = self.state.peers.key_of(&news.incident.id) {
            self.rings_again(id, key)?;
        }
        self.post(id, format!("In PagerDuty nobody has {what} any more: who has it now?"))?;
        let was_paged = self.state.incidents.get(&root).is_some_and(|incident| incident.paged_at.is_some());
        if was_paged { self.begin_escalation(root) } else { Ok(()) }
    }

    /// Its priority changed, and rules may look at that.
    fn judged_anew(&mut self, id: IncidentId, news: &PeerNews) -> Decided {
        let Some(alert) = &news.alert else { return Ok(()) };
        let Some(rule) = self.policy.classify(&alert.labels) else { return Ok(()) };
        let (rank, severity) = self.policy.severity_of(rule, &alert.labels);
        let is_open = |phase| phase != IncidentPhase::Resolved;
        if self.state.incidents.get(&id).is_some_and(|incident| rank < incident.rank && is_open(incident.phase)) {
            self.touched.insert(id);
            self.emit(Event::SeverityChanged { incident: id, severity, rank })?;
            self.more_severe(id)?;
        }
        Ok(())
    }
}

/// These news say that somebody has it in PagerDuty.
fn was_taken_there(input: &Input, peer: &str) -> bool {
    let Input::Peer(news) = input else { return false };
    news.incident.id == peer && (news.event == PeerEvent::Acknowledged || news.incident.acknowledged)
}

fn has_key_of_a_group(news: &PeerNews) -> bool {
    news.incident.keys.iter().any(|key| DedupKey::parse(key).is_some())
}

/// `#1234`, or its id.
fn called(news: &PeerNews) -> String {
    news.incident.number.map_or_else(|| news.incident.id.clone(), |number| format!("#{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_ids_than_are_remembered_the_first_are_forgotten_first() {
        let mut peers = Peers::default();
        peers.hear(Micros(0), &["first".to_owned()], Micros(10));
        let ids: Vec<String> = (0..HEARD_MOST).map(|number| number.to_string()).collect();
        peers.hear(Micros(1), &ids, Micros(11));
        assert_eq!(peers.heard.len(), HEARD_MOST);
        assert!(!peers.heard.contains_key("first") && ids.iter().all(|id| peers.heard.contains_key(id)));
    }
}
