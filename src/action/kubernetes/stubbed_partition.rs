//! A rollback of a StatefulSet whose partition keeps pods as they are, against the stub.

use super::stubbed::{WITHIN, action, cluster, proposal, rung, seal};
use crate::{
    model::{
        observation::{Facts, Holds, Proposed, TargetReading},
        rung::Rung,
        target::{Kind, Target},
        time::Micros,
    },
    peer::stub::Stub,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const SET: &str = "/apis/apps/v1/namespaces/production/statefulsets/db";
const REVISIONS: &str = "/apis/apps/v1/namespaces/production/controllerrevisions";

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

/// All three pods run revision 2, which is bad. `written`: it has the template of revision 1 since.
fn stateful_set(partition: u32, written: bool) -> Value {
    let (image, generation, update) = if written { ("app:1", 4, "db-1") } else { ("app:2", 3, "db-2") };
    json!({
        "metadata": {"name": "db", "uid": "u1", "generation": generation},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "db"}}, "template": template(image),
                 "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}},
        "status": {"observedGeneration": generation, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3,
                   "currentReplicas": 3, "updatedReplicas": if written { 0 } else { 3 },
                   "currentRevision": "db-2", "updateRevision": update}
    })
}

fn revision(number: i64) -> Value {
    json!({
        "metadata": {"name": format!("db-{number}"), "uid": format!("r{number}"),
                     "creationTimestamp": format!("2026-03-01T0{number}:00:00Z"),
                     "ownerReferences": [{"kind": "StatefulSet", "name": "db", "uid": "u1", "controller": true}]},
        "revision": number,
        "data": {"spec": {"template": template(&format!("app:{number}"))}}
    })
}

#[tokio::test]
async fn a_rollback_that_a_partition_keeps_from_pods_is_refused_and_never_told_as_done() {
    let shown = Arc::new(Mutex::new(stateful_set(0, false)));
    let set = Arc::clone(&shown);
    let stub = Stub::start(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", SET) => (200, set.lock().unwrap().to_string()),
        ("GET", REVISIONS) => (200, json!({"metadata": {}, "items": [revision(1), revision(2)]}).to_string()),
        _ => (404, json!({"message": "not found"}).to_string()),
    })
    .await;
    let object = super::stubbed::object("production", Kind::StatefulSet, "db");
    let rung = Rung {
        target: Target { name: "db".into(), object },
        bounds: None,
        ..rung("kubernetes/undo", json!({"to": "previous"}))
    };
    let action = action(&cluster(&stub.url), "kubernetes/undo");
    let plan = seal(&rung, proposal(&*action, &rung).await);
    assert_eq!(plan.proposal.summary, "revision 2 → 1 (app: app:2 → app:1)");

    // A manifest that keeps `partition: 3`, so that every rollout begins by hand.
    *shown.lock().unwrap() = stateful_set(3, false);
    let why = "its partition keeps 3 of 3 pods at revision db-2: they would not be rolled back".to_owned();
    let observed = action.observe(&rung, &[], Micros(0), WITHIN).await.unwrap();
    assert_eq!(observed.proposal, Proposed::Refused { why: why.clone() });
    assert_eq!(action.holds(&plan, Micros(0), WITHIN).await.unwrap().1, Holds::Changed { difference: why });
    // Written all the same: updatedReplicas is 0, and all three pods run app:2 for ever.
    *shown.lock().unwrap() = stateful_set(3, true);
    let before = Facts { ready: 3, ..Facts::of_nothing(Micros(0)) };
    let says = "its partition keeps 3 of 3 pods at revision db-2".to_owned();
    assert_eq!(action.measure(&plan, &before, WITHIN).await, TargetReading::NotYet { says });

    // A canary that began at pod 2: the others run revision 1 already, and it goes back to that.
    let mut canary = stateful_set(2, false);
    canary["status"]["currentRevision"] = json!("db-1");
    *shown.lock().unwrap() = canary;
    let plan = seal(&rung, proposal(&*action, &rung).await);
    let mut done = stateful_set(2, true);
    done["status"]["currentRevision"] = json!("db-1");
    done["status"]["updatedReplicas"] = json!(3);
    *shown.lock().unwrap() = done;
    let reading = action.measure(&plan, &before, WITHIN).await;
    assert!(matches!(reading, TargetReading::Well { .. }), "{reading:?}");
}
