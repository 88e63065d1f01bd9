//! A request that is sent twice, and a version that moves by itself, against a stub that compares versions as the API server
//! does.

use super::stubbed::{TEST_FAILED, WEB, WITHIN, action, cluster, proposal, rung, seal};
use crate::{
    action::Action,
    model::{observation::Outcome, plan::Plan},
    peer::stub::{Asked, Stub},
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// `web` as the server has it.
struct Web {
    replicas: u32,
    version: u32,
    /// So many status writes come between a look and the write.
    restless: u32,
    /// A proxy sends each request twice, and hands on the second answer.
    twice: bool,
}

fn patched(web: &mut Web, asked: &Asked) -> (u16, String) {
    let ops: Vec<Value> = serde_json::from_str(&asked.body).unwrap();
    let holds = |op: &Value| match op["path"].as_str() {
        _ if op["op"] != "test" => true,
        Some("/metadata/resourceVersion") => op["value"] == json!(web.version.to_string()),
        Some("/spec/replicas") => op["value"] == json!(web.replicas),
        _ => true,
    };
    if !ops.iter().all(holds) {
        return (422, json!({ "message": TEST_FAILED }).to_string());
    }
    web.replicas = ops.last().unwrap()["value"].as_u64().unwrap() as u32;
    web.version += 1;
    (200, "{}".to_owned())
}

async fn server(web: &Arc<Mutex<Web>>) -> Stub {
    let web = Arc::clone(web);
    Stub::start(move |asked| {
        let mut web = web.lock().unwrap();
        match asked.method.as_str() {
            "GET" if asked.path == WEB => {
                let metadata =
                    json!({"name": "web", "uid": "u1", "generation": 3, "resourceVersion": web.version.to_string()});
                (200, json!({"metadata": metadata, "spec": {"replicas": web.replicas}}).to_string())
            }
            "GET" => (200, json!({"metadata": {}, "items": []}).to_string()),
            _ => {
                if web.restless > 0 {
                    (web.restless, web.version) = (web.restless - 1, web.version + 1);
                }
                let first = patched(&mut web, asked);
                if web.twice { patched(&mut web, asked) } else { first }
            }
        }
    })
    .await
}

fn web(restless: u32, twice: bool) -> Arc<Mutex<Web>> {
    Arc::new(Mutex::new(Web { replicas: 4, version: 7, restless, twice }))
}

async fn two_more(stub: &Stub) -> (Arc<dyn Action>, Plan) {
    let rung = rung("kubernetes/scale", json!({"replicas": "+2"}));
    let action = action(&cluster(&stub.url), "kubernetes/scale");
    let plan = seal(&rung, proposal(&*action, &rung).await);
    stub.asked().clear();
    (action, plan)
}

fn writes(stub: &Stub) -> usize {
    stub.asked().iter().filter(|asked| asked.method == "PATCH").count()
}

#[tokio::test]
async fn a_request_that_comes_again_after_somebody_put_the_value_back_is_refused() {
    let web = web(0, false);
    let stub = server(&web).await;
    let (action, plan) = two_more(&stub).await;
    assert_eq!(action.apply(&plan, WITHIN).await, Outcome::Applied);
    let sent = stub.asked().iter().find(|asked| asked.method == "PATCH").unwrap().clone();
    let mut web = web.lock().unwrap();
    (web.replicas, web.version) = (4, web.version + 1);
    assert_eq!((patched(&mut web, &sent).0, web.replicas), (422, 4));
}

#[tokio::test]
async fn where_only_the_version_moved_it_is_sent_again_with_the_new_one_a_few_times() {
    for (restless, sent, well) in [(1, 2, true), (2, 3, true), (9, 3, false)] {
        let web = web(restless, false);
        let stub = server(&web).await;
        let (action, plan) = two_more(&stub).await;
        let outcome = action.apply(&plan, WITHIN).await;
        assert_eq!((outcome == Outcome::Applied, writes(&stub)), (well, sent), "{restless}: {outcome:?}");
        assert!(well || matches!(outcome, Outcome::NotApplied { changed_since: true, .. }), "{outcome:?}");
        assert_eq!(web.lock().unwrap().replicas, if well { 6 } else { 4 });
    }
}

#[tokio::test]
async fn whoever_is_refused_and_finds_it_done_does_not_say_that_it_was_not() {
    let web = web(0, true);
    let stub = server(&web).await;
    let (action, plan) = two_more(&stub).await;
    // "Changed since" would plan anew, from six to eight.
    let outcome = action.apply(&plan, WITHIN).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert_eq!((writes(&stub), web.lock().unwrap().replicas), (1, 6));
    assert_eq!(action.read_back(&plan, WITHIN).await, Outcome::Applied);
    // Found so before anything was sent, it is somebody else's.
    let outcome = action.apply(&plan, WITHIN).await;
    assert!(matches!(outcome, Outcome::NotApplied { changed_since: true, .. }), "{outcome:?}");
    assert_eq!(writes(&stub), 1);
}
