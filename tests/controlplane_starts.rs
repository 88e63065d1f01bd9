//! The control plane and the peers that other tests lean on do what those tests take for granted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::ControlPlane;
use support::namespace::condition_reason;

#[tokio::test]
async fn a_deployment_of_three_becomes_ready() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("becomes_ready").await;
    let deployment = namespace.deployment("web", 3).label("team", "shop").ready().await;
    assert_eq!(deployment["status"]["readyReplicas"], 3);
    assert_eq!(deployment["metadata"]["labels"]["team"], "shop");
    let said = namespace.kubectl(&["rollout", "status", "deployment/web", "--timeout=10s"]).await;
    assert!(said.contains("successfully rolled out"), "{said}");
}
