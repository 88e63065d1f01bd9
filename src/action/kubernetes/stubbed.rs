//! What the actions send, and what they make of every kind of answer, against a stub that keeps what it was asked.

use super::{flip::smoke::Smoker, register, workload::Itself};
use crate::{
    action::{Action, Registry},
    model::{
        mode::Mode,
        observation::{DryRun, Holds, Outcome, Proposed, TargetReading},
        plan::{Plan, Proposal},
        rung::{Bounds, IfIneffective, Rung, Verify},
        target::{Kind, Object, Target},
        time::{Micros, Span},
    },
    peer::{
        kubernetes::{Cluster, NOT_CONFIGURED},
        stub::{Asked, Stub, nobody},
    },
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub(super) const WITHIN: Duration = Duration::from_secs(2);
pub(super) const WEB: &str = "/apis/apps/v1/namespaces/production/deployments/web";
const HPAS: &str = "/apis/autoscaling/v2/namespaces/production/horizontalpodautoscalers";
pub(super) const TEST_FAILED: &str = "the server rejected our request due to an error in our request";

fn deployment(replicas: u32) -> Value {
    json!({
        "metadata": {"name": "web", "uid": "u1", "generation": 3, "resourceVersion": "7"},
        "spec": {"replicas": replicas, "strategy": {"type": "RollingUpdate"},
                 "template": {"metadata": {"annotations": {"a": "b"}}}},
        "status": {"observedGeneration": 3, "replicas": replicas, "updatedReplicas": replicas,
                   "readyReplicas": replicas, "availableReplicas": replicas}
    })
}

fn hpa(name: &str) -> Value {
    json!({"metadata": {"name": name, "uid": "h1", "resourceVersion": "8"},
           "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    "minReplicas": 2, "maxReplicas": 8}})
}

/// An API server with `web` of four pods and these autoscalers; writes are answered by `write`.
async fn server(hpas: Value, write: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Stub {
    Stub::start(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", WEB) => (200, deployment(4).to_string()),
        ("GET", path) if path == format!("{HPAS}/web") => (200, hpa("web").to_string()),
        ("GET", HPAS) => (200, json!({"metadata": {}, "items": hpas}).to_string()),
        ("PATCH", _) => write(asked),
        _ => (404, json!({"message": "not found"}).to_string()),
    })
    .await
}

pub(super) fn cluster(url: &str) -> Cluster {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Cluster::from_config(kube::Config::new(url.parse().unwrap())).unwrap()
}

pub(super) fn action(cluster: &Cluster, name: &str) -> Arc<dyn Action> {
    let mut registry = Registry::default();
    let itself = Itself { namespace: "nightshift".to_owned(), deployment: "nightshift".to_owned() };
    register(
        &mut registry,
        cluster,
        Some(&itself),
        &Smoker::connected(&["127.0.0.1".to_owned()], crate::peer::stub::http()),
    );
    registry.get(name).unwrap().clone()
}

pub(super) fn object(namespace: &str, kind: Kind, name: &str) -> Object {
    Object::Workload { namespace: namespace.to_owned(), kind, name: name.to_owned(), selector: None }
}

pub(super) fn rung(action: &str, with: Value) -> Rung {
    Rung {
        action: action.to_owned(),
        target: Target { name: "web".to_owned(), object: object("production", Kind::Deployment, "web") },
        with,
        mode: Mode::Auto,
        verify: Verify { settle: Span::ZERO, resolved_within: Span::ZERO, query: None },
        if_ineffective: IfIneffective::Keep,
        member: None,
        bounds: Some(Bounds { min: 2, max: 6, may_scale_to_zero: false }),
        evidence: Vec::new(),
    }
}

pub(super) async fn proposal(action: &dyn Action, rung: &Rung) -> Proposal {
    let now = Micros::parse("2026-03-01T02:12:09.5Z").unwrap();
    let observed = action.observe(rung, &[], now, WITHIN).await.unwrap();
    assert_eq!(observed.facts.observed_at, now);
    let Proposed::Made(proposal) = observed.proposal else { panic!("{:?}", observed.proposal) };
    *proposal
}

pub(super) fn seal(rung: &Rung, proposal: Proposal) -> Plan {
    Plan::seal(&rung.action, &rung.target, proposal, None, "rule", Micros(1))
}

async fn scale_plan(stub: &Stub) -> (Arc<dyn Action>, Plan) {
    let rung = rung("kubernetes/scale", json!({"replicas": "+1"}));
    let action = action(&cluster(&stub.url), "kubernetes/scale");
    let plan = seal(&rung, proposal(&*action, &rung).await);
    stub.asked().clear();
    (action, plan)
}

#[tokio::test]
async fn a_scale_is_one_patch_of_the_subresource_with_its_tests() {
    let stub = server(json!([]), |_| (200, "{}".to_owned())).await;
    let (action, plan) = scale_plan(&stub).await;
    assert_eq!(action.dry_run(&plan.target.object, &plan.proposal, WITHIN).await, Ok(DryRun::Accepted));
    assert_eq!(action.apply(&plan, WITHIN).await, Outcome::Applied);
    let asked = stub.asked().clone();
    let sent: Vec<&Asked> = asked.iter().filter(|asked| asked.method != "GET").collect();
    assert_eq!(sent.len(), 2);
    let same = json!([
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": "/spec/replicas", "value": 4},
        {"op": "add", "path": "/spec/replicas", "value": 5},
    ]);
    let mut written = same.clone();
    written.as_array_mut().unwrap().insert(0, json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}));
    let queries = [("fieldManager=nightshift&dryRun=All", same), ("fieldManager=nightshift", written)];
    for (asked, (query, same)) in sent.into_iter().zip(queries) {
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("PATCH", format!("{WEB}/scale").as_str()));
        assert_eq!((asked.content_type.as_str(), asked.query.as_str()), ("application/json-patch+json", query));
        assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), same);
    }
}

#[tokio::test]
async fn an_autoscalers_floor_is_one_patch_of_the_autoscaler() {
    let stub = server(json!([hpa("web")]), |_| (200, "{}".to_owned())).await;
    let (action, plan) = scale_plan(&stub).await;
    assert_eq!(action.apply(&plan, WITHIN).await, Outcome::Applied);
    let asked = stub.asked().clone();
    let sent: Vec<&Asked> = asked.iter().filter(|asked| asked.method != "GET").collect();
    assert_eq!((sent.len(), sent[0].path.as_str()), (1, format!("{HPAS}/web").as_str()));
    assert_eq!(
        serde_json::from_str::<Value>(&sent[0].body).unwrap(),
        json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": "8"},
            {"op": "test", "path": "/metadata/uid", "value": "h1"},
            {"op": "test", "path": "/spec/minReplicas", "value": 2},
            {"op": "add", "path": "/spec/minReplicas", "value": 5},
        ])
    );
}

#[tokio::test]
async fn a_restart_is_one_patch_of_the_annotation_at_the_decisions_time() {
    let stub = server(json!([]), |_| (200, "{}".to_owned())).await;
    let rung = rung("kubernetes/restart", Value::Null);
    let action = action(&cluster(&stub.url), "kubernetes/restart");
    let plan = seal(&rung, proposal(&*action, &rung).await);
    stub.asked().clear();
    assert_eq!(action.apply(&plan, WITHIN).await, Outcome::Applied);
    let asked = stub.asked().clone();
    let sent: Vec<&Asked> = asked.iter().filter(|asked| asked.method != "GET").collect();
    assert_eq!((sent.len(), sent[0].path.as_str()), (1, WEB));
    assert_eq!(
        serde_json::from_str::<Value>(&sent[0].body).unwrap(),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u1"},
            {"op": "test", "path": "/metadata/generation", "value": 3},
            {"op": "add", "path": "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt",
             "value": "2026-03-01T02:12:09Z"},
        ])
    );
}

#[tokio::test]
async fn every_answer_to_a_write_means_one_outcome_and_only_what_was_refused_is_sent_again() {
    // Status, message; what it means: applied, not applied (changed since), unknown.
    let (applied, unknown) = (Some(None), None);
    for (status, message, meaning) in [
        (200, "not even JSON", applied),
        (422, TEST_FAILED, Some(Some(true))),
        (409, "the object has been modified", Some(Some(true))),
        (404, "deployments.apps \"web\" not found", Some(Some(true))),
        (422, "ValidatingAdmissionPolicy 'few' denied request", Some(Some(false))),
        (403, "admission webhook \"few\" denied the request", Some(Some(false))),
        (429, "too many requests", Some(Some(false))),
        (500, "etcdserver: request timed out", unknown),
        (503, "", unknown),
        (504, "", unknown),
        (0, "", unknown),
    ] {
        let stub = server(json!([]), move |_| (status, json!({ "message": message }).to_string())).await;
        let (action, plan) = scale_plan(&stub).await;
        let outcome = action.apply(&plan, WITHIN).await;
        let was = match &outcome {
            Outcome::Applied | Outcome::Ended { .. } => Some(None),
            Outcome::NotApplied { changed_since, .. } => Some(Some(*changed_since)),
            Outcome::Unknown { .. } => None,
        };
        assert_eq!(was, meaning, "{status} {message}: {outcome:?}");
        // Of a version that never holds, as often as is allowed.
        let times = if status == 409 || message == TEST_FAILED { 3 } else { 1 };
        let sent = stub.asked().iter().filter(|asked| asked.method == "PATCH").count();
        assert_eq!(sent, times, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_unknown_within_the_deadline_and_one_that_is_gone_is_not() {
    let stub = server(json!([]), |_| {
        // In place, so that the rest of the runtime goes on.
        tokio::task::block_in_place(|| std::thread::sleep(Duration::from_secs(4)));
        (200, "{}".to_owned())
    })
    .await;
    let (action, plan) = scale_plan(&stub).await;
    let began = tokio::time::Instant::now();
    // Enough to send it on a busy machine, and far less than the server takes.
    let outcome = action.apply(&plan, Duration::from_millis(700)).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    let gone = super::scale::Scale::new(cluster(&nobody().await), None);
    let Outcome::NotApplied { why, changed_since: false } = gone.apply(&plan, WITHIN).await else { panic!() };
    assert!(why.contains("could not be reached"), "{why}");
    assert!(matches!(gone.read_back(&plan, WITHIN).await, Outcome::Unknown { .. }));
    let facts = crate::model::observation::Facts::of_nothing(Micros(0));
    assert!(matches!(gone.measure(&plan, &facts, WITHIN).await, TargetReading::Unread { .. }));
    assert!(gone.dry_run(&plan.target.object, &plan.proposal, WITHIN).await.is_err());
}

#[tokio::test]
async fn a_read_back_never_guesses() {
    for (now, generation, meaning) in [(5, 4, "applied"), (4, 3, "not applied"), (4, 5, "unknown"), (6, 4, "unknown")] {
        let stub = server(json!([]), |_| (200, String::new())).await;
        let (_, plan) = scale_plan(&stub).await;
        let later = Stub::start(move |_| {
            let mut object = deployment(now);
            object["metadata"]["generation"] = json!(generation);
            (200, object.to_string())
        })
        .await;
        let outcome = action(&cluster(&later.url), "kubernetes/scale").read_back(&plan, WITHIN).await;
        let was = match &outcome {
            Outcome::Applied | Outcome::Ended { .. } => "applied",
            Outcome::NotApplied { changed_since: false, .. } => "not applied",
            Outcome::NotApplied { .. } => "changed",
            Outcome::Unknown { .. } => "unknown",
        };
        assert_eq!(was, meaning, "{now} {generation}: {outcome:?}");
    }
}

#[tokio::test]
async fn two_autoscalers_and_keda_are_owners_and_a_namesake_holds_nothing() {
    let mut keda = hpa("keda-hpa-web");
    keda["metadata"]["ownerReferences"] = json!([{"kind": "ScaledObject", "name": "web"}]);
    for (hpas, owner) in [
        (json!([hpa("a"), hpa("b")]), "2 HorizontalPodAutoscalers at once (a, b)"),
        (json!([keda]), "KEDA ScaledObject web"),
    ] {
        let stub = server(hpas, |_| (200, String::new())).await;
        let action = action(&cluster(&stub.url), "kubernetes/scale");
        let rung = rung("kubernetes/scale", json!({"replicas": "+1"}));
        let observed = action.observe(&rung, &[], Micros(0), WITHIN).await.unwrap();
        assert_eq!(observed.facts.owner.as_deref(), Some(owner));
        assert!(matches!(observed.proposal, Proposed::Refused { .. }));
    }
    let stub = server(json!([]), |_| (200, String::new())).await;
    let (action, mut plan) = scale_plan(&stub).await;
    assert_eq!(action.holds(&plan, Micros(0), WITHIN).await.unwrap().1, Holds::Yes);
    plan.proposal.uid = "another".to_owned();
    let (_, holds) = action.holds(&plan, Micros(0), WITHIN).await.unwrap();
    assert_eq!(holds, Holds::Changed { difference: "it was deleted and made anew".to_owned() });
}

#[tokio::test]
async fn a_step_is_clamped_to_the_bounds_and_says_so() {
    let stub = server(json!([]), |_| (200, String::new())).await;
    let rung = rung("kubernetes/scale", json!({"replicas": "+100%"}));
    let action = action(&cluster(&stub.url), "kubernetes/scale");
    let proposal = proposal(&*action, &rung).await;
    assert_eq!(proposal.summary, "replicas 4 → 6 (8 were wanted, the bounds allow 6)");
    assert_eq!(proposal.undo_summary.as_deref(), Some("replicas back to 4"));
}

#[tokio::test]
async fn autoscalers_that_cannot_be_listed_are_not_taken_for_none() {
    let forbidden = r#"horizontalpodautoscalers.autoscaling is forbidden: User "n" cannot list resource"#;
    let stub = Stub::start(move |asked| match asked.path.as_str() {
        WEB => (200, deployment(4).to_string()),
        _ => (403, json!({ "message": forbidden }).to_string()),
    })
    .await;
    let rung = rung("kubernetes/scale", json!({"replicas": "+1"}));
    let action = action(&cluster(&stub.url), "kubernetes/scale");
    let problem = action.observe(&rung, &[], Micros(0), WITHIN).await.err().unwrap();
    assert!(problem.contains("verbs: [list]") && problem.contains("horizontalpodautoscalers"), "{problem}");
}

#[tokio::test]
async fn without_kubernetes_every_action_says_so() {
    for name in ["kubernetes/scale", "kubernetes/restart", "kubernetes/undo", "kubernetes/delete_pod"] {
        let mut rung = rung(name, json!({"replicas": 5}));
        if name == "kubernetes/undo" {
            rung.with = Value::Null;
        }
        rung.member = Some("web-1".to_owned());
        let observed = action(&Cluster::absent(), name).observe(&rung, &[], Micros(0), WITHIN).await;
        assert_eq!(observed.err().as_deref(), Some(NOT_CONFIGURED));
    }
}

#[test]
fn check_names_every_problem_at_once() {
    let scale = action(&Cluster::absent(), "kubernetes/scale");
    let web = object("production", Kind::Deployment, "web");
    let bounds = Some(Bounds { min: 2, max: 6, may_scale_to_zero: false });
    let good = json!({"replicas": "+2", "lease": "2h"});
    assert_eq!(scale.check(&good, &web, bounds), Vec::<String>::new());
    assert_eq!(scale.lease(&good), Some(Span::hours(2)));
    assert!(!scale.may_destroy(&good) && scale.may_destroy(&json!({"replicas": "-1"})) && scale.has_undo());
    let daemon = object("production", Kind::DaemonSet, "agent");
    let bad = json!({"replicas": "lots", "lease": "5", "downn": true});
    assert_eq!(scale.check(&bad, &daemon, None).len(), 5);
    assert_eq!(scale.check(&json!({"replicas": 9}), &web, bounds).len(), 1);
    assert_eq!(scale.check(&json!({"replicas": "+1", "down": true}), &web, bounds).len(), 1);
    let itself = object("nightshift", Kind::Deployment, "nightshift");
    for name in ["kubernetes/scale", "kubernetes/restart", "kubernetes/undo", "kubernetes/delete_pod"] {
        let with = if name == "kubernetes/scale" { good.clone() } else { Value::Null };
        let problems = action(&Cluster::absent(), name).check(&with, &itself, bounds);
        assert!(problems.len() == 1 && problems[0].contains("nightshift itself"), "{problems:?}");
    }
    for name in ["kubernetes/restart", "kubernetes/undo", "kubernetes/delete_pod"] {
        let problems = action(&Cluster::absent(), name).check(&json!({"graceful": true}), &Object::Nothing, None);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
