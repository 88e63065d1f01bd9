//! PagerDuty, outwards: the notifier that pages, and who asks it; their keys, which a reload reads anew.

use super::{
    asking,
    tasks::{OnExit, Stage, Tasks},
};
use crate::{
    config::Settings,
    decide::policy::DEFAULT_SERVICE,
    http::client::Client,
    notify::pagerduty::{PagerDuty, TOKEN_WORDS, is_set_up_wrong, token_line},
    peer::pagerduty::{Failure, events::EventsClient, rest::PagerDutyApi},
    telemetry::{amiss::Amiss, labels::Receiver, metrics::Metrics, notices::Notices},
};
use secrecy::SecretString;
use std::{collections::BTreeMap, sync::Arc};

/// What there is of PagerDuty.
#[derive(Clone)]
pub struct Callers {
    pub notifier: Arc<PagerDuty>,
    pub api: Option<PagerDutyApi>,
}

impl Callers {
    /// Keys and a token that were read anew.
    pub fn replace_secrets(&self, fresh: &Settings) {
        self.notifier.replace_keys(keys(fresh));
        if let (Some(api), Some(token)) = (&self.api, &fresh.pagerduty.token) {
            api.replace_token(token.token.clone());
        }
    }
}

pub fn open(settings: &Settings, http: &Client, metrics: &Metrics, notices: &Notices, tasks: &mut Tasks) -> Callers {
    let (pagerduty, zone) = (&settings.pagerduty, settings.timezone.clone());
    let api = pagerduty
        .token
        .as_ref()
        .map(|token| PagerDutyApi::new(http.clone(), &pagerduty.api_url, token.token.clone(), token.from.clone()));
    let events = EventsClient::new(http.clone(), &pagerduty.events_url);
    let (counted, shown) = (metrics.clone(), notices.clone());
    let amiss = Arc::new(Amiss::new(move |lines| {
        counted.set_receiver_refuses(Receiver::Pagerduty, lines.len());
        shown.set("pagerduty", lines);
    }));
    let notifier = PagerDuty::new(events, keys(settings), api.clone(), zone).watched_by(Arc::clone(&amiss));
    if let Some(api) = api.clone() {
        tasks.spawn("pagerduty token", Stage::Work, OnExit::Stop, |stop| async move {
            let ask = |deadline| {
                let (api, amiss) = (&api, &amiss);
                async move { is_well(amiss, api.may_ask(deadline).await) }
            };
            asking::watch(ask, || api.token_replaced(), stop).await;
            Ok(())
        });
    }
    Callers { notifier: Arc::new(notifier), api }
}

fn is_well(amiss: &Amiss, answer: Result<(), Failure>) -> bool {
    match answer {
        Ok(()) => {
            amiss.set(TOKEN_WORDS, None);
            true
        }
        Err(failure) if is_set_up_wrong(&failure) => {
            amiss.set(TOKEN_WORDS, Some(token_line(&failure)));
            false
        }
        // It is not there, or says something else: that is no word about the token.
        Err(failure) => {
            tracing::debug!(?failure, "PagerDuty was not asked about the API token");
            false
        }
    }
}

/// Integration keys by the service's name.
fn keys(settings: &Settings) -> BTreeMap<String, SecretString> {
    let own = settings.people.iter().filter_map(|(name, person)| Some((name.clone(), person.routing_key.clone()?)));
    let default = settings.pagerduty.routing_key.iter().map(|key| (DEFAULT_SERVICE.to_owned(), key.clone()));
    default.chain(own).collect()
}
