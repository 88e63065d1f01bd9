//! `kubernetes/delete_pod`: one pod that the workload owns, through the Eviction API.

use super::{Hand, WITHIN, changed_since};
use crate::support::{self, ControlPlane, TestNamespace, api_proxy::ApiProxy, wait_until};
use nightshift::model::{
    observation::{DryRun, Facts, Holds, Outcome, Proposed},
    target::Kind,
};
use serde_json::{Value, json};
use std::time::Duration;

async fn evict(namespace: &TestNamespace<'_>, kind: Kind, name: &str, pod: &str) -> Hand {
    let mut hand = Hand::new(namespace, "kubernetes/delete_pod", kind, name, Value::Null).await;
    hand.rung.member = Some(pod.to_owned());
    hand
}

async fn pods(namespace: &TestNamespace<'_>, app: &str) -> Vec<String> {
    let pods = namespace.list("pod", &format!("app={app}")).await;
    let live = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    live.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

async fn budget(namespace: &TestNamespace<'_>, app: &str, min_available: u32) {
    let budget = json!({"metadata": {"name": app}, "spec": {"minAvailable": min_available,
                        "selector": {"matchLabels": {"app": app}}}});
    namespace.create_object("pdb", &budget).await;
    namespace
        .until("pdb", app, Duration::from_secs(20), |pdb| {
            let seen = pdb["status"]["observedGeneration"] == pdb["metadata"]["generation"];
            if seen { Ok(()) } else { Err("its controller has not seen it".to_owned()) }
        })
        .await;
}

#[tokio::test]
async fn one_pod_is_evicted_once_and_another_is_made() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    for (kind, of) in [(Kind::Deployment, "deployment"), (Kind::StatefulSet, "statefulset")] {
        let namespace = plane.namespace(&format!("evict_{of}")).await;
        match kind {
            Kind::Deployment => namespace.deployment("web", 3).ready().await,
            Kind::StatefulSet | Kind::DaemonSet => namespace.stateful_set("web", 3).ready().await,
        };
        let pod = pods(&namespace, "web").await[1].clone();
        let hand = evict(&namespace, kind, "web", &pod).await;
        let (before, plan) = hand.plan().await;
        assert_eq!(before.disruption, None);
        assert_eq!(plan.proposal.summary, format!("eviction of pod {pod} (ready)"));
        assert_eq!(plan.proposal.effect.min_ready_after, Some(2));
        assert_eq!(hand.dry_run(&plan).await, DryRun::Accepted);
        assert_eq!(hand.holds(&plan).await, Holds::Yes);
        assert!(matches!(hand.read_back(&plan).await, Outcome::NotApplied { changed_since: false, .. }));
        assert_eq!(namespace.acts().await.len(), 0, "looking and dry runs take nothing away");

        assert_eq!(hand.apply(&plan).await, Outcome::Applied);
        assert_eq!(hand.read_back(&plan).await, Outcome::Applied);
        hand.until_well(&plan, &before).await;
        // A StatefulSet's new pod has the same name, and is left alone.
        let again = hand.apply(&plan).await;
        assert!(changed_since(&again), "{again:?}");
        assert!(matches!(hand.holds(&plan).await, Holds::Changed { .. }));
        let acts = namespace.acts().await;
        assert_eq!(acts.len(), 1, "{acts:?}");
        assert_eq!((acts[0].verb.as_str(), acts[0].subresource.as_str()), ("create", "eviction"));
        assert!(matches!(hand.undo(&plan, None).await, Proposed::Refused { .. }));
    }
}

#[tokio::test]
async fn a_lost_answer_to_an_eviction_is_read_back_without_a_second_one() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("evict_lost").await;
    namespace.deployment("web", 2).ready().await;
    let pod = pods(&namespace, "web").await[0].clone();
    let proxy = ApiProxy::start(plane);
    let kubeconfig = namespace.kubeconfig_through(proxy.address());
    let action = "kubernetes/delete_pod";
    let mut hand = Hand::through(&kubeconfig, &namespace, action, Kind::Deployment, "web", Value::Null).await;
    hand.rung.member = Some(pod);
    let (_, plan) = hand.plan().await;
    proxy.lose_next_act();
    let outcome = hand.action.apply(&plan, Duration::from_secs(3)).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(hand.read_back(&plan).await, Outcome::Applied);
    assert_eq!(namespace.acts().await.len(), 1);
}

#[tokio::test]
async fn a_budget_that_says_no_is_told_and_kept() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("evict_budget").await;
    namespace.deployment("web", 2).ready().await;
    budget(&namespace, "web", 2).await;
    let pod = pods(&namespace, "web").await[0].clone();
    let hand = evict(&namespace, Kind::Deployment, "web", &pod).await;
    let (facts, plan) = hand.plan().await;
    assert!(facts.disruption.as_ref().is_some_and(|says| says.contains("PodDisruptionBudget")), "{facts:?}");
    let (facts, holds) = hand.action.holds(&plan, hand.now, WITHIN).await.unwrap();
    assert_eq!(holds, Holds::Yes);
    assert!(facts.disruption.is_some());
    // Where it says no between the guards and the write, nothing happens either, and it is no change by somebody.
    let Outcome::NotApplied { why, changed_since: false } = hand.apply(&plan).await else { panic!() };
    assert!(why.starts_with("a PodDisruptionBudget does not allow it now: Cannot evict pod"), "{why}");
    assert!(matches!(hand.dry_run(&plan).await, DryRun::Rejected { .. }));
    assert_eq!(namespace.acts().await.len(), 0);

    // One more pod, and it says yes.
    namespace.patch("deployment", "web", &json!({"spec": {"replicas": 3}})).await;
    let plan = wait_until("the budget allows it", Duration::from_secs(20), async || {
        let (facts, plan) = hand.plan().await;
        facts.disruption.map_or(Ok(plan), Err)
    })
    .await;
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    assert_eq!(namespace.acts().await.len(), 1);
}

#[tokio::test]
async fn the_last_ready_pod_stays() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("evict_last").await;
    namespace.deployment("web", 2).ready().await;
    let names = pods(&namespace, "web").await;
    let hand = evict(&namespace, Kind::Deployment, "web", &names[0]).await;
    let (_, plan) = hand.plan().await;
    // The other one breaks between the plan and the write.
    namespace.patch("pod", &names[1], &json!({"metadata": {"labels": {"test/ready": "false"}}})).await;
    let only = format!("pod {} is the only one that is ready", names[0]);
    wait_until("the other one is broken", Duration::from_secs(20), async || match hand.observe().await.proposal {
        Proposed::Refused { why } if why == only => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let outcome = hand.apply(&plan).await;
    assert_eq!(outcome, Outcome::NotApplied { why: only, changed_since: true });
    assert_eq!(namespace.acts().await.len(), 0);

    // The broken one may go.
    let hand = evict(&namespace, Kind::Deployment, "web", &names[1]).await;
    let (before, plan) = hand.plan().await;
    assert_eq!(plan.proposal.summary, format!("eviction of pod {} (not ready)", names[1]));
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &Facts { ready: 2, ..before }).await;
}

#[tokio::test]
async fn a_label_never_names_a_pod_that_the_target_does_not_own() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("evict_foreign").await;
    namespace.deployment("web", 2).ready().await;
    namespace.deployment("other", 2).ready().await;
    // A pod with the right labels, and a controller of its own.
    let other = namespace.list("replicaset", "app=other").await[0]["metadata"].clone();
    let lookalike = json!({
        "metadata": {"name": "lookalike", "labels": {"app": "web", "test/ready": "true"},
                     "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": other["name"],
                                          "uid": other["uid"], "controller": true}]},
        "spec": {"containers": [{"name": "app", "image": "example.invalid/app:1"}]},
    });
    namespace.create_object("pod", &lookalike).await;
    let foreign = pods(&namespace, "other").await[0].clone();
    for name in [foreign.as_str(), "lookalike", "no-such-pod"] {
        let (_, why) = evict(&namespace, Kind::Deployment, "web", name).await.refusal().await;
        assert_eq!(why, format!("Deployment {}/web owns no pod {name}", namespace.name));
    }
    // Without the label there is nothing to choose.
    let hand = Hand::new(&namespace, "kubernetes/delete_pod", Kind::Deployment, "web", Value::Null).await;
    let problem = hand.action.observe(&hand.rung, &[], hand.now, WITHIN).await.err().unwrap();
    assert_eq!(problem, "the alert names no pod");
    assert_eq!(namespace.writes().await.len(), 0);
}

#[tokio::test]
async fn a_missing_right_to_evict_is_named() {
    if support::hermetic() {
        return;
    }
    let read_only = json!([
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]);
    let namespace = ControlPlane::shared().await.namespace_with_rules("evict_rights", read_only).await;
    namespace.deployment("web", 2).ready().await;
    let pod = pods(&namespace, "web").await[0].clone();
    let (_, why) = evict(&namespace, Kind::Deployment, "web", &pod).await.refusal().await;
    assert!(why.contains("verbs: [create], apiGroups: [\"\"], resources: [pods/eviction]"), "{why}");
}
