//! The rules that we ship are rules that we take, without a warning.

use crate::{none, top};
use nightshift::{
    action::{Registry, kubernetes, noop::Noop},
    config::show,
    model::{mode::Mode, problem::Problem, time::Span},
    peer::kubernetes::Cluster,
    rules::{Context, RulesSource, Statuspages, load},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// What somebody who set nothing up hears about these rules. Checking them asks no peer.
fn said(source: &RulesSource) -> Vec<String> {
    let mut actions = Registry::default();
    kubernetes::register(&mut actions, &Cluster::absent(), None, &kubernetes::flip::smoke::Smoker::unconnected(&[]));
    actions.add(Arc::new(Noop));
    let context = Context {
        mode: Mode::Shadow,
        approvers: &[],
        people: Some(&BTreeMap::new()),
        itself: None,
        alertmanager: false,
        prometheus: false,
        slack_channel: None,
        slack_buttons: false,
        incident_channels: None,
        security_channel: None,
        statuspage: Statuspages::NotSetUp,
        pagerduty: None,
        timezone: "UTC",
        unclean_starts: 3,
        lost_after: Span::minutes(30),
        actions: &actions,
        databases: Some(&[]),
        collectors: &["kubernetes/pods", "kubernetes/logs"],
    };
    let problems: Vec<Problem> = match load(source, &context) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    problems.iter().map(|one| show::problems(std::slice::from_ref(one), &BTreeMap::new(), show::Style::Plain)).collect()
}

#[test]
fn the_starter_rules_need_nothing_set_up() {
    none(&said(&RulesSource::Starter));
}

#[test]
fn the_folder_of_rules_is_a_set_of_rules() {
    none(&said(&RulesSource::Path(top().join("rules"))));
}

#[test]
fn rules_that_nobody_takes_are_seen() {
    let refused = Path::new("fixtures/refused/rules/06-unknown-action.yaml");
    assert!(!said(&RulesSource::Path(top().join(refused))).is_empty());
}
