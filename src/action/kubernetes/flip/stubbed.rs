//! What a flip sends, and what it makes of odd answers and odd endpoints, against the stub.

use crate::{
    action::{
        Action,
        kubernetes::stubbed::{TEST_FAILED, WITHIN, action, cluster, proposal, rung, seal},
    },
    model::{
        observation::{DryRun, Facts, Outcome, TargetReading},
        plan::Plan,
        rung::Rung,
        target::{Object, Target},
        time::Micros,
    },
    peer::stub::{Asked, Stub},
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const NAMESPACE: &str = "/api/v1/namespaces/production";
const SERVICE: &str = "/api/v1/namespaces/production/services/web";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/production/endpointslices";
const APPS: &str = "/apis/apps/v1/namespaces/production";

fn deployment(color: &str) -> Value {
    json!({
        "metadata": {"name": format!("web-{color}"), "uid": format!("d-{color}"), "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"version": color}},
                 "template": {"metadata": {"labels": {"version": color}}, "spec": {"containers": []}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    })
}

fn set(color: &str) -> Value {
    json!({
        "metadata": {"name": format!("rs-{color}"), "uid": format!("r-{color}"), "creationTimestamp": "2026-03-01T02:00:00Z",
                     "annotations": {"deployment.kubernetes.io/revision": "4"},
                     "ownerReferences": [{"kind": "Deployment", "uid": format!("d-{color}"), "controller": true}]},
        "spec": {"template": deployment(color)["spec"]["template"]}
    })
}

fn pod(color: &str) -> Value {
    json!({
        "metadata": {"name": format!("pod-{color}"), "uid": format!("p-{color}"),
                     "ownerReferences": [{"kind": "ReplicaSet", "uid": format!("r-{color}"), "controller": true}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}
    })
}

fn endpoint(color: &str, ready: Value) -> Value {
    json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready},
           "targetRef": {"kind": "Pod", "name": format!("pod-{color}"), "uid": format!("p-{color}")}})
}

/// What the stub shows of the Service.
#[derive(Clone)]
struct World {
    color: &'static str,
    endpoints: Value,
}

async fn server(world: Arc<Mutex<World>>, write: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Stub {
    let list = |items: Value| (200, json!({"metadata": {}, "items": items}).to_string());
    Stub::start(move |asked| {
        let world = world.lock().unwrap().clone();
        let color = if asked.query.contains("green") { "green" } else { "blue" };
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", SERVICE) => {
                let selector = json!({"app": "web", "version": world.color});
                let metadata = json!({"name": "web", "uid": "s1", "resourceVersion": "7"});
                (200, json!({"metadata": metadata, "spec": {"selector": selector}}).to_string())
            }
            ("GET", SLICES) => list(json!([{"endpoints": null}, {"endpoints": world.endpoints}])),
            ("GET", path) if path == format!("{NAMESPACE}/pods") => list(json!([pod(color)])),
            ("GET", path) if path == format!("{APPS}/replicasets") => list(json!([set("blue"), set("green")])),
            ("GET", path) if path == format!("{APPS}/deployments/web-blue") => (200, deployment("blue").to_string()),
            ("GET", path) if path == format!("{APPS}/deployments/web-green") => (200, deployment("green").to_string()),
            ("PATCH", _) => write(asked),
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
    stub.asked().clear();
    (action, plan)
}

fn world(color: &'static str, endpoints: Value) -> Arc<Mutex<World>> {
    Arc::new(Mutex::new(World { color, endpoints }))
}

#[tokio::test]
async fn a_flip_is_one_patch_that_tests_the_whole_selector() {
    let stub = server(world("blue", json!([])), |_| (200, "{}".to_owned())).await;
    let (action, plan) = flip_plan(&stub).await;
    assert_eq!(action.dry_run(&plan.target.object, &plan.proposal, WITHIN).await, Ok(DryRun::Accepted));
    assert_eq!(action.apply(&plan, WITHIN).await, Outcome::Applied);
    let asked = stub.asked().clone();
    let sent: Vec<&Asked> = asked.iter().filter(|asked| asked.method != "GET").collect();
    assert_eq!(sent.len(), 2);
    let same = json!([
        {"op": "test", "path": "/metadata/uid", "value": "s1"},
        {"op": "test", "path": "/spec/selector", "value": {"app": "web", "version": "blue"}},
        {"op": "replace", "path": "/spec/selector", "value": {"app": "web", "version": "green"}},
    ]);
    for (asked, query) in sent.iter().zip(["fieldManager=nightshift&dryRun=All", "fieldManager=nightshift"]) {
        assert_eq!((asked.path.as_str(), asked.query.as_str()), (SERVICE, query));
        assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), same);
    }
}

#[tokio::test]
async fn every_answer_to_a_flip_means_one_outcome_and_is_one_attempt() {
    let (applied, unknown) = (Some(None), None);
    for (status, message, meaning) in [
        (200, "not even JSON", applied),
        (422, TEST_FAILED, Some(Some(true))),
        (404, "services \"web\" not found", Some(Some(true))),
        (403, "admission webhook denied the request", Some(Some(false))),
        (500, "etcdserver: request timed out", unknown),
        (0, "", unknown),
    ] {
        let stub = server(world("blue", json!([])), move |_| (status, json!({ "message": message }).to_string())).await;
        let (action, plan) = flip_plan(&stub).await;
        let seen = match action.apply(&plan, WITHIN).await {
            Outcome::Applied | Outcome::Ended { .. } => Some(None),
            Outcome::NotApplied { changed_since, .. } => Some(Some(changed_since)),
            Outcome::Unknown { .. } => None,
        };
        assert_eq!(seen, meaning, "{status} {message}");
        assert_eq!(stub.asked().iter().filter(|asked| asked.method == "PATCH").count(), 1);
    }
}

#[tokio::test]
async fn the_selector_is_read_back_after_a_lost_answer() {
    let world = world("blue", json!([]));
    let stub = server(world.clone(), |_| (0, String::new())).await;
    let (action, plan) = flip_plan(&stub).await;
    let kept = action.read_back(&plan, WITHIN).await;
    assert!(matches!(kept, Outcome::NotApplied { changed_since: false, .. }), "{kept:?}");
    // As it was, but written since: perhaps it went there and came back.
    let mut written = plan.clone();
    written.proposal.precondition["resource_version"] = json!("6");
    assert!(matches!(action.read_back(&written, WITHIN).await, Outcome::Unknown { .. }));
    world.lock().unwrap().color = "green";
    assert_eq!(action.read_back(&plan, WITHIN).await, Outcome::Applied);
    world.lock().unwrap().color = "red";
    assert!(matches!(action.read_back(&plan, WITHIN).await, Outcome::Unknown { .. }));
}

#[tokio::test]
async fn traffic_that_goes_anywhere_but_to_ready_pods_of_the_new_colour_is_not_well() {
    let world = world("blue", json!([]));
    let stub = server(world.clone(), |_| (200, "{}".to_owned())).await;
    let (action, plan) = flip_plan(&stub).await;
    let stray = json!({"addresses": ["192.0.2.7"], "conditions": {}});
    for (endpoints, says) in [
        (json!([endpoint("green", json!(true))]), Ok("traffic goes to 1 ready pods of green")),
        (json!([endpoint("green", json!(null))]), Ok("traffic goes to 1 ready pods of green")),
        (json!([]), Err("0 endpoints of green are ready, 1 are wanted")),
        (json!([endpoint("green", json!(false))]), Err("0 endpoints of green are ready, 1 are wanted")),
        (
            json!([endpoint("green", json!(true)), endpoint("blue", json!(true))]),
            Err("1 endpoints are no ready pod of green: pod-blue"),
        ),
        (json!([endpoint("green", json!(true)), stray]), Err("1 endpoints are no ready pod of green: 192.0.2.7")),
    ] {
        *world.lock().unwrap() = World { color: "green", endpoints };
        let reading = action.measure(&plan, &Facts::of_nothing(Micros(0)), WITHIN).await;
        let expected = match says {
            Ok(says) => TargetReading::Watched { says: says.to_owned() },
            Err(says) => TargetReading::Broken { says: says.to_owned() },
        };
        assert_eq!(reading, expected);
        // Of an undo it is well or not yet: what is put back is not put back again.
        let mut undo = plan.clone();
        undo.proposal.undo = Value::Null;
        let reading = action.measure(&undo, &Facts::of_nothing(Micros(0)), WITHIN).await;
        assert_eq!(matches!(reading, TargetReading::Well { .. }), says.is_ok(), "{reading:?}");
        assert_eq!(matches!(reading, TargetReading::NotYet { .. }), says.is_err(), "{reading:?}");
    }
}
