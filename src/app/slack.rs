//! Slack, both ways: the notifier that posts, and the desk for what people ask for, over HTTP and Socket Mode.

use super::{
    asking, servers,
    tasks::{OnExit, Stage, Tasks},
};
use crate::{
    config::{Settings, settings},
    decide::{levels::Reach, policy::PolicySpec},
    engine::EngineHandle,
    http::{
        client::{Client, ClientSettings},
        limits::SLACK_MAX_BODY,
        signature::SigningKeys,
        websocket::Dialer,
    },
    notify::slack::Slack,
    peer::slack::{client::SlackClient, directory::Directory, seal::Seal, standing::Standing},
    source::slack::{
        answers::Answers,
        desk::Desk,
        socket::{
            keeper::Keeper,
            line::{Line, Times},
        },
    },
    telemetry::{labels::Receiver, metrics::Metrics, notices::Notices, slack_socket::SocketBoard},
};
use anyhow::Context as _;
use secrecy::SecretString;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Between two looks at whether the rules name other channels.
const LOOKS_AT_RULES: Duration = Duration::from_secs(10);
/// Channels that are asked for; the rest is found out by its first message.
const CHANNELS_ASKED: usize = 50;

/// What there is of Slack.
pub struct Doors {
    pub notifier: Arc<Slack>,
    pub callers: Callers,
    /// Where HTTP's requests go; closed without a secret that Slack signs them with.
    pub over_http: Option<Desk>,
    pub socket: Option<SocketBoard>,
}

/// Who calls Slack, each with a token of its own.
#[derive(Clone)]
pub struct Callers {
    bot: Arc<SlackClient>,
    app: Option<Arc<SlackClient>>,
}

impl Callers {
    /// Tokens that were read anew.
    pub fn replace_tokens(&self, fresh: &settings::Slack) {
        self.bot.replace_token(fresh.bot_token.clone());
        if let (Some(app), Some(token)) = (&self.app, &fresh.app_token) {
            app.replace_token(token.clone());
        }
    }
}

pub fn open(
    settings: &Settings,
    slack: &settings::Slack,
    http: &Client,
    engine: &EngineHandle,
    metrics: &Metrics,
    notices: &Notices,
    tasks: &mut Tasks,
) -> anyhow::Result<Doors> {
    let client = Arc::new(SlackClient::new(http.clone(), &slack.api_url, slack.bot_token.clone()));
    // Buttons are shown where a click can reach us.
    let keys = sealing_keys(slack);
    let seal = (!keys.is_empty()).then(|| Seal::new(keys));
    let (shown, counted) = (notices.clone(), metrics.clone());
    let standing = Arc::new(Standing::new(move |lines, refused| {
        counted.set_receiver_refuses(Receiver::Slack, refused);
        shown.set("slack", lines);
    }));
    let notifier = Slack::new(Arc::clone(&client), settings.timezone.clone(), seal.clone());
    let notifier = Arc::new(notifier.watched_by(standing).paging_at_least_in(&slack.channel));
    let (asks, by, read) = (Arc::clone(&notifier), Arc::clone(&client), engine.clone());
    tasks.spawn("slack token", Stage::Work, OnExit::Stop, |stop| async move {
        let named = Mutex::new(BTreeSet::new());
        let ask = |deadline| {
            let (asks, read, named) = (&asks, &read, &named);
            async move {
                let Ok(channels) = read.read(|seen| channels_of(&seen.policy.spec)).await else { return false };
                let before = std::mem::replace(&mut *locked(named), channels.clone());
                if before != channels {
                    asks.writes_only_to(&channels);
                }
                asks.ask(&channels, deadline).await
            }
        };
        let replaced = || async {
            tokio::select! {
                () = by.token_replaced() => {}
                () = others_are_named(&read, &named) => {}
            }
        };
        asking::watch(ask, replaced, stop).await;
        Ok(())
    });
    let mut doors =
        Doors { notifier, callers: Callers { bot: Arc::clone(&client), app: None }, over_http: None, socket: None };
    let Some(seal) = seal else { return Ok(doors) };
    let directory = Arc::new(Directory::new(Arc::clone(&client)));
    let (people, pause_file) = (Arc::clone(&directory), settings.pause_file.clone());
    let (desk, work) = Desk::open(Answers { engine: engine.clone(), directory: people, client, seal, pause_file });
    let counted = metrics.clone();
    tasks.spawn("slack desk", Stage::Work, OnExit::Stop, |stop| async move {
        work.run(async move { stop.cancelled().await }, || counted.panic_caught("slack desk")).await;
        Ok(())
    });
    doors.over_http = (!servers::slack_keys(settings).is_empty()).then(|| desk.clone());
    if let Some(token) = &slack.app_token {
        let clock = Arc::clone(engine.clock());
        let board = SocketBoard::new(metrics.clone(), clock.now());
        doors.socket = Some(board.clone());
        let client = Arc::new(SlackClient::new(http.clone(), &slack.api_url, token.clone()));
        doors.callers.app = Some(Arc::clone(&client));
        let line = Arc::new(Line {
            client,
            dialer: Dialer::build(&ClientSettings::default(), SLACK_MAX_BODY)
                .context("building the client of Slack's web socket")?,
            desk,
            directory,
            metrics: metrics.clone(),
            times: Times::default(),
        });
        let (counted, notices) = (metrics.clone(), notices.clone());
        tasks.spawn("slack socket", Stage::Work, OnExit::Stop, |stop| async move {
            Keeper { line, board, notices, clock }.run(stop, || counted.panic_caught("slack socket")).await;
            Ok(())
        });
    }
    Ok(doors)
}

/// Ends once the rules name other channels. They are used some time after the secrets that are read with them.
async fn others_are_named(engine: &EngineHandle, named: &Mutex<BTreeSet<String>>) {
    loop {
        tokio::time::sleep(LOOKS_AT_RULES).await;
        let channels = engine.read(|seen| channels_of(&seen.policy.spec)).await;
        if channels.is_ok_and(|channels| channels != *locked(named)) {
            return;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every channel that the settings and the rules name, the first of them.
fn channels_of(spec: &PolicySpec) -> BTreeSet<String> {
    let people = spec.people.values().filter_map(|person| match person.in_slack() {
        Reach::Channel(channel) => Some(channel.to_owned()),
        Reach::Mention(_) | Reach::Nowhere => None,
    });
    let settings = spec.slack_channel.iter().chain(&spec.security_channel).cloned();
    let rules = spec.rules.iter().filter_map(|rule| rule.slack_channel.clone());
    settings.chain(people).chain(rules).take(CHANNELS_ASKED).collect()
}

/// What buttons are sealed with: the first; each opens them. So buttons outlive it when one way in is set up beside the
/// other.
fn sealing_keys(slack: &settings::Slack) -> SigningKeys {
    let secrets: Vec<SecretString> = slack.signing_secrets.iter().chain(&slack.app_token).cloned().collect();
    SigningKeys::new(&secrets)
}
