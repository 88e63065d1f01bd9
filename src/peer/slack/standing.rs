//! Whether Slack takes what it is sent: what somebody must set right before it does again.
//!
//! A token that is refused, a channel that is not there: no letter is at fault, and none is given up for it. It is said once,
//! loudly, and shown for as long as it is so.

use super::errors::{self, Kind};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

/// A channel's name that is no public channel's.
pub const NOT_LISTED: &str = "not_listed";
/// Channels that are known to take messages; more than any policy names.
const TAKING: usize = 1024;

/// What is refused: the token (None), or a channel.
type Refused = Option<String>;

pub struct Standing {
    refused: Mutex<BTreeMap<Refused, &'static str>>,
    /// Channels where a message was taken.
    taking: Mutex<BTreeSet<String>>,
    /// Gets what is wrong now, in words, and how much of it Slack has refused, each time that it changes.
    changed: Box<dyn Fn(Vec<String>, usize) + Send + Sync>,
}

impl Standing {
    #[must_use]
    pub fn new(changed: impl Fn(Vec<String>, usize) + Send + Sync + 'static) -> Standing {
        Standing { refused: Mutex::default(), taking: Mutex::default(), changed: Box::new(changed) }
    }

    /// `channel`: where the letter was to go; what the reason says of the token concerns them all.
    pub fn refuses(&self, channel: &str, reason: &'static str) {
        let refused = match errors::kind(reason).0 {
            Kind::Target => Some(channel.to_owned()),
            _ if reason == NOT_LISTED => Some(channel.to_owned()),
            _ => None,
        };
        self.taking.lock().unwrap_or_else(PoisonError::into_inner).remove(channel);
        let (words, count) = {
            let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if all.insert(refused.clone(), reason) == Some(reason) {
                return;
            }
            words(&all)
        };
        match reason {
            NOT_LISTED => tracing::warn!("{}", line(&refused, reason)),
            _ => tracing::error!("{}", line(&refused, reason)),
        }
        (self.changed)(words, count);
    }

    /// Something was taken: there the token is good, and the channel is, where one is named.
    pub fn takes(&self, channel: Option<&str>) {
        if let Some(channel) = channel {
            let mut taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
            if taking.len() < TAKING {
                taking.insert(channel.to_owned());
            }
        }
        self.is_good(channel);
    }

    /// A channel was asked for, and nothing is wrong with it.
    pub fn finds(&self, channel: &str) {
        self.is_good(Some(channel));
    }

    /// Only these are asked for and written to by now: what was wrong with another concerns nobody. A letter that still
    /// waits there says it again.
    pub fn forgets_others(&self, channels: &BTreeSet<String>) {
        let (words, count) = {
            let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            let had = all.len();
            all.retain(|refused, _| refused.as_ref().is_none_or(|channel| channels.contains(channel)));
            if all.len() == had {
                return;
            }
            words(&all)
        };
        (self.changed)(words, count);
    }

    /// A message was taken there, the last time.
    #[must_use]
    pub fn has_taken(&self, channel: &str) -> bool {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner).contains(channel)
    }

    fn is_good(&self, channel: Option<&str>) {
        let (words, count) = {
            let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            let had = all.len();
            all.remove(&None);
            if let Some(channel) = channel {
                all.remove(&Some(channel.to_owned()));
            }
            if all.len() == had {
                return;
            }
            words(&all)
        };
        tracing::info!("what Slack refused is set right");
        (self.changed)(words, count);
    }
}

/// A name that is not listed may be a private channel's: that is shown, and not counted.
fn words(all: &BTreeMap<Refused, &'static str>) -> (Vec<String>, usize) {
    let count = all.values().filter(|reason| **reason != NOT_LISTED).count();
    (all.iter().map(|(refused, reason)| line(refused, reason)).collect(), count)
}

fn line(refused: &Refused, reason: &'static str) -> String {
    match (refused, reason) {
        (Some(channel), "is_archived") => {
            format!("Slack's channel {channel} is archived: its messages wait until it is not, or another is named")
        }
        (Some(channel), NOT_LISTED) => format!(
            "Slack lists no public channel {channel}: where it is not a private one that the app is in, nothing will be read there. \
             Set the name right, or name the channel by its id (C0123ABC), which can be asked for"
        ),
        (Some(channel), _) => format!(
            "Slack refuses channel {channel} ({reason}): its messages wait. Invite the app there, or name another channel"
        ),
        (None, "missing_scope" | "no_permission" | "not_allowed_token_type") => format!(
            "Slack does not let the app write ({reason}): all messages wait. Give it the scopes of deploy/slack/manifest.yaml"
        ),
        (None, _) => format!(
            "Slack refuses the bot token ({reason}): all messages wait. Put a valid one into slack.bot_token_file, and reload"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_is_refused_is_said_once_and_taken_back_when_it_is_mended() {
        let said: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
        let heard = Arc::clone(&said);
        let standing = Standing::new(move |lines, count| {
            assert_eq!(lines.len(), count);
            heard.lock().unwrap().push(lines);
        });
        let last = || said.lock().unwrap().last().cloned().unwrap_or_default();
        standing.takes(Some("#a"));
        standing.refuses("#a", "invalid_auth");
        standing.refuses("#b", "invalid_auth");
        assert_eq!(said.lock().unwrap().len(), 1, "one token, one sentence");
        assert!(last()[0].starts_with("Slack refuses the bot token (invalid_auth)"), "{:?}", last());
        standing.refuses("#a", "channel_not_found");
        assert_eq!(last().len(), 2);
        // Another channel's letter shows that the token is good.
        standing.takes(Some("#b"));
        assert_eq!(last().len(), 1);
        assert!(last()[0].contains("channel #a (channel_not_found)"), "{:?}", last());
        standing.takes(None);
        assert_eq!(last().len(), 1);
        standing.takes(Some("#a"));
        assert!(last().is_empty());
        assert_eq!(said.lock().unwrap().len(), 4);
    }

    #[test]
    fn a_name_that_may_be_a_private_channels_is_shown_and_not_counted() {
        let said: Arc<Mutex<Vec<(usize, usize)>>> = Arc::default();
        let heard = Arc::clone(&said);
        let standing = Standing::new(move |lines, count| heard.lock().unwrap().push((lines.len(), count)));
        standing.refuses("#private", NOT_LISTED);
        standing.refuses("#gone", "channel_not_found");
        standing.takes(Some("#private"));
        assert_eq!(*said.lock().unwrap(), [(1, 0), (2, 1), (1, 1)]);
        assert!(standing.has_taken("#private") && !standing.has_taken("#gone"));
    }
}
