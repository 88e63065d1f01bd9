//! PagerDuty: a page is triggered, acknowledged and resolved by its key; what was done is noted on its incident.
//!
//! [`next`] compares how a page is to be with how PagerDuty was last told to have it; [`render`] says what people read.
//!
//! **A lost answer.** The key makes every event idempotent: sent again after a crash or a lost answer it is the same page.
//! Notes have no key, so each carries a mark, and PagerDuty's notes are looked through before one is written.

pub(super) mod render;

use super::{Notifier, Transient, plain::line};
use crate::{
    action::Boxed,
    decide::{pages::PageWish, policy::DEFAULT_SERVICE, state::DueLetter},
    model::{
        letter::{External, LetterKey, Note, PageState, Paged, Receiver, Slot, Told},
        peer::NOTE_MARK,
        view::IncidentView,
    },
    peer::pagerduty::{
        Failure,
        events::{BAD_KEY, EventsClient},
        rest::PagerDutyApi,
    },
    telemetry::amiss::Amiss,
};
use jiff::tz::TimeZone;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use tokio::time::Instant;

/// PagerDuty incidents that one note is written on.
const NOTED_ON: usize = 3;
/// Characters of a note, and of a service's name.
const NOTE: usize = 2000;
const NAME: usize = 80;
/// PagerDuty's refusals that say nothing of what was sent: the key or the token is no good.
const NOT_AUTHORIZED: &str = "not_authorized";
/// The token is known, and may not do this: perhaps only there, so nothing waits for it to be given more.
const FORBIDDEN: &str = "forbidden";
/// Until somebody has set the token right, notes wait, and one is tried again so often.
const SET_RIGHT: Duration = Duration::from_secs(30);
/// How often it is looked whether PagerDuty has made an incident of a page yet.
const LOOKS: u32 = 4;
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// Letters whose half way is remembered.
const REMEMBERED: usize = 4096;

/// One event of the Events API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Trigger,
    Acknowledge,
    Resolve,
}

/// What is to be sent so that a page is as wanted. `last`: as PagerDuty was last told; None also where it was told and
/// a crash came before that was recorded.
#[must_use]
pub fn next(wants: PageState, ours: bool, last: Option<PageState>) -> Option<Call> {
    match (wants, last) {
        (PageState::Triggered, Some(PageState::Triggered | PageState::Acknowledged))
        | (PageState::Acknowledged, Some(PageState::Acknowledged))
        | (PageState::Resolved, Some(PageState::Resolved)) => None,
        (PageState::Triggered, None | Some(PageState::Resolved)) => ours.then_some(Call::Trigger),
        // What is not there can't be acknowledged; whoever looks at PagerDuty later finds it, and who had it.
        (PageState::Acknowledged, None | Some(PageState::Resolved)) if ours => Some(Call::Trigger),
        (PageState::Acknowledged, _) => Some(Call::Acknowledge),
        // What PagerDuty does not know it drops.
        (PageState::Resolved, _) => ours.then_some(Call::Resolve),
    }
}

/// The services that are paged, and what is known of PagerDuty besides.
pub struct PagerDuty {
    events: EventsClient,
    /// Integration keys by the service's name.
    keys: RwLock<BTreeMap<String, SecretString>>,
    api: Option<PagerDutyApi>,
    zone: TimeZone,
    /// Who shows what somebody must set right.
    amiss: Option<Arc<Amiss>>,
    /// Letters of which a first call was taken and a second is still due: the wish, and how PagerDuty has it.
    half: Mutex<BTreeMap<LetterKey, (u64, PageState)>>,
    /// Notes for which there was no incident yet.
    looked: Mutex<BTreeMap<LetterKey, u32>>,
}

impl Notifier for PagerDuty {
    fn send<'a>(
        &'a self,
        letter: &'a DueLetter,
        view: &'a IncidentView,
        within: Duration,
    ) -> Boxed<'a, Result<Told, Transient>> {
        Box::pin(async move {
            let deadline = Instant::now() + within;
            let sent = match (letter.key.slot, &letter.page, letter.note.as_ref().or(view.note.as_ref())) {
                (Slot::Page(_), Some(page), _) => self.send_page(letter, page, view, deadline).await,
                (Slot::Post(_), _, Some(note)) => self.send_note(letter, note, view, deadline).await,
                // The page is gone: nobody wants it any more.
                (Slot::Page(_), None, _) => Ok(None),
                (Slot::Card | Slot::Update, ..) | (Slot::Post(_), _, None) => {
                    Err(Failure::Permanent { reason: "not_for_pagerduty", says: None })
                }
            };
            if let Err(failure) = &sent {
                self.shows(letter, failure);
            }
            match sent {
                Ok(external) => Ok(Told::Sent { external }),
                Err(failure) if letter.key.is_page() && is_set_up_wrong(&failure) => {
                    Ok(Told::Waits { reason: line(&failure.words(), NOTE) })
                }
                Err(Failure::Permanent { reason: NOT_AUTHORIZED, .. }) => {
                    Err(Transient { reason: NOT_AUTHORIZED, retry_after: Some(SET_RIGHT) })
                }
                Err(failure @ Failure::Permanent { .. }) => Ok(Told::Failed { reason: line(&failure.words(), NOTE) }),
                Err(Failure::Transient { reason, retry_after }) => Err(Transient { reason, retry_after }),
            }
        })
    }
}

impl PagerDuty {
    /// `keys`: integration keys by the service's name. `api`: for notes. `zone`: for the times that people read.
    #[must_use]
    pub fn new(
        events: EventsClient,
        keys: BTreeMap<String, SecretString>,
        api: Option<PagerDutyApi>,
        zone: TimeZone,
    ) -> PagerDuty {
        let keys = RwLock::new(keys);
        PagerDuty { events, keys, api, zone, amiss: None, half: Mutex::default(), looked: Mutex::default() }
    }

    /// Who shows what somebody must set right.
    #[must_use]
    pub fn watched_by(self, amiss: Arc<Amiss>) -> PagerDuty {
        PagerDuty { amiss: Some(amiss), ..self }
    }

    /// Keys that were read anew, of the services that there are.
    pub fn replace_keys(&self, fresh: impl IntoIterator<Item = (String, SecretString)>) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for (service, key) in fresh {
            if let Some(known) = keys.get_mut(&service) {
                *known = key;
            }
        }
    }

    fn key_of(&self, service: &str) -> Option<SecretString> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(service).cloned()
    }

    /// A page shows how its service's key stands, everything else how the API token does.
    fn shows(&self, letter: &DueLetter, failure: &Failure) {
        let (Some(amiss), Ok(service)) = (&self.amiss, service_of(letter)) else { return };
        if !is_set_up_wrong(failure) {
            return;
        }
        match letter.key.is_page() {
            true => amiss.set(&key_words(service), Some(key_line(service, failure))),
            false => amiss.set(TOKEN_WORDS, Some(token_line(failure))),
        }
    }

    /// PagerDuty took something with it.
    fn is_good(&self, what: &str) {
        if let Some(amiss) = &self.amiss {
            amiss.set(what, None);
        }
    }

    async fn send_page(
        &self,
        letter: &DueLetter,
        page: &PageWish,
        view: &IncidentView,
        deadline: Instant,
    ) -> Result<Option<External>, Failure> {
        let Some(wants) = page.wants else { return Ok(None) };
        let service = service_of(letter)?;
        let Some(key) = self.key_of(service) else {
            let says = Some(format!("nobody's routing_key_file is known for {service}"));
            return Err(Failure::Permanent { reason: "no_routing_key", says });
        };
        let told = letter.external.as_ref().and_then(External::paged).map(|paged| paged.page);
        // Whoever wants it triggered wants it triggered now, whatever was recorded last.
        let mut last = if wants == PageState::Triggered { None } else { told };
        if let Some((want, state)) = lock(&self.half).get(&letter.key)
            && *want == letter.want
        {
            last = Some(*state);
        }
        while let Some(call) = next(wants, page.ours, last) {
            self.events.enqueue(service, &key, self.event(call, page, view), deadline).await?;
            self.is_good(&key_words(service));
            last = Some(state_after(call));
            self.set_half(&letter.key, Some((letter.want, state_after(call))));
        }
        self.set_half(&letter.key, None);
        Ok(last.map(|page_state| External::Paged(Paged { dedup_key: page.dedup_key.to_string(), page: page_state })))
    }

    fn event(&self, call: Call, page: &PageWish, view: &IncidentView) -> Value {
        let action = match call {
            Call::Trigger => return render::trigger(page, view, &self.zone),
            Call::Acknowledge => "acknowledge",
            Call::Resolve => "resolve",
        };
        json!({"event_action": action, "dedup_key": page.dedup_key})
    }

    async fn send_note(
        &self,
        letter: &DueLetter,
        note: &Note,
        view: &IncidentView,
        deadline: Instant,
    ) -> Result<Option<External>, Failure> {
        service_of(letter)?;
        let Some(api) = &self.api else {
            let says = Some("pagerduty.api_token_file is not set".to_owned());
            return Err(Failure::Permanent { reason: "no_api_token", says });
        };
        let mut incidents: Vec<String> = view.pagerduty.iter().map(|known| known.id.clone()).take(NOTED_ON).collect();
        if incidents.is_empty() {
            for key in view.page_keys.iter().take(NOTED_ON) {
                incidents.extend(api.find(&key.to_string(), deadline).await?.map(|found| found.id));
            }
        }
        if incidents.is_empty() {
            return self.look_again(&letter.key);
        }
        if note.takes {
            // It may be over by now, or nobody's any more.
            if view.acknowledged_by.is_none() || view.state == "resolved" {
                return Ok(None);
            }
            // A page is acknowledged by its key, where nothing else needs it.
            for known in view.pagerduty.iter().filter(|known| !known.has_key) {
                api.acknowledge(&known.id, deadline).await?;
            }
        }
        let mark = mark_of(&letter.key);
        let content = content_of(&mark, note);
        for incident in incidents {
            let written = api.notes(&incident, deadline).await?;
            if !written.iter().any(|note| note.starts_with(&mark)) {
                api.add_note(&incident, &content, deadline).await?;
                self.is_good(TOKEN_WORDS);
            }
        }
        lock(&self.looked).remove(&letter.key);
        Ok(None)
    }

    /// PagerDuty makes an incident of a page after it took it; of some it makes none.
    fn look_again(&self, key: &LetterKey) -> Result<Option<External>, Failure> {
        let mut looked = lock(&self.looked);
        let looks = looked.get(key).copied().unwrap_or(0) + 1;
        if looks >= LOOKS || looked.len() >= REMEMBERED {
            looked.remove(key);
            let says = Some("PagerDuty has no incident for it".to_owned());
            return Err(Failure::Permanent { reason: "no_incident", says });
        }
        looked.insert(key.clone(), looks);
        Err(Failure::Transient { reason: "no_incident_yet", retry_after: Some(LOOK_AGAIN) })
    }

    fn set_half(&self, key: &LetterKey, state: Option<(u64, PageState)>) {
        let mut half = lock(&self.half);
        match state {
            Some(state) if half.len() < REMEMBERED || half.contains_key(key) => drop(half.insert(key.clone(), state)),
            Some(_) => {}
            None => drop(half.remove(key)),
        }
    }
}

/// Nothing is wrong with what was sent: it will be taken once somebody has set the key or the token right.
#[must_use]
pub fn is_set_up_wrong(failure: &Failure) -> bool {
    matches!(failure, Failure::Permanent { reason: BAD_KEY | NOT_AUTHORIZED | FORBIDDEN, .. })
}

/// What is shown to be wrong, and no more.
pub const TOKEN_WORDS: &str = "PagerDuty's API token";

fn key_words(service: &str) -> String {
    format!("PagerDuty's routing key of {}", line(service, NAME))
}

fn key_line(service: &str, failure: &Failure) -> String {
    let setting = match service {
        DEFAULT_SERVICE => "pagerduty.routing_key_file".to_owned(),
        name => format!("people.{}.pagerduty.routing_key_file", line(name, NAME)),
    };
    let says = line(&failure.words(), NOTE);
    format!(
        "PagerDuty refuses the routing key of {} ({says}): its pages wait, and nobody is woken through it. Put a valid one into \
         {setting}, and reload",
        line(service, NAME)
    )
}

/// What a refused API token means for people.
#[must_use]
pub fn token_line(failure: &Failure) -> String {
    let says = line(&failure.words(), NOTE);
    if matches!(failure, Failure::Permanent { reason: FORBIDDEN, .. }) {
        return format!(
            "PagerDuty does not let the API token do all that it is used for ({says}): what it may not do is not done. Put one with full access into pagerduty.api_token_file, and reload"
        );
    }
    format!(
        "PagerDuty refuses the API token ({says}): nothing is noted there, and it cannot be asked what fires. Put a valid one \
         into pagerduty.api_token_file, and reload"
    )
}

/// What a note says.
pub(super) fn content_of(mark: &str, note: &Note) -> String {
    format!("{mark} {}", line(&note.text, NOTE))
}

fn service_of(letter: &DueLetter) -> Result<&str, Failure> {
    match &letter.key.receiver {
        Receiver::PagerDuty { service } => Ok(service),
        _ => Err(Failure::Permanent { reason: "not_for_pagerduty", says: None }),
    }
}

fn state_after(call: Call) -> PageState {
    match call {
        Call::Trigger => PageState::Triggered,
        Call::Acknowledge => PageState::Acknowledged,
        Call::Resolve => PageState::Resolved,
    }
}

/// `[nightshift 1042/17]`: which letter a note is.
fn mark_of(key: &LetterKey) -> String {
    let number = match key.slot {
        Slot::Post(number) => number,
        Slot::Card | Slot::Page(_) | Slot::Update => 0,
    };
    format!("{NOTE_MARK}{}/{number}]", key.incident)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "pagerduty_tests.rs"]
mod tests;
