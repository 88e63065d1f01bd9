//! Stories of an eviction: the alert's label `pod` chooses one pod of those that the target owns, and no other is touched.

use serde_json::Value;
use std::collections::BTreeMap;

use crate::stage::{Rules, SOON, Stage};
use crate::story::story;
use crate::support::wait_until;

fn evict() -> Rules {
    Rules { action: "kubernetes/delete_pod", with: "", ..Rules::default() }
}

/// An alert of its own for each pod.
fn load_of(stage: &Stage, pod: &str, load: f64) {
    let namespace = &stage.namespace.name;
    stage.gauges.set(&format!("load{{deployment=\"web\",pod=\"{pod}\",namespace=\"{namespace}\"}}"), load);
}

/// Names and uids of the Deployment's pods that are not on their way out.
async fn pods(stage: &Stage) -> BTreeMap<String, Value> {
    let pods = stage.namespace.list("pod", "app=web").await;
    let live = pods.iter().map(|pod| &pod["metadata"]).filter(|meta| meta["deletionTimestamp"].is_null());
    live.map(|meta| (meta["name"].as_str().unwrap().to_owned(), meta["uid"].clone())).collect()
}

#[test]
fn the_pod_that_the_alert_names_is_evicted_once_and_no_other() {
    story(&[], async || {
        let stage = Stage::set("evicted").await;
        stage.namespace.deployment("web", 3).ready().await;
        let before = pods(&stage).await;
        let (pod, uid) = before.iter().nth(1).map(|(pod, uid)| (pod.clone(), uid.clone())).unwrap();
        let night = stage.nightshift(&evict()).await;
        load_of(&stage, &pod, 0.97);
        stage.until_acted().await;
        let after = wait_until("another pod in its place", SOON, async || match pods(&stage).await {
            now if now.len() == 3 && !now.contains_key(&pod) => Ok(now),
            now => Err(format!("{now:?}")),
        })
        .await;
        load_of(&stage, &pod, 0.2);
        let step = night.until_step("verified").await;
        assert_eq!(step.action, "kubernetes/delete_pod", "{step:#?}");
        stage.until_card(&[&format!("eviction of pod {pod} (ready)"), "Helped, verified"]).await;
        night.until_state("resolved").await;
        night.stop().await;

        let acts = stage.namespace.acts().await;
        assert_eq!(acts.len(), 1, "{acts:#?}");
        let act = &acts[0];
        let what = [&act.verb, &act.resource, &act.subresource, &act.name].map(String::as_str);
        assert_eq!(what, ["create", "pods", "eviction", pod.as_str()]);
        let sent = act.request_object.as_ref().unwrap();
        assert_eq!(sent["kind"], "Eviction", "{sent:#}");
        assert_eq!(sent["deleteOptions"]["preconditions"]["uid"], uid, "{sent:#}");
        let stayed = before.iter().filter(|(name, uid)| after.get(*name) == Some(*uid)).count();
        assert_eq!(stayed, 2, "{before:?} {after:?}");
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_label_that_names_another_workloads_pod_evicts_nothing_and_people_hear() {
    story(&["page: a person is needed"], async || {
        let stage = Stage::set("evicted_foreign").await;
        stage.namespace.deployment("web", 2).ready().await;
        stage.namespace.deployment("other", 2).ready().await;
        let others = stage.namespace.list("pod", "app=other").await;
        let foreign = others[0]["metadata"]["name"].as_str().unwrap();
        let night = stage.nightshift(&evict()).await;
        load_of(&stage, foreign, 0.97);
        let step = night.until_step("dropped").await;
        assert!(step.says.contains(&format!("owns no pod {foreign}")), "{step:#?}");
        stage.until_paged(&format!("owns no pod {foreign}")).await;
        night.stop().await;
        let writes = stage.namespace.writes().await;
        assert_eq!(writes.len(), 0, "not so much as a dry run: {writes:#?}");
        stage.slack.assert_nothing_broken();
    });
}
