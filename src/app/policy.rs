//! Rules and deciding settings, made into the policy that decides; at the start and on every reload.

use super::world::Abilities;
use crate::{config::Settings, decide::Policy, model::problem::Problem, rules};
use std::{collections::BTreeMap, sync::Arc};

/// A policy that may decide, and what was odd about its files.
pub struct LoadedPolicy {
    pub policy: Arc<Policy>,
    pub warnings: Vec<Problem>,
    pub files: Vec<String>,
}

/// Reads the rules anew: all problems at once, or a policy.
pub fn load(settings: &Settings, abilities: &Abilities) -> Result<LoadedPolicy, Vec<Problem>> {
    let people: BTreeMap<String, String> =
        settings.people.iter().filter_map(|(name, person)| Some((name.clone(), person.slack.clone()?))).collect();
    let collectors: Vec<&str> = abilities.evidence.names().collect();
    let databases: Vec<&str> = settings.databases.keys().map(String::as_str).collect();
    let loaded = rules::load(
        &settings.rules.clone().into(),
        &rules::Context {
            mode: settings.mode,
            people: &people,
            itself: abilities.itself.as_ref(),
            alertmanager: !settings.alertmanager.urls.is_empty(),
            prometheus: settings.prometheus_url.is_some(),
            slack_channel: settings.slack.as_ref().map(|slack| slack.channel.as_str()),
            timezone: &settings.timezone_name,
            lost_after: settings.alertmanager.lost_after,
            actions: &abilities.actions,
            databases: &databases,
            collectors: &collectors,
        },
    )?;
    let policy = Policy::new(loaded.policy).map_err(|what| vec![Problem::error("rules", 0, 0, what)])?;
    Ok(LoadedPolicy { policy: Arc::new(policy), warnings: loaded.warnings, files: loaded.files })
}
