//! Rules and deciding settings, made into the policy that decides; at the start and on every reload.

use super::world::Abilities;
use crate::{
    config::{
        Settings,
        settings::{self, RulesFrom, Slack},
        statuspage::sentences,
    },
    decide::{
        Policy,
        policy::{PagerDutyUse, Person, Rule, RungSpec},
    },
    model::{mode::Mode, problem::Problem, time::Span},
    rules::{self, StatusComponent, Statuspages},
};
use std::{collections::BTreeMap, sync::Arc};

/// A policy that may decide, and what was odd about its files.
pub struct LoadedPolicy {
    pub policy: Arc<Policy>,
    pub warnings: Vec<Problem>,
    pub files: Vec<String>,
}

/// What is wrong with rules whose settings were refused: judged as if every peer were set up, and everybody who is named
/// were there. What depends on the settings is told once they are right.
#[must_use]
pub fn problems_without_settings(rules: RulesFrom) -> Vec<Problem> {
    let abilities = Abilities::unknown();
    let collectors: Vec<&str> = abilities.evidence.names().collect();
    let context = rules::Context {
        mode: Mode::Auto,
        people: None,
        approvers: &[],
        itself: None,
        alertmanager: true,
        prometheus: true,
        slack_channel: Some("#any"),
        slack_buttons: false,
        incident_channels: None,
        security_channel: Some("#any"),
        statuspage: Statuspages::NotKnown,
        pagerduty: None,
        timezone: "UTC",
        lost_after: Span::ZERO,
        unclean_starts: 0,
        actions: &abilities.actions,
        collectors: &collectors,
        databases: None,
    };
    rules::load(&rules.into(), &context).map_or_else(|problems| problems, |loaded| loaded.warnings)
}

/// Reads the rules anew: all problems at once, or a policy.
pub fn load(settings: &Settings, abilities: &Abilities) -> Result<LoadedPolicy, Vec<Problem>> {
    let reached =
        |person: &settings::Person| Person { slack: person.slack.clone(), pagerduty: person.routing_key.is_some() };
    let people: BTreeMap<String, Person> =
        settings.people.iter().map(|(name, person)| (name.clone(), reached(person))).collect();
    let collectors: Vec<&str> = abilities.evidence.names().collect();
    let pagerduty = PagerDutyUse {
        pages: settings.pagerduty.routing_key.is_some(),
        asks: settings.pagerduty.token.is_some(),
        notes: settings.pagerduty.token.as_ref().is_some_and(|token| token.from.is_some()),
        ..PagerDutyUse::default()
    };
    let databases: Vec<&str> = settings.databases.keys().map(String::as_str).collect();
    let components = components(settings)?;
    let statuspage = match &settings.statuspage {
        Some(page) => Statuspages::SetUp { publish: page.publish, components: &components },
        None => Statuspages::NotSetUp,
    };
    let loaded = rules::load(
        &settings.rules.clone().into(),
        &rules::Context {
            mode: settings.mode,
            people: Some(&people),
            approvers: &settings.approvers,
            itself: abilities.itself.as_ref(),
            alertmanager: !settings.alertmanager.urls.is_empty(),
            prometheus: settings.prometheus_url.is_some(),
            slack_channel: settings.slack.as_ref().map(|slack| slack.channel.as_str()),
            slack_buttons: settings.slack.as_ref().is_some_and(Slack::takes_clicks),
            incident_channels: settings.slack.as_ref().and_then(|slack| slack.incident_channels.as_ref()),
            security_channel: settings.security_channel.as_deref(),
            statuspage,
            pagerduty: Some(&pagerduty),
            timezone: &settings.timezone_name,
            lost_after: settings.alertmanager.lost_after,
            unclean_starts: settings.unclean_starts,
            actions: &abilities.actions,
            databases: Some(&databases),
            collectors: &collectors,
        },
    )?;
    let policy = Policy::new(loaded.policy).map_err(|what| vec![Problem::error("rules", 0, 0, what)])?;
    let mut warnings = loaded.warnings;
    if !abilities.sees_kubernetes {
        warnings.extend(without_a_cluster(&policy, loaded.files.first().map_or("rules", String::as_str)));
    }
    Ok(LoadedPolicy { policy: Arc::new(policy), warnings, files: loaded.files })
}

/// What the owners of the status page's components wrote, read anew with the rules.
fn components(settings: &Settings) -> Result<BTreeMap<String, StatusComponent>, Vec<Problem>> {
    let mut components = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, component) in settings.statuspage.iter().flat_map(|page| &page.components) {
        match sentences(&component.sentences_file) {
            Ok(sentences) => {
                components.insert(name.clone(), StatusComponent { sentences, shows: component.shows.clone() });
            }
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok(components) } else { Err(problems) }
}

/// Rules that would act on Kubernetes, and nothing says where it is: they will hand over to people each time.
fn without_a_cluster(policy: &Policy, file: &str) -> Option<Problem> {
    let acts = |rule: &&Rule| {
        let mode = |rung: &RungSpec| rung.mode.unwrap_or(Mode::Auto).min(rule.mode).min(policy.spec.mode);
        rule.remediate.iter().any(|rung| rung.action.starts_with("kubernetes/") && mode(rung) != Mode::Shadow)
    };
    let mut rules = policy.spec.rules.iter().filter(acts);
    let first = rules.next()?;
    let more = match rules.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = format!("rule `{}`{more} acts on Kubernetes, and nothing says where the cluster is", first.name);
    let hint = "set kubernetes.kubeconfig in nightshift.yaml, or run it in the cluster: until then nothing is done";
    Some(Problem::warning(file, 0, 0, what).hint(hint))
}
