//! What becomes of a flip when the world goes on: an autoscaler, endpoints of others, deploys before it.

use crate::{
    action::{
        Action,
        kubernetes::stubbed::{WITHIN, action, cluster, proposal, rung, seal},
    },
    model::{
        observation::{Facts, Proposed, TargetReading},
        plan::Plan,
        rung::Rung,
        target::{Object, Target},
        time::Micros,
    },
    peer::stub::Stub,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const NAMESPACE: &str = "/api/v1/namespaces/production";
const SERVICE: &str = "/api/v1/namespaces/production/services/web";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/production/endpointslices";
const APPS: &str = "/apis/apps/v1/namespaces/production";

#[derive(Clone)]
struct World {
    color: &'static str,
    blue: u32,
    green: u32,
    strays: Vec<Value>,
    /// Of blue, besides the current one.
    older_sets: Vec<Value>,
}

fn template(color: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"version": color}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn deployment(color: &str, count: u32) -> Value {
    json!({
        "metadata": {"name": format!("web-{color}"), "uid": format!("d-{color}"), "generation": 1},
        "spec": {"replicas": count, "selector": {"matchLabels": {"version": color}}, "template": template(color, "app:2")},
        "status": {"observedGeneration": 1, "replicas": count, "updatedReplicas": count, "readyReplicas": count,
                   "availableReplicas": count}
    })
}

fn set(color: &str) -> Value {
    json!({
        "metadata": {"name": format!("rs-{color}"), "uid": format!("r-{color}"), "creationTimestamp": "2026-03-01T02:00:00Z",
                     "annotations": {"deployment.kubernetes.io/revision": "4"},
                     "ownerReferences": [{"kind": "Deployment", "uid": format!("d-{color}"), "controller": true}]},
        "spec": {"template": template(color, "app:2")}
    })
}

fn pods(color: &str, count: u32) -> Value {
    let one = |number: u32| {
        json!({
            "metadata": {"name": format!("pod-{color}-{number}"), "uid": format!("p-{color}-{number}"),
                         "ownerReferences": [{"kind": "ReplicaSet", "uid": format!("r-{color}"), "controller": true}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}
        })
    };
    (0..count).map(one).collect()
}

fn endpoints(world: &World) -> Value {
    let count = if world.color == "green" { world.green } else { world.blue };
    let one = |number: u32| {
        json!({"addresses": [format!("10.0.0.{number}")], "conditions": {"ready": true},
               "targetRef": {"kind": "Pod", "name": format!("pod-{}-{number}", world.color),
                             "uid": format!("p-{}-{number}", world.color)}})
    };
    (0..count).map(one).chain(world.strays.iter().cloned()).collect()
}

async fn server(world: Arc<Mutex<World>>) -> Stub {
    let list = |items: Value| (200, json!({"metadata": {}, "items": items}).to_string());
    Stub::start(move |asked| {
        let world = world.lock().unwrap().clone();
        let (color, count) = if asked.query.contains("green") { ("green", world.green) } else { ("blue", world.blue) };
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", SERVICE) => {
                let selector = json!({"app": "web", "version": world.color});
                let metadata = json!({"name": "web", "uid": "s1", "resourceVersion": "7"});
                (200, json!({"metadata": metadata, "spec": {"selector": selector}}).to_string())
            }
            ("GET", SLICES) => list(json!([{"endpoints": endpoints(&world)}])),
            ("GET", path) if path == format!("{NAMESPACE}/pods") => list(pods(color, count)),
            ("GET", path) if path == format!("{APPS}/replicasets") => {
                list([set("blue"), set("green")].into_iter().chain(world.older_sets.iter().cloned()).collect())
            }
            ("GET", path) if path == format!("{APPS}/deployments/web-blue") => {
                (200, deployment("blue", world.blue).to_string())
            }
            ("GET", path) if path == format!("{APPS}/deployments/web-green") => {
                (200, deployment("green", world.green).to_string())
            }
            ("PATCH", _) => (200, "{}".to_owned()),
            _ => (404, json!({"message": "not found"}).to_string()),
        }
    })
    .await
}

fn flip_rung() -> Rung {
    let object = Object::BlueGreen {
        namespace: "production".into(),
        service: "web".into(),
        selector: "version".into(),
        colors: ["blue".into(), "green".into()],
        deployment: "web-{color}".into(),
    };
    Rung {
        target: Target { name: "traffic".into(), object },
        bounds: None,
        ..rung("kubernetes/flip", json!({"watch": "5m"}))
    }
}

async fn flip_plan(stub: &Stub) -> (Arc<dyn Action>, Plan) {
    let rung = flip_rung();
    let action = action(&cluster(&stub.url), "kubernetes/flip");
    let plan = seal(&rung, proposal(&*action, &rung).await);
    (action, plan)
}

fn world() -> World {
    World { color: "blue", blue: 10, green: 10, strays: Vec::new(), older_sets: Vec::new() }
}

#[tokio::test]
async fn a_new_colour_that_was_scaled_in_by_one_and_is_well_is_not_taken_back() {
    let world = Arc::new(Mutex::new(world()));
    let stub = server(world.clone()).await;
    let (action, plan) = flip_plan(&stub).await;
    // The flip went well; minutes later an autoscaler asks green for nine pods in place of ten: all nine are ready.
    {
        let mut world = world.lock().unwrap();
        (world.color, world.green) = ("green", 9);
    }
    let reading = action.measure(&plan, &Facts::of_nothing(Micros(0)), WITHIN).await;
    assert_eq!(reading, TargetReading::Watched { says: "traffic goes to 9 ready pods of green".to_owned() });
    // Scaled to nothing, it is not well.
    world.lock().unwrap().green = 0;
    let reading = action.measure(&plan, &Facts::of_nothing(Micros(0)), WITHIN).await;
    assert!(matches!(reading, TargetReading::Broken { .. }), "{reading:?}");
}

/// What was wrong before the flip is no failure of the new colour.
#[tokio::test]
async fn an_endpoint_that_was_there_before_the_flip_does_not_take_it_back() {
    let stray = json!({"addresses": ["192.0.2.7"], "conditions": {"ready": true}});
    let world = Arc::new(Mutex::new(World { strays: vec![stray], ..world() }));
    let stub = server(world.clone()).await;
    // The Service has an endpoint of a hand-made EndpointSlice.
    let (action, plan) = flip_plan(&stub).await;
    world.lock().unwrap().color = "green";
    let reading = action.measure(&plan, &Facts::of_nothing(Micros(0)), WITHIN).await;
    assert_eq!(reading, TargetReading::Watched { says: "traffic goes to 10 ready pods of green".to_owned() });
    // It is no pod of green: it does not stand for one that is missing. And another one came with the flip.
    world.lock().unwrap().strays.push(json!({"addresses": ["192.0.2.8"], "conditions": {"ready": true}}));
    let reading = action.measure(&plan, &Facts::of_nothing(Micros(0)), WITHIN).await;
    assert_eq!(reading, TargetReading::Broken { says: "1 endpoints are no ready pod of green: 192.0.2.8".to_owned() });
}

/// As `kubernetes/undo` does, a flip looks at all that is left behind.
#[tokio::test]
async fn a_migration_one_revision_ago_forbids_a_flip() {
    let mut migrated = template("blue", "app:1");
    migrated["metadata"]["annotations"] = json!({"nightshift.dev/no-rollback": "drops a column"});
    let older = |created: &str| {
        json!({
            "metadata": {"name": "rs-blue-3", "uid": "r-blue-3", "creationTimestamp": created,
                         "annotations": {"deployment.kubernetes.io/revision": "3"},
                         "ownerReferences": [{"kind": "Deployment", "uid": "d-blue", "controller": true}]},
            "spec": {"template": migrated}
        })
    };
    let now = Micros::parse("2026-03-01T02:30:00Z").unwrap();
    // What green runs came at two o'clock.
    for (created, deployed_within, forbidden) in [
        ("2026-03-01T01:50:00Z", "30m", true),
        ("2026-03-01T01:20:00Z", "30m", false),
        ("2026-03-01T01:20:00Z", "2h", true),
        ("2026-03-01T02:10:00Z", "30m", true),
    ] {
        let world = Arc::new(Mutex::new(World { older_sets: vec![older(created)], ..world() }));
        let stub = server(world).await;
        let action = action(&cluster(&stub.url), "kubernetes/flip");
        let rung = Rung { with: json!({"watch": "5m", "deployed_within": deployed_within}), ..flip_rung() };
        let observed = action.observe(&rung, &[], now, WITHIN).await.unwrap();
        let rolls_back = observed.facts.rolls_back.unwrap();
        assert_eq!(rolls_back.forbidden.is_some(), forbidden, "revision 3 of {created}: {rolls_back:?}");
        if deployed_within == "30m" {
            let plan = seal(&rung, *made(observed.proposal));
            let (facts, _) = action.holds(&plan, now, WITHIN).await.unwrap();
            assert_eq!(facts.rolls_back.unwrap().forbidden.is_some(), forbidden, "and once more before the write");
        }
    }
}

fn made(proposed: Proposed) -> Box<crate::model::plan::Proposal> {
    let Proposed::Made(proposal) = proposed else { panic!("{proposed:?}") };
    proposal
}
