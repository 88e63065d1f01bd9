//! A request that comes again after somebody put back what it changed: a proxy that retries may send it so.

use super::{Hand, WITHIN};
use crate::support::{self, ControlPlane, TestNamespace, audit::AuditEvent};
use nightshift::model::{observation::Outcome, target::Kind};
use serde_json::{Value, json};

/// The very patch that was applied, sent once more.
async fn again(namespace: &TestNamespace<'_>, act: &AuditEvent) -> String {
    let patch = act.request_object.as_ref().expect("the audit log has the body").to_string();
    let object = format!("{}/{}", act.resource, act.name);
    let subresource = format!("--subresource={}", act.subresource);
    let mut arguments = vec!["patch", object.as_str(), "--type=json", "-p", patch.as_str()];
    if !act.subresource.is_empty() {
        arguments.push(&subresource);
    }
    let output = namespace.try_kubectl(&arguments).await;
    assert!(!output.status.success(), "it was taken once more: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Applies, puts `back`, and sends the same request again.
async fn is_refused(hand: &Hand, namespace: &TestNamespace<'_>, kind: &str, back: Value) {
    let before = namespace.object(kind, "web").await["spec"].clone();
    let (_, plan) = hand.plan().await;
    assert_eq!(hand.action.apply(&plan, WITHIN).await, Outcome::Applied);
    let acts = namespace.acts().await;
    assert_eq!(acts.len(), 1, "{acts:?}");
    assert_ne!(namespace.object(kind, "web").await["spec"], before);
    namespace.patch(kind, "web", &back).await;
    assert_eq!(namespace.object(kind, "web").await["spec"], before, "it is as the plan found it");
    let says = again(namespace, &acts[0]).await;
    assert!(says.contains("the server rejected our request due to an error in our request"), "{says}");
    assert_eq!(namespace.object(kind, "web").await["spec"], before);
}

#[tokio::test]
async fn a_flip_that_comes_again_after_somebody_flipped_back_is_refused() {
    if support::hermetic() {
        return;
    }
    let namespace = super::flip::blue_green(ControlPlane::shared().await, "flip_again").await;
    let hand = super::flip::flip(&namespace, json!({})).await;
    is_refused(&hand, &namespace, "service", json!({"spec": {"selector": {"version": "blue"}}})).await;
}

#[tokio::test]
async fn a_scale_that_comes_again_after_somebody_scaled_back_is_refused() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("scale_again").await;
    namespace.deployment("web", 2).ready().await;
    let with = json!({"replicas": "+2"});
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", with.clone()).await;
    is_refused(&hand, &namespace, "deployment", json!({"spec": {"replicas": 2}})).await;

    // The floor of an autoscaler, which has no generation either.
    let namespace = plane.namespace("floor_again").await;
    namespace.deployment("web", 2).ready().await;
    namespace.autoscaler("web", 2, 8).await;
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", with).await;
    is_refused(&hand, &namespace, "hpa", json!({"spec": {"minReplicas": 2}})).await;
}
