//! An admin listener beside the test: a real engine on the memory journal, and a step that waits for an approval.

use super::{AdminState, Facts, IN_FLIGHT_BYTES, Reloaded};
use crate::{
    decide::policy::{Choice, Policy},
    engine::testing::{Bench, MORNING, firing, policy, rule},
    http::{
        api_auth::{ApiAuth, Right, Rights},
        limits::InFlight,
        reloadable::Reloadable,
    },
    model::{
        firing::{Firing, FiringAnswer},
        id::{Fingerprint, IncidentId, StepId},
        input::Input,
        matcher::Matcher,
        mode::Mode,
        observation::{Facts as Seen, Moment, Observation, Proposed},
        plan::{Effect, Proposal, Replicas},
        problem::Problem,
        rung::Bounds,
        target::{Kind, Object},
        time::{Micros, Span},
    },
    telemetry::{
        metrics::{Metrics, Words},
        notices::Notices,
    },
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// Rules that ask: `slow` scales one Deployment, `quiet` matches nothing of these tests.
pub(crate) fn asking() -> Arc<Policy> {
    let mut slow = rule("slow", Mode::Ask, Some("kubernetes/scale"));
    slow.matchers = vec![Matcher::parse("alertname=\"Slow\"").unwrap()];
    slow.severity = Some("P1".to_owned());
    slow.service = Some("claims".to_owned());
    let mut quiet = rule("quiet", Mode::Auto, None);
    quiet.matchers = vec![Matcher::parse("env=~\"test|dev\"").unwrap()];
    let mut spec = policy(vec![quiet, slow]).spec.clone();
    let object = Object::Workload {
        namespace: "production".to_owned(),
        kind: Kind::Deployment,
        name: "web".to_owned(),
        selector: None,
    };
    let target = spec.targets.get_mut("web").unwrap();
    target.choice = Choice::One { object };
    target.bounds = Some(Bounds { min: 2, max: 20, may_scale_to_zero: false });
    spec.settle_after_start = Span::ZERO;
    Arc::new(Policy::new(spec).unwrap())
}

/// The token of that name, with the rights.
pub(crate) fn tokens(rights: &[(&str, &[Right])]) -> ApiAuth {
    let token =
        |(name, may): &(&str, &[Right])| ((*name).to_owned(), format!("secret-of-{name}").into(), Rights::of(may));
    ApiAuth::with_tokens(rights.iter().map(token).collect()).unwrap()
}

pub(crate) fn admin(bench: &Bench, auth: ApiAuth) -> AdminState {
    AdminState {
        engine: bench.handle.clone(),
        journal: Arc::new(bench.journal.clone()),
        metrics: Metrics::new("0.0.0", MORNING, Words::default()),
        auth: Arc::new(Reloadable::new(auth)),
        reload: Arc::new(|by| {
            Box::pin(async move {
                if by.ends_with("clumsy") {
                    return Err(vec![Problem::error("r.yaml", 3, 1, "odd")]);
                }
                Ok(Reloaded { policy: "ab".to_owned(), rules: 2, warnings: Vec::new() })
            })
        }),
        pause_file: None,
        facts: Arc::new(Facts {
            version: "0.0.0".to_owned(),
            started_at: MORNING,
            replica: "one".to_owned(),
            journal: "memory".to_owned(),
            rules: "rules/".to_owned(),
            webhooks: "127.0.0.1:9393".to_owned(),
            admin: "127.0.0.1:9394".to_owned(),
            peers: Vec::new(),
        }),
        slack_socket: None,
        notices: Notices::default(),
        in_flight: InFlight::new(IN_FLIGHT_BYTES),
    }
}

/// `Slow` fires, with a label that would steer a terminal; its step is planned.
pub(crate) async fn slow_fires(bench: &Bench) -> StepId {
    let Input::Alert(mut alert) = firing("Slow", MORNING) else { unreachable!() };
    alert.fingerprint = Fingerprint::new("00000000000000aa");
    alert.labels.insert("env".to_owned(), "prod\u{1b}[31m".to_owned());
    bench.handle.intake(vec![Input::Alert(alert)]).await.unwrap();
    StepId { incident: IncidentId(1), number: 1 }
}

/// It is seen with 4 replicas, and 6 are proposed.
pub(crate) async fn it_is_observed(bench: &Bench, step: StepId, replicas: u32) {
    let now: Micros = bench.handle.clock().now();
    let print = Fingerprint::new("00000000000000aa");
    let listed = Firing::Active { starts_at: MORNING };
    let proposal = Proposal {
        uid: "uid-1".to_owned(),
        generation: 7,
        from: json!(replicas),
        to: json!(replicas + 2),
        undo: json!(replicas),
        precondition: json!({}),
        effect: Effect {
            replicas: Some(Replicas { from: replicas, to: replicas + 2 }),
            min_ready_after: None,
            touches: vec!["spec.replicas".to_owned()],
            destroys: false,
            runs: None,
        },
        summary: format!("replicas {replicas} → {}", replicas + 2),
        undo_summary: Some(format!("replicas back to {replicas}")),
    };
    let mut facts = Seen::of_nothing(now);
    (facts.uid, facts.generation, facts.ready, facts.replicas) = ("uid-1".to_owned(), 7, replicas, Some(replicas));
    let observation = Observation {
        facts,
        proposal: Proposed::Made(Box::new(proposal)),
        holds: None,
        firing: FiringAnswer::Answered { at: now, alerts: BTreeMap::from([(print.clone(), listed)]) },
        delivered: BTreeMap::from([(print, now)]),
        dry_run: None,
    };
    let input = Input::Observed { step, moment: Moment::ForPlan, result: Ok(Box::new(observation)) };
    bench.handle.result(input).await.unwrap();
}
