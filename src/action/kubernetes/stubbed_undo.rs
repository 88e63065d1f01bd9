//! What a rollback and an eviction send, and what they make of odd answers, against the stub.

use super::stubbed::{TEST_FAILED, WEB, WITHIN, action, cluster, proposal, rung, seal};
use crate::{
    action::Action,
    model::{
        observation::{DryRun, Facts, Holds, Outcome, Proposed, TargetReading},
        plan::Plan,
        time::Micros,
    },
    peer::stub::{Asked, Stub, nobody},
};
use serde_json::{Value, json};
use std::sync::Arc;

const SETS: &str = "/apis/apps/v1/namespaces/production/replicasets";
const PODS: &str = "/api/v1/namespaces/production/pods";
const BUDGET: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn deployment(image: &str, generation: i64) -> Value {
    json!({
        "metadata": {"name": "web", "uid": "u1", "generation": generation,
                     "annotations": {"kubernetes.io/change-cause": "two", "owner": "team"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template(image),
                 "strategy": {"type": "RollingUpdate"}},
        "status": {"observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
                   "availableReplicas": 2}
    })
}

fn set(revision: i64, owner: &str, image: &str) -> Value {
    let mut template = template(image);
    template["metadata"]["labels"]["pod-template-hash"] = json!("abc");
    json!({
        "metadata": {"name": format!("web-{revision}"), "uid": format!("r{revision}"),
                     "creationTimestamp": format!("2026-03-01T0{revision}:00:00Z"),
                     "annotations": {"deployment.kubernetes.io/revision": revision.to_string(),
                                     "kubernetes.io/change-cause": "one"},
                     "ownerReferences": [{"kind": "Deployment", "name": "web", "uid": owner, "controller": true}]},
        "spec": {"template": template}
    })
}

fn pod(name: &str, ready: bool, owner: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("p-{name}"),
                     "ownerReferences": [{"kind": "ReplicaSet", "name": "web-2", "uid": owner, "controller": true}]},
        "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}
    })
}

fn list(items: &Value) -> (u16, String) {
    (200, json!({"metadata": {}, "items": items}).to_string())
}

/// `web` with the second of two revisions, and a third ReplicaSet of a namesake that is gone.
async fn server(write: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Stub {
    let sets = json!([set(1, "u1", "app:1"), set(2, "u1", "app:2"), set(9, "u0", "app:9")]);
    let pods = json!([pod("web-a", true, "r2"), pod("web-b", true, "r2"), pod("web-z", true, "r9")]);
    Stub::start(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", WEB) => (200, deployment("app:2", 3).to_string()),
        ("GET", SETS) => list(&sets),
        ("GET", PODS) => list(&pods),
        ("PATCH" | "POST", _) => write(asked),
        _ => (404, json!({"message": "not found"}).to_string()),
    })
    .await
}

async fn undo_plan(stub: &Stub) -> (Arc<dyn Action>, Plan) {
    let rung = rung("kubernetes/undo", json!({"to": "previous"}));
    let action = action(&cluster(&stub.url), "kubernetes/undo");
    let plan = seal(&rung, proposal(&*action, &rung).await);
    stub.asked().clear();
    (action, plan)
}

fn writes(stub: &Stub) -> Vec<Asked> {
    stub.asked().iter().filter(|asked| asked.method != "GET").cloned().collect()
}

#[tokio::test]
async fn a_rollback_is_one_patch_of_the_template_with_its_tests() {
    let stub = server(|_| (200, "{}".to_owned())).await;
    let (action, plan) = undo_plan(&stub).await;
    assert_eq!(plan.proposal.summary, "revision 2 → 1 (app: app:2 → app:1)", "what another owns is no revision");
    assert_eq!(action.dry_run(&plan.target.object, &plan.proposal, WITHIN).await, Ok(DryRun::Accepted));
    assert_eq!(action.apply(&plan, WITHIN).await, Outcome::Applied);
    let sent = writes(&stub);
    assert_eq!(sent.len(), 2);
    let same = json!([
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": "/metadata/generation", "value": 3},
        {"op": "replace", "path": "/spec/template", "value": template("app:1")},
        {"op": "add", "path": "/metadata/annotations/kubernetes.io~1change-cause", "value": "one"},
    ]);
    for (asked, query) in sent.iter().zip(["fieldManager=nightshift&dryRun=All", "fieldManager=nightshift"]) {
        assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.query.as_str()), ("PATCH", WEB, query));
        assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), same);
    }
}

#[tokio::test]
async fn every_answer_to_a_rollback_means_one_outcome_and_is_one_attempt() {
    let (applied, unknown) = (Some(None), None);
    for (status, message, meaning) in [
        (200, "not even JSON", applied),
        (422, TEST_FAILED, Some(Some(true))),
        (404, "deployments.apps \"web\" not found", Some(Some(true))),
        (422, "Deployment.apps \"web\" is invalid", Some(Some(false))),
        (403, "admission webhook denied the request", Some(Some(false))),
        (500, "etcdserver: request timed out", unknown),
        (0, "", unknown),
    ] {
        let stub = server(move |_| (status, json!({ "message": message }).to_string())).await;
        let (action, plan) = undo_plan(&stub).await;
        let outcome = action.apply(&plan, WITHIN).await;
        let was = match &outcome {
            Outcome::Applied | Outcome::Ended { .. } => Some(None),
            Outcome::NotApplied { changed_since, .. } => Some(Some(*changed_since)),
            Outcome::Unknown { .. } => None,
        };
        assert_eq!(was, meaning, "{status} {message}: {outcome:?}");
        assert_eq!(writes(&stub).len(), 1, "{status}: one attempt");
    }
}

#[tokio::test]
async fn a_rollback_is_read_back_without_guessing() {
    for (image, generation, meaning) in
        [("app:1", 4, "applied"), ("app:2", 3, "not applied"), ("app:2", 5, "unknown"), ("app:3", 4, "unknown")]
    {
        let stub = server(|_| (200, String::new())).await;
        let (_, plan) = undo_plan(&stub).await;
        let later = Stub::start(move |_| (200, deployment(image, generation).to_string())).await;
        let outcome = action(&cluster(&later.url), "kubernetes/undo").read_back(&plan, WITHIN).await;
        let was = match &outcome {
            Outcome::Applied | Outcome::Ended { .. } => "applied",
            Outcome::NotApplied { changed_since: false, .. } => "not applied",
            Outcome::NotApplied { .. } => "changed",
            Outcome::Unknown { .. } => "unknown",
        };
        assert_eq!(was, meaning, "{image} {generation}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_rollback_or_eviction_that_cannot_look_once_more_sends_nothing() {
    let stub = server(|_| (200, "{}".to_owned())).await;
    let (_, plan) = undo_plan(&stub).await;
    let (_, eviction) = eviction_plan(&stub, "web-a").await;
    let gone = cluster(&nobody().await);
    let facts = Facts::of_nothing(Micros(0));
    for (name, plan) in [("kubernetes/undo", plan), ("kubernetes/delete_pod", eviction)] {
        let action = action(&gone, name);
        let Outcome::NotApplied { why, changed_since: false } = action.apply(&plan, WITHIN).await else { panic!() };
        assert!(why.contains("could not be reached"), "{why}");
        assert!(matches!(action.read_back(&plan, WITHIN).await, Outcome::Unknown { .. }));
        assert!(matches!(action.measure(&plan, &facts, WITHIN).await, TargetReading::Unread { .. }));
        assert!(action.dry_run(&plan.target.object, &plan.proposal, WITHIN).await.is_err());
    }
}

#[tokio::test]
async fn revisions_that_cannot_be_listed_are_not_taken_for_none() {
    let forbidden = r#"replicasets.apps is forbidden: User "n" cannot list resource"#;
    let stub = Stub::start(move |asked| match asked.path.as_str() {
        WEB => (200, deployment("app:2", 3).to_string()),
        _ => (403, json!({ "message": forbidden }).to_string()),
    })
    .await;
    let rung = rung("kubernetes/undo", Value::Null);
    let problem =
        action(&cluster(&stub.url), "kubernetes/undo").observe(&rung, &[], Micros(0), WITHIN).await.err().unwrap();
    assert!(problem.contains("verbs: [list]") && problem.contains("replicasets"), "{problem}");
}

async fn eviction_plan(stub: &Stub, pod: &str) -> (Arc<dyn Action>, Plan) {
    let mut rung = rung("kubernetes/delete_pod", Value::Null);
    rung.member = Some(pod.to_owned());
    let action = action(&cluster(&stub.url), "kubernetes/delete_pod");
    let plan = seal(&rung, proposal(&*action, &rung).await);
    stub.asked().clear();
    (action, plan)
}

#[tokio::test]
async fn an_eviction_is_one_request_that_names_the_pods_uid() {
    let stub = server(|_| (201, "{}".to_owned())).await;
    let (action, plan) = eviction_plan(&stub, "web-a").await;
    assert_eq!(plan.proposal.effect.min_ready_after, Some(1), "the pod of another controller is not counted");
    assert_eq!(action.apply(&plan, WITHIN).await, Outcome::Applied);
    let sent = writes(&stub);
    assert_eq!((sent.len(), sent[0].path.as_str()), (1, format!("{PODS}/web-a/eviction").as_str()));
    assert_eq!((sent[0].method.as_str(), sent[0].query.as_str()), ("POST", "fieldManager=nightshift"));
    assert_eq!(
        serde_json::from_str::<Value>(&sent[0].body).unwrap(),
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-a", "namespace": "production"},
               "deleteOptions": {"preconditions": {"uid": "p-web-a"}}})
    );
}

#[tokio::test]
async fn looking_at_an_eviction_asks_by_a_dry_run_and_takes_nothing_away() {
    let stub = server(|_| (429, json!({ "message": BUDGET }).to_string())).await;
    let mut rung = rung("kubernetes/delete_pod", Value::Null);
    rung.member = Some("web-a".to_owned());
    let action = action(&cluster(&stub.url), "kubernetes/delete_pod");
    let observed = action.observe(&rung, &[], Micros(0), WITHIN).await.unwrap();
    assert!(matches!(observed.proposal, Proposed::Made(_)));
    assert!(observed.facts.disruption.unwrap().ends_with(BUDGET));
    let sent = writes(&stub);
    assert!(sent.len() == 1 && sent[0].query.contains("dryRun=All"), "{sent:?}");

    rung.member = Some("web-z".to_owned());
    let observed = action.observe(&rung, &[], Micros(0), WITHIN).await.unwrap();
    let why = "Deployment production/web owns no pod web-z".to_owned();
    assert_eq!(observed.proposal, Proposed::Refused { why });
    assert_eq!(writes(&stub).len(), 1, "what is not the target's is not asked about");
}

#[tokio::test]
async fn every_answer_to_an_eviction_means_one_outcome_and_is_one_attempt() {
    for (status, message, meaning) in [
        (201, "", "applied"),
        (429, BUDGET, "not applied"),
        (404, "pods \"web-a\" not found", "changed"),
        (409, "the UID in the precondition does not match", "changed"),
        (500, "This pod has more than one PodDisruptionBudget", "unknown"),
        (0, "", "unknown"),
    ] {
        let stub = server(move |asked| match asked.query.contains("dryRun") {
            true => (201, "{}".to_owned()),
            false => (status, json!({ "message": message }).to_string()),
        })
        .await;
        let (action, plan) = eviction_plan(&stub, "web-a").await;
        let outcome = action.apply(&plan, WITHIN).await;
        let was = match &outcome {
            Outcome::Applied | Outcome::Ended { .. } => "applied",
            Outcome::NotApplied { changed_since: false, .. } => "not applied",
            Outcome::NotApplied { .. } => "changed",
            Outcome::Unknown { .. } => "unknown",
        };
        assert_eq!(was, meaning, "{status} {message}: {outcome:?}");
        assert_eq!(writes(&stub).len(), 1, "{status}: one attempt");
        // The pod is there all the while: what was not answered did not happen.
        assert!(matches!(action.read_back(&plan, WITHIN).await, Outcome::NotApplied { changed_since: false, .. }));
        assert_eq!(action.holds(&plan, Micros(0), WITHIN).await.unwrap().1, Holds::Yes);
    }
}
