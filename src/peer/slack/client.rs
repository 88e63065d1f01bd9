//! Slack's Web API: its methods, its two ways of saying no, and its pace.
//!
//! Slack answers 200 with `ok: false` to nearly everything; only 429 and 5xx mean something as a status. A call is never
//! repeated here: that is the courier's affair. What matters to it is told apart: try again, never again, the message is
//! gone, and whether a failed call may have been carried out all the same.

use super::{
    errors::{self, Kind},
    pace::Pace,
};
use crate::http::client::{Answer, Client, ClientErrorKind};
use reqwest::{Method, RequestBuilder, StatusCode, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// An answer that lists messages with their blocks takes the most.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// 429 without `Retry-After`.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// A call that begins with less time than this would only be cut off.
const LEAST: Duration = Duration::from_millis(500);

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Post,
    Update,
    History,
    Replies,
    /// A message that one person sees.
    Ephemeral,
    /// Whose token this is.
    Test,
    Bot,
    User,
    /// Who belongs to a user group.
    Group,
    /// Makes a channel.
    Create,
    Channels,
    /// One channel.
    Info,
    /// Where the next web socket of Socket Mode begins; with the app's own token.
    Open,
}

impl Call {
    fn path(self) -> &'static str {
        match self {
            Call::Post => "chat.postMessage",
            Call::Update => "chat.update",
            Call::History => "conversations.history",
            Call::Replies => "conversations.replies",
            Call::Ephemeral => "chat.postEphemeral",
            Call::Test => "auth.test",
            Call::Bot => "bots.info",
            Call::User => "users.info",
            Call::Group => "usergroups.users.list",
            Call::Create => "conversations.create",
            Call::Channels => "conversations.list",
            Call::Info => "conversations.info",
            Call::Open => "apps.connections.open",
        }
    }
}

/// A call that did not succeed, as far as its caller's next step depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// May work later. `maybe_done`: Slack may have carried it out.
    Transient { reason: &'static str, retry_after: Option<Duration>, maybe_done: bool },
    /// Will not work as it is. The reason is of the closed list in [`errors`].
    Permanent { reason: &'static str },
    /// The message to be changed is not there, or not ours to change any more.
    Gone,
    /// The thread to be joined is not there.
    NoThread,
    /// A channel of this name is there, perhaps archived.
    NameTaken,
}

impl Failure {
    fn transient(reason: &'static str) -> Failure {
        Failure::Transient { reason, retry_after: None, maybe_done: false }
    }
}

pub struct SlackClient {
    http: Client,
    base: String,
    token: Mutex<SecretString>,
    replaced: Notify,
    pace: Mutex<Pace>,
}

impl SlackClient {
    /// `api_url`: `https://slack.com/api`. `token`: the bot's, `xoxb-…`; for [`Call::Open`] alone the app's, `xapp-…`.
    #[must_use]
    pub fn new(http: Client, api_url: &str, token: SecretString) -> SlackClient {
        let (token, replaced) = (Mutex::new(token), Notify::new());
        SlackClient { http, base: api_url.trim_end_matches('/').to_owned(), token, replaced, pace: Mutex::default() }
    }

    /// The token, read anew. Calls that have begun keep the one that they have.
    pub fn replace_token(&self, token: SecretString) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
        self.replaced.notify_one();
    }

    /// Ends once the token was replaced.
    pub async fn token_replaced(&self) {
        self.replaced.notified().await;
    }

    /// Posts or updates; the body is the method's own. Waits for its turn, all within `deadline`.
    pub async fn write(&self, call: Call, channel: &str, body: &Value, deadline: Instant) -> Result<Value, Failure> {
        let request = self
            .http
            .request(Method::POST, &format!("{}/{}", self.base, call.path()))
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(body.to_string());
        self.exchange(call, channel, request, deadline).await
    }

    /// Reads messages.
    pub async fn read(
        &self,
        call: Call,
        channel: &str,
        query: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let request = self.http.request(Method::GET, &format!("{}/{}", self.base, call.path())).query(query);
        self.exchange(call, channel, request, deadline).await
    }

    async fn exchange(
        &self,
        call: Call,
        channel: &str,
        request: RequestBuilder,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let turn = self.pace().reserve(call, channel, Instant::now(), deadline.checked_sub(LEAST).unwrap_or(deadline));
        match turn {
            Ok(at) => tokio::time::sleep_until(at).await,
            Err(wait) => {
                return Err(Failure::Transient { reason: "paced", retry_after: Some(wait), maybe_done: false });
            }
        }
        let within = deadline.saturating_duration_since(Instant::now());
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = request.bearer_auth(token.expose_secret()).timeout(within);
        match self.http.exchange(request, MAX_ANSWER).await {
            Ok(answer) => self.judge(call, &answer),
            Err(error) if error.kind == ClientErrorKind::Request => Err(Failure::Permanent { reason: error.reason }),
            Err(error) => Err(Failure::Transient {
                reason: error.reason,
                retry_after: None,
                maybe_done: !error.nothing_was_sent(),
            }),
        }
    }

    fn judge(&self, call: Call, answer: &Answer) -> Result<Value, Failure> {
        let maybe_done = |reason| Failure::Transient { reason, retry_after: None, maybe_done: true };
        match answer.status {
            StatusCode::TOO_MANY_REQUESTS => return Err(self.limited(call, answer)),
            status if status.is_server_error() => return Err(maybe_done("status_5xx")),
            // Slack says everything else with 200: this is somebody between it and us, who may go away.
            status if !status.is_success() => return Err(Failure::transient("not_slack")),
            _ => {}
        }
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else { return Err(maybe_done("bad_answer")) };
        match (body.get("ok").and_then(Value::as_bool), body.get("error").and_then(Value::as_str)) {
            (Some(true), _) => Ok(body),
            (Some(false), Some(error)) => Err(match errors::kind(error) {
                (Kind::Limited, _) => self.limited(call, answer),
                (Kind::Transient, reason) => Failure::transient(reason),
                (Kind::Doubtful, reason) => maybe_done(reason),
                (Kind::Gone, _) => Failure::Gone,
                (Kind::NoThread, _) => Failure::NoThread,
                (Kind::NameTaken, _) => Failure::NameTaken,
                (Kind::Auth | Kind::Target | Kind::Payload, reason) => Failure::Permanent { reason },
            }),
            _ => Err(maybe_done("bad_answer")),
        }
    }

    /// Slack counts per method and workspace: every channel's calls of this method wait.
    fn limited(&self, call: Call, answer: &Answer) -> Failure {
        let wait = answer.retry_after().unwrap_or(RETRY_AFTER);
        self.pace().stop(call, Instant::now() + wait);
        Failure::Transient { reason: "rate_limited", retry_after: Some(wait), maybe_done: false }
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
