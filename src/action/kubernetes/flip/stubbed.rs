//! What a flip sends, and what it makes of odd answers and odd endpoints, against the stub.

use crate::{
    action::{
        Action,
        kubernetes::stubbed::{TEST_FAILED, WITHIN, action, cluster, proposal, rung, seal},
    },
    model::{
        observation::{DryRun, Facts, Holds, Outcome, Proposed, TargetReading},
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
    /// What is asked for so gets this status.
    trouble: Option<(&'static str, u16)>,
}

async fn server(world: Arc<Mutex<World>>, write: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Stub {
    let list = |items: Value| (200, json!({"metadata": {}, "items": items}).to_string());
    Stub::start(move |asked| {
        let world = world.lock().unwrap().clone();
        let color = if asked.query.contains("green") { "green" } else { "blue" };
        if let Some((_, status)) =
            world.trouble.filter(|(part, _)| format!("{}?{}", asked.path, asked.query).contains(part))
        {
            return (status, json!({"message": "trouble"}).to_string());
        }
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
            ("GET", "/smoke/green" | "/smoke/blue") => (200, String::new()),
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
    Arc::new(Mutex::new(World { color, endpoints, trouble: None }))
}

#[tokio::test]
async fn a_flip_is_one_patch_that_tests_the_version_and_the_whole_selector() {
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
    let mut written = same.clone();
    written.as_array_mut().unwrap().insert(0, json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}));
    let queries = [("fieldManager=nightshift&dryRun=All", same), ("fieldManager=nightshift", written)];
    for (asked, (query, same)) in sent.into_iter().zip(queries) {
        assert_eq!((asked.path.as_str(), asked.query.as_str()), (SERVICE, query));
        assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), same);
    }
}

#[tokio::test]
async fn every_answer_to_a_flip_means_one_outcome_and_only_what_was_refused_is_sent_again() {
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
        // Of a version that never holds, as often as is allowed.
        let times = if message == TEST_FAILED { 3 } else { 1 };
        assert_eq!(stub.asked().iter().filter(|asked| asked.method == "PATCH").count(), times);
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
        *world.lock().unwrap() = World { color: "green", endpoints, trouble: None };
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

/// What a look comes to: Err for a doubt, and else what it says against the flip.
async fn seen(action: &Arc<dyn Action>, rung: &Rung) -> Result<Option<String>, String> {
    match action.observe(rung, &[], Micros(0), WITHIN).await?.proposal {
        Proposed::Made(_) => Ok(None),
        Proposed::Refused { why } => Ok(Some(why)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_can_not_be_read_of_the_other_colour_is_a_doubt_and_no_refusal() {
    let world = world("blue", json!([]));
    let stub = server(world.clone(), |_| (200, "{}".to_owned())).await;
    let (action, plan) = flip_plan(&stub).await;
    let rung = flip_rung();
    let undo = |trouble| {
        *world.lock().unwrap() = World { color: "green", endpoints: json!([]), trouble };
        action.observe_undo(&plan, None, Micros(0), WITHIN)
    };
    assert!(matches!(undo(None).await.unwrap().proposal, Proposed::Made(_)));
    world.lock().unwrap().color = "blue";
    for (part, status) in [
        ("deployments/web-green", 500),
        ("deployments/web-green", 0),
        ("deployments/web-green", 403),
        ("pods?labelSelector=version%3Dgreen", 503),
        ("pods?labelSelector=app%3Dweb%2Cversion%3Dgreen", 500),
        ("replicasets?labelSelector=version%3Dgreen", 0),
    ] {
        world.lock().unwrap().trouble = Some((part, status));
        let problem = seen(&action, &rung).await.expect_err(part);
        assert!(!problem.is_empty());
        action.holds(&plan, Micros(0), WITHIN).await.expect_err(part);
        // Nothing is written on a doubt either, and nothing of it is taken for somebody's change.
        let outcome = action.apply(&plan, WITHIN).await;
        assert!(matches!(outcome, Outcome::NotApplied { changed_since: false, .. }), "{outcome:?}");
        // On the way back the colours have changed places: what is not read of the live one is a doubt, too.
        undo(Some((part, status))).await.err().expect(part);
        *world.lock().unwrap() = World { color: "blue", endpoints: json!([]), trouble: None };
    }
    // That it is not there is an answer.
    world.lock().unwrap().trouble = Some(("deployments/web-green", 404));
    let missing = "Deployment production/web-green does not exist".to_owned();
    assert_eq!(seen(&action, &rung).await, Ok(Some(missing.clone())));
    let (_, holds) = action.holds(&plan, Micros(0), WITHIN).await.unwrap();
    assert_eq!(holds, Holds::Changed { difference: missing });
    // On the way back it is the live one, and need not be there.
    let back = undo(Some(("deployments/web-green", 404))).await.unwrap().proposal;
    assert!(matches!(back, Proposed::Made(_)), "{back:?}");
    assert!(!stub.asked().iter().any(|asked| asked.method == "PATCH"));
}

#[tokio::test]
async fn a_smoke_test_that_nobody_answers_is_a_doubt_and_a_red_one_a_refusal() {
    let world = world("blue", json!([endpoint("green", json!(true))]));
    let stub = server(world.clone(), |_| (200, "{}".to_owned())).await;
    let action = action(&cluster(&stub.url), "kubernetes/flip");
    let smoke =
        |url: String| Rung { with: json!({"smoke": {"url": url, "timeout": "1s", "attempts": 1}}), ..flip_rung() };
    let rung = smoke(format!("{}/smoke/{{color}}", stub.url));
    let plan = seal(&rung, proposal(&*action, &rung).await);
    for (status, says) in [
        (0, Err("the smoke test of green had no answer: its answer broke off")),
        (503, Ok("the smoke test of green is red: it answered 503, not 200")),
    ] {
        world.lock().unwrap().trouble = Some(("/smoke/green", status));
        let observed = seen(&action, &rung).await;
        let holds = action.holds(&plan, Micros(0), WITHIN).await.map(|(_, holds)| holds);
        match says {
            Ok(says) => {
                assert_eq!(observed, Ok(Some(says.to_owned())));
                assert_eq!(holds, Ok(Holds::Changed { difference: says.to_owned() }));
            }
            Err(says) => {
                assert_eq!(observed, Err(says.to_owned()));
                assert_eq!(holds, Err(says.to_owned()));
            }
        }
        // Once the traffic is there, silence is the new colour's failure, until the other one is asked and is silent too.
        world.lock().unwrap().color = "green";
        let reading = action.measure(&plan, &Facts::of_nothing(Micros(0)), WITHIN).await;
        assert!(matches!(reading, TargetReading::Broken { .. }), "{reading:?}");
        world.lock().unwrap().trouble = Some(("/smoke/", status));
        let back = action.observe_undo(&plan, None, Micros(0), WITHIN).await;
        match says {
            Ok(_) => assert!(matches!(back.unwrap().proposal, Proposed::Refused { .. })),
            Err(_) => assert_eq!(back.err().unwrap(), "the smoke test of blue had no answer: its answer broke off"),
        }
        world.lock().unwrap().color = "blue";
    }
    let nobody = seen(&action, &smoke(format!("{}/{{color}}", crate::peer::stub::nobody().await))).await;
    assert_eq!(nobody, Err("the smoke test of green had no answer: it could not be reached".to_owned()));
    let elsewhere = seen(&action, &smoke("http://elsewhere.invalid/{color}".to_owned())).await;
    assert!(elsewhere.unwrap().unwrap().contains("not among smoke_hosts"), "where it may not go is known");
    assert!(!stub.asked().iter().any(|asked| asked.method == "PATCH"));
}
