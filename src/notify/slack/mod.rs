//! Slack: one message per incident, updated in place; everything that follows goes into its thread.
//!
//! [`blocks`] renders a message within Slack's limits; [`crate::peer::slack`] calls.
//!
//! **A lost answer.** chat.postMessage has no idempotency key, so a post whose answer is lost may or may not be there.
//! Every post carries metadata (incident and slot). The next try of that letter first looks for it, where the token may
//! read the channel's history (`channels:history`, `groups:history`) and the channel's id is known or, of a public one,
//! can be looked up (`channels:read`); where it may not, or nothing is found, the letter is posted again. What is in doubt is kept in memory: a crash between Slack's taking
//! a post and the journal's recording it can leave one message twice, never none. Updates are idempotent.
//!
//! Deleted by hand, or no longer ours to edit: the card is posted anew, once, and its thread goes on below the new one. So it
//! is, in the settings' own channel, where a rule's channel takes nothing and people were paged: nobody would read it there.

mod asking;
pub mod blocks;
mod channel;

use super::{
    Notifier, Transient,
    message::{self, Message},
};
use crate::{
    action::Boxed,
    decide::state::DueLetter,
    model::{
        id::IncidentId,
        letter::{External, LetterKey, Note, Posted, Receiver, Slot, Told},
        time::{Micros, Span},
        view::IncidentView,
    },
    peer::slack::{
        client::{Call, Failure, SlackClient},
        errors::{is_set_up_wrong, is_wrong_channel},
        seal::Seal,
        standing::Standing,
    },
};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// The kind of our messages' metadata.
const EVENT_TYPE: &str = "nightshift_incident";
/// Letters in doubt that are remembered; beyond that a lost answer costs a duplicate.
const IN_DOUBT: usize = 4096;
/// Names of channels whose id was learned.
const CHANNELS: usize = 1024;
/// Slack's clock and ours differ by less.
const SKEW: Span = Span::minutes(2);
/// Until somebody has set the token or the channel right, letters wait, and one tries again so often.
const SET_RIGHT: Duration = Duration::from_secs(30);
/// A letter without a note: a mistake of ours.
const NO_NOTE: &str = "no_note";
/// A post to a channel that was not made.
const NO_CHANNEL: &str = "no_channel";
/// A letter that belongs to another receiver: a mistake of ours.
const NOT_FOR_SLACK: &str = "not_for_slack";

pub struct Slack {
    client: Arc<SlackClient>,
    zone: TimeZone,
    seal: Option<Seal>,
    standing: Option<Arc<Standing>>,
    /// Where a page is told that its own channel refuses.
    default_channel: Option<String>,
    in_doubt: Mutex<BTreeSet<LetterKey>>,
    /// From a channel's name, as configured, to its id, as Slack answered.
    channel_ids: Mutex<BTreeMap<String, String>>,
    /// Until Slack says that the token may not.
    may_look: AtomicBool,
}

impl Notifier for Slack {
    fn send<'a>(
        &'a self,
        letter: &'a DueLetter,
        view: &'a IncidentView,
        within: Duration,
    ) -> Boxed<'a, Result<Told, Transient>> {
        Box::pin(async move {
            let deadline = Instant::now() + within;
            let sent = match letter.key.slot {
                Slot::Card => self.send_card(letter, view, deadline).await,
                Slot::Page(_) => Err(Failure::Permanent { reason: NOT_FOR_SLACK }),
                Slot::Post(_) | Slot::Update => match letter.note.as_ref().or(view.note.as_ref()) {
                    Some(note) => self.send_post(letter, view, note, deadline).await,
                    None => Err(Failure::Permanent { reason: NO_NOTE }),
                },
            };
            self.stands(letter, &sent);
            match &letter.key.receiver {
                Receiver::IncidentChannel { .. } => told(sent.map_err(channel::given_up)),
                Receiver::Slack { .. } | Receiver::PagerDuty { .. } | Receiver::Statuspage { .. } => told(waits(sent)),
            }
        })
    }
}

/// Where something is to be posted, and how.
struct Place<'a> {
    channel: &'a str,
    thread: Option<&'a str>,
    /// A reply that is shown in the channel too.
    broadcast: bool,
    /// Mere text: what Slack took of nothing else.
    bare: bool,
}

impl<'a> Place<'a> {
    fn in_channel(channel: &'a str) -> Place<'a> {
        Place { channel, thread: None, broadcast: false, bare: false }
    }
}

impl Slack {
    /// `zone`: for the times that people read. `seal`: for the buttons; None where no click could reach us.
    #[must_use]
    pub fn new(client: Arc<SlackClient>, zone: TimeZone, seal: Option<Seal>) -> Slack {
        Slack {
            client,
            zone,
            seal,
            standing: None,
            default_channel: None,
            in_doubt: Mutex::default(),
            channel_ids: Mutex::default(),
            may_look: AtomicBool::new(true),
        }
    }

    /// Who shows what Slack refuses.
    #[must_use]
    pub fn watched_by(self, standing: Arc<Standing>) -> Slack {
        Slack { standing: Some(standing), ..self }
    }

    /// `channel`: of the settings.
    #[must_use]
    pub fn paging_at_least_in(self, channel: &str) -> Slack {
        Slack { default_channel: Some(channel.to_owned()), ..self }
    }

    fn stands(&self, letter: &DueLetter, sent: &Result<Option<Posted>, Failure>) {
        let (Some(standing), Receiver::Slack { channel }) = (&self.standing, &letter.key.receiver) else { return };
        match sent {
            Ok(Some(posted)) if self.is_elsewhere(channel, &posted.channel) => {}
            Ok(_) => standing.takes(Some(channel)),
            Err(Failure::Permanent { reason }) if is_set_up_wrong(reason) => standing.refuses(channel, reason),
            Err(_) => {}
        }
    }

    async fn send_card(
        &self,
        letter: &DueLetter,
        view: &IncidentView,
        deadline: Instant,
    ) -> Result<Option<Posted>, Failure> {
        let made;
        let (channel, message) = match &letter.key.receiver {
            Receiver::Slack { channel } => (channel.as_str(), message::card(view, &self.zone)),
            Receiver::IncidentChannel { name } => {
                made = match card_of(letter) {
                    Some(card) => card.channel.clone(),
                    None => self.incident_channel(name, deadline).await?,
                };
                (made.as_str(), message::following(view, &self.zone))
            }
            Receiver::PagerDuty { .. } | Receiver::Statuspage { .. } => {
                return Err(Failure::Permanent { reason: NOT_FOR_SLACK });
            }
        };
        let place = Place::in_channel(channel);
        let known = match card_of(letter) {
            Some(card) => Some(card.clone()),
            None => self.find(letter, &place, view.opened_at, deadline).await?,
        };
        if let Some(card) = known {
            match self.update(&card, &message, deadline).await {
                Err(Failure::Gone) => {}
                Err(Failure::Permanent { reason }) if self.elsewhere(letter, view, reason).is_some() => {}
                Ok(()) => {
                    self.set_in_doubt(&letter.key, false);
                    return Ok(Some(card));
                }
                Err(failure) => return Err(failure),
            }
        }
        match self.post(letter, &place, &message, deadline).await {
            Err(Failure::Permanent { reason }) if let Some(other) = self.elsewhere(letter, view, reason) => {
                if let Some(standing) = &self.standing {
                    standing.refuses(channel, reason);
                }
                let place = Place::in_channel(other);
                match self.find(letter, &place, view.opened_at, deadline).await? {
                    Some(found) => {
                        self.set_in_doubt(&letter.key, false);
                        Ok(Some(found))
                    }
                    None => self.post(letter, &place, &message, deadline).await,
                }
            }
            sent => sent,
        }
    }

    /// Where the card of an incident goes that people were paged for, and that is read nowhere yet: its own channel takes
    /// nothing before somebody sets it right.
    fn elsewhere(&self, letter: &DueLetter, view: &IncidentView, reason: &str) -> Option<&str> {
        let Receiver::Slack { channel } = &letter.key.receiver else { return None };
        let other = self.default_channel.as_deref().filter(|other| other != channel)?;
        let is_read = view.posted.as_ref().is_some_and(|posted| Some(posted) != card_of(letter));
        (is_wrong_channel(reason) && view.pages > 0 && !is_read).then_some(other)
    }

    /// A card that went to the settings' channel, and not to its own.
    fn is_elsewhere(&self, channel: &str, posted_in: &str) -> bool {
        let other = self.default_channel.as_deref().filter(|other| *other != channel);
        other.and_then(|other| self.channel_id(other)).is_some_and(|other| other == posted_in)
    }

    async fn send_post(
        &self,
        letter: &DueLetter,
        view: &IncidentView,
        note: &Note,
        deadline: Instant,
    ) -> Result<Option<Posted>, Failure> {
        let message = message::post(view, note, &self.zone);
        let card = card_of(letter).filter(|_| letter.key.incident != IncidentId::ITSELF);
        let place = match (&letter.key.receiver, card) {
            (Receiver::Slack { .. }, Some(card)) => {
                let broadcast = message::wakes(view, note);
                Place { thread: Some(&card.ts), broadcast, ..Place::in_channel(&card.channel) }
            }
            (Receiver::Slack { channel }, None) => Place::in_channel(channel),
            // Those who follow it read no threads.
            (Receiver::IncidentChannel { .. }, Some(card)) => Place::in_channel(&card.channel),
            (Receiver::IncidentChannel { .. }, None) => return Err(Failure::Permanent { reason: NO_CHANNEL }),
            (Receiver::PagerDuty { .. } | Receiver::Statuspage { .. }, _) => {
                return Err(Failure::Permanent { reason: NOT_FOR_SLACK });
            }
        };
        if let Some(found) = self.find(letter, &place, note.at, deadline).await? {
            self.set_in_doubt(&letter.key, false);
            return Ok(Some(found));
        }
        let alone = Place::in_channel(place.channel);
        let sent = match self.post(letter, &place, &message, deadline).await {
            Err(Failure::NoThread) => self.post(letter, &alone, &message, deadline).await,
            sent => sent,
        };
        match sent {
            // Whatever Slack does not like about it, people are woken.
            Err(Failure::Permanent { reason }) if note.page && !is_set_up_wrong(reason) => {
                self.post(letter, &Place { bare: true, ..alone }, &message, deadline).await
            }
            sent => sent,
        }
    }

    async fn post(
        &self,
        letter: &DueLetter,
        place: &Place<'_>,
        message: &Message,
        deadline: Instant,
    ) -> Result<Option<Posted>, Failure> {
        let key = &letter.key;
        let rendered = blocks::render(message, self.seal.as_ref());
        let mut body = json!({
            "channel": place.channel,
            "text": rendered.text,
            "blocks": rendered.blocks,
            "parse": "none",
            "link_names": false,
            "unfurl_links": false,
            "unfurl_media": false,
            "metadata": {"event_type": EVENT_TYPE, "event_payload": payload(letter)},
        });
        if let (true, Some(fields)) = (place.bare, body.as_object_mut()) {
            fields.retain(|name, _| name != "blocks" && name != "metadata");
        }
        if let (Some(thread), Some(fields)) = (place.thread, body.as_object_mut()) {
            fields.insert("thread_ts".to_owned(), thread.into());
            if place.broadcast {
                fields.insert("reply_broadcast".to_owned(), true.into());
            }
        }
        let lane = self.channel_id(place.channel).unwrap_or_else(|| place.channel.to_owned());
        let answer = self.client.write(Call::Post, &lane, &body, deadline).await;
        match answer {
            Ok(answer) => {
                self.set_in_doubt(key, false);
                let posted = posted(&answer);
                if let Some(posted) = &posted {
                    self.learn(place.channel, &posted.channel);
                }
                Ok(posted)
            }
            Err(failure) => {
                // A refusal says nothing about an earlier try that is still in doubt.
                if matches!(failure, Failure::Transient { maybe_done: true, .. }) {
                    self.set_in_doubt(key, true);
                }
                Err(failure)
            }
        }
    }

    async fn update(&self, card: &Posted, message: &Message, deadline: Instant) -> Result<(), Failure> {
        let rendered = blocks::render(message, self.seal.as_ref());
        let body = json!({
            "channel": card.channel,
            "ts": card.ts,
            "text": rendered.text,
            "blocks": rendered.blocks,
            "parse": "none",
            "link_names": false,
        });
        self.client.write(Call::Update, &card.channel, &body, deadline).await.map(|_| ())
    }

    /// Looks for a letter that may have been posted by a call whose answer was lost. `since`: when it was written.
    async fn find(
        &self,
        letter: &DueLetter,
        place: &Place<'_>,
        since: Micros,
        deadline: Instant,
    ) -> Result<Option<Posted>, Failure> {
        if !lock(&self.in_doubt).contains(&letter.key) || !self.may_look.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(channel) = self.id_of(place.channel, deadline).await? else { return Ok(None) };
        let oldest = (since - SKEW).0.max(0) / 1_000_000;
        let oldest = format!("{oldest}.000000");
        let mut query = vec![
            ("channel", channel.as_str()),
            ("oldest", oldest.as_str()),
            ("limit", "200"),
            ("include_all_metadata", "true"),
        ];
        let call = match place.thread {
            Some(thread) => {
                query.push(("ts", thread));
                Call::Replies
            }
            None => Call::History,
        };
        match self.client.read(call, &channel, &query, deadline).await {
            Ok(answer) => Ok(ours(&answer, letter).map(|ts| Posted { channel, ts })),
            Err(failure @ Failure::Transient { .. }) => Err(failure),
            Err(failure) => {
                tracing::debug!(?failure, "cannot look for a message whose answer was lost; it is posted again");
                if matches!(failure, Failure::Permanent { reason: "missing_scope" | "not_allowed_token_type" }) {
                    self.may_look.store(false, Ordering::Relaxed);
                }
                Ok(None)
            }
        }
    }

    fn set_in_doubt(&self, key: &LetterKey, is_in_doubt: bool) {
        let mut in_doubt = lock(&self.in_doubt);
        if !is_in_doubt {
            in_doubt.remove(key);
        } else if in_doubt.len() < IN_DOUBT {
            in_doubt.insert(key.clone());
        }
    }

    pub(super) fn learn(&self, channel: &str, id: &str) {
        let mut ids = lock(&self.channel_ids);
        if channel != id && ids.len() < CHANNELS {
            ids.insert(channel.to_owned(), id.to_owned());
        }
    }

    /// The id of a configured channel, where it is one or was learned.
    fn channel_id(&self, channel: &str) -> Option<String> {
        let is_id = channel.len() >= 7
            && channel.starts_with(['C', 'G', 'D'])
            && channel.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if is_id { Some(channel.to_owned()) } else { lock(&self.channel_ids).get(channel).cloned() }
    }
}

fn card_of(letter: &DueLetter) -> Option<&Posted> {
    letter.card.as_ref().and_then(External::posted)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which letter a message is: enough to know it again, and nothing that must not be read by other apps.
fn payload(letter: &DueLetter) -> Value {
    let key = &letter.key;
    let slot = match key.slot {
        Slot::Card => "card".to_owned(),
        Slot::Page(number) => format!("page-{number}"),
        Slot::Post(number) => format!("post-{number}"),
        // Each is a message of its own.
        Slot::Update => format!("update-{}", letter.want),
    };
    json!({"incident": key.incident.to_string(), "slot": slot})
}

fn posted(answer: &Value) -> Option<Posted> {
    let text = |name| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Posted { channel: text("channel")?, ts: text("ts")? })
}

/// The time of the message that carries this letter's metadata.
fn ours(answer: &Value, letter: &DueLetter) -> Option<String> {
    let wanted = payload(letter);
    answer.get("messages")?.as_array()?.iter().find_map(|message| {
        let metadata = message.get("metadata")?;
        let is_ours = metadata.get("event_type")? == EVENT_TYPE && *metadata.get("event_payload")? == wanted;
        message.get("ts").filter(|_| is_ours)?.as_str().map(str::to_owned)
    })
}

/// What a person may set right waits for that.
fn waits<T>(sent: Result<T, Failure>) -> Result<T, Failure> {
    sent.map_err(|failure| match failure {
        Failure::Permanent { reason } if is_set_up_wrong(reason) => set_right(reason),
        other => other,
    })
}

fn set_right(reason: &'static str) -> Failure {
    Failure::Transient { reason, retry_after: Some(SET_RIGHT), maybe_done: false }
}

fn told(sent: Result<Option<Posted>, Failure>) -> Result<Told, Transient> {
    match sent {
        Ok(posted) => Ok(Told::Sent { external: posted.map(External::Posted) }),
        Err(Failure::Permanent { reason }) => Ok(Told::Failed { reason: reason.to_owned() }),
        // A post that has neither a message to change nor a thread cannot miss one.
        Err(Failure::Gone) => Ok(Told::Failed { reason: "message_not_found".to_owned() }),
        Err(Failure::NameTaken) => Ok(Told::Failed { reason: "name_taken".to_owned() }),
        Err(Failure::NoThread) => Ok(Told::Failed { reason: "thread_not_found".to_owned() }),
        Err(Failure::Transient { reason, retry_after, .. }) => Err(Transient { reason, retry_after }),
    }
}

#[cfg(test)]
#[path = "slack_tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support;
