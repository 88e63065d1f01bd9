//! `kubernetes/flip`: to the other colour and back, what it refuses, and how the new colour is watched.

use super::{Hand, WITHIN, changed_since};
use crate::support::{self, ControlPlane, TestNamespace, stub::Stub, wait_until};
use nightshift::model::{
    observation::{DryRun, Facts, Holds, Outcome, Proposed, TargetReading},
    plan::Plan,
    target::Object,
};
use serde_json::{Value, json};
use std::time::Duration;

pub async fn flip(namespace: &TestNamespace<'_>, with: Value) -> Hand {
    let object = Object::BlueGreen {
        namespace: namespace.name.clone(),
        service: "web".to_owned(),
        selector: "version".to_owned(),
        colors: ["blue".to_owned(), "green".to_owned()],
        deployment: "web-{color}".to_owned(),
    };
    Hand::on(&namespace.kubeconfig(), namespace, "kubernetes/flip", "traffic", object, with).await
}

async fn service(namespace: &TestNamespace<'_>, selector: Value) {
    let object = json!({"metadata": {"name": "web"}, "spec": {"selector": selector, "ports": [{"port": 80}]}});
    namespace.create_object("service", &object).await;
}

/// Two pods of blue, which has the traffic, and two of green.
pub async fn blue_green<'a>(plane: &'a ControlPlane, name: &str) -> TestNamespace<'a> {
    let namespace = plane.namespace(name).await;
    for color in ["blue", "green"] {
        let deployment = namespace.deployment(&format!("web-{color}"), 2);
        deployment.pod_label("service", "web").pod_label("version", color).ready().await;
    }
    service(&namespace, json!({"service": "web", "version": "blue"})).await;
    namespace
}

async fn color(namespace: &TestNamespace<'_>) -> Value {
    namespace.object("service", "web").await["spec"]["selector"]["version"].clone()
}

async fn measured(hand: &Hand, plan: &Plan, before: &Facts) -> TargetReading {
    hand.action.measure(plan, before, WITHIN).await
}

async fn until_watched(hand: &Hand, plan: &Plan, before: &Facts) -> String {
    wait_until("the new colour is well", Duration::from_secs(30), async || match measured(hand, plan, before).await {
        TargetReading::Watched { says } => Ok(says),
        other => Err(format!("{other:?}")),
    })
    .await
}

#[tokio::test]
async fn traffic_goes_to_the_other_colour_once_and_back_and_the_endpoints_follow() {
    if support::hermetic() {
        return;
    }
    let namespace = blue_green(ControlPlane::shared().await, "flip").await;
    let hand = flip(&namespace, json!({})).await;
    let (before, plan) = hand.plan().await;
    assert_eq!(plan.proposal.summary, "traffic blue → green (web-green, 2 pods ready)");
    assert_eq!(plan.proposal.undo_summary.as_deref(), Some("traffic back to blue"));
    assert_eq!(plan.target.key().0, format!("{}/Service/web", namespace.name));
    assert_eq!((before.ready, before.replicas, plan.proposal.effect.min_ready_after), (2, Some(2), Some(2)));
    assert_eq!(before.rolls_back.as_ref().unwrap().revision, 1, "leaving blue is a rollback of what it runs");
    assert_eq!(hand.dry_run(&plan).await, DryRun::Accepted);
    assert_eq!(hand.holds(&plan).await, Holds::Yes);
    assert!(matches!(hand.read_back(&plan).await, Outcome::NotApplied { changed_since: false, .. }));
    assert_eq!(namespace.acts().await.len(), 0, "looking and dry runs write nothing");

    // A third writer of another key of the selector: the whole of it is tested.
    namespace.patch("service", "web", &json!({"spec": {"selector": {"tier": "front"}}})).await;
    assert!(matches!(hand.holds(&plan).await, Holds::Changed { .. }));
    assert!(matches!(hand.dry_run(&plan).await, DryRun::Rejected { .. }));
    let outcome = hand.apply(&plan).await;
    assert!(changed_since(&outcome), "{outcome:?}");
    assert_eq!((namespace.acts().await.len(), color(&namespace).await), (0, json!("blue")));
    namespace.patch("service", "web", &json!({"spec": {"selector": {"tier": null}}})).await;

    let (before, plan) = hand.plan().await;
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    assert_eq!(hand.read_back(&plan).await, Outcome::Applied);
    assert_eq!(until_watched(&hand, &plan, &before).await, "traffic goes to 2 ready pods of green");
    let again = hand.apply(&plan).await;
    assert!(changed_since(&again), "{again:?}");
    assert_eq!(color(&namespace).await, "green", "twice is once");

    // Back, and not over somebody else's flip.
    let Proposed::Made(back) = hand.undo(&plan, None).await else { panic!("both colours are up") };
    let undo = hand.seal(*back);
    assert_eq!((&undo.proposal.undo, undo.proposal.summary.contains("green → blue")), (&Value::Null, true));
    assert_eq!(hand.holds(&undo).await, Holds::Yes);
    assert_eq!(hand.apply(&undo).await, Outcome::Applied);
    hand.until_well(&undo, &before).await;
    assert_eq!(color(&namespace).await, "blue");
    let Proposed::Refused { why } = hand.undo(&plan, None).await else { panic!("it is blue already") };
    assert!(why.contains("its selector is service=web,version=blue, not service=web,version=green"), "{why}");
    let acts = namespace.acts().await;
    assert_eq!(acts.len(), 2, "{acts:?}");
    assert!(acts.iter().all(|act| act.resource == "services" && act.uri.contains("fieldManager=nightshift")));
    for deployment in ["web-blue", "web-green"] {
        assert_eq!(namespace.spec_changes("deployment", deployment).await, 0, "both colours stay up");
    }
}

#[tokio::test]
async fn a_colour_that_is_not_there_in_full_gets_no_traffic() {
    if support::hermetic() {
        return;
    }
    let namespace = blue_green(ControlPlane::shared().await, "flip_unready").await;
    let hand = flip(&namespace, json!({})).await;
    let (_, plan) = hand.plan().await;
    namespace.patch("deployment", "web-green", &json!({"spec": {"replicas": 1}})).await;
    namespace.until_rolled_out("web-green").await;
    let words = format!("green (Deployment {}/web-green)", namespace.name);
    wait_until("one pod is left", Duration::from_secs(20), async || {
        let why = hand.refusal().await.1;
        if why == format!("{words} has 1 ready pods, 2 are wanted") { Ok(()) } else { Err(why) }
    })
    .await;
    assert!(matches!(hand.holds(&plan).await, Holds::Changed { .. }));
    let outcome = hand.apply(&plan).await;
    assert!(matches!(outcome, Outcome::NotApplied { changed_since: false, .. }), "{outcome:?}");
    // Fewer are enough where the rule says so.
    let fewer = flip(&namespace, json!({"min_ready": 1})).await;
    fewer.plan().await;

    let broken = json!({"spec": {"template": {"metadata": {"labels": {"test/ready": "false"}}}}});
    namespace.patch("deployment", "web-green", &broken).await;
    wait_until("its rollout is seen", Duration::from_secs(20), async || {
        let observed = fewer.observe().await.proposal;
        match observed {
            Proposed::Refused { why } if why.starts_with(&format!("{words} is not rolled out: ")) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    namespace.patch("deployment", "web-green", &json!({"spec": {"replicas": 0}})).await;
    assert_eq!(fewer.refusal().await.1, format!("{words} has 0 replicas: it is switched off"));
    namespace.delete("deployment", "web-green").await;
    assert!(fewer.refusal().await.1.contains("web-green does not exist"));
    assert_eq!(namespace.acts().await.len(), 0);
}

#[tokio::test]
async fn a_selector_that_names_no_colour_is_left_alone_and_shown() {
    if support::hermetic() {
        return;
    }
    let namespace = blue_green(ControlPlane::shared().await, "flip_selector").await;
    let hand = flip(&namespace, json!({})).await;
    namespace.patch("service", "web", &json!({"spec": {"selector": {"version": "red"}}})).await;
    let words = format!("Service {}/web", namespace.name);
    assert_eq!(hand.refusal().await.1, format!("{words} selects version=red, which is neither blue nor green"));
    namespace.patch("service", "web", &json!({"spec": {"selector": {"version": null}}})).await;
    assert_eq!(hand.refusal().await.1, format!("{words} selects no version: its selector is service=web"));
}

#[tokio::test]
async fn what_guards_need_to_know_is_seen() {
    if support::hermetic() {
        return;
    }
    let namespace = blue_green(ControlPlane::shared().await, "flip_guards").await;
    let hand = flip(&namespace, json!({})).await;
    let facts = hand.observe().await.facts;
    assert_eq!((facts.owner, facts.edited, facts.is_itself), (None, None, false));
    assert_eq!(facts.rolls_back.unwrap().forbidden, None);
    let migration = json!({"spec": {"template": {"metadata": {"annotations":
                          {"nightshift.dev/no-rollback": "migration 42 went with it"}}}}});
    namespace.patch("deployment", "web-blue", &migration).await;
    namespace.until_rolled_out("web-blue").await;
    let mark = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x"}}});
    namespace.patch("service", "web", &mark).await;
    namespace.kubectl(&["label", "service", "web", "somebody=else"]).await;
    let facts = hand.observe().await.facts;
    let forbidden = facts.rolls_back.unwrap().forbidden.unwrap();
    assert_eq!((forbidden.revision, forbidden.why.as_str()), (2, "migration 42 went with it"));
    assert_eq!(facts.owner.as_deref(), Some("Argo CD (argocd.argoproj.io/tracking-id)"));
    assert!(facts.edited.unwrap().by.starts_with("kubectl"));
    namespace.patch("deployment", "web-blue", &json!({"spec": {"replicas": 0}})).await;
    assert_eq!(hand.observe().await.facts.replicas, Some(0), "switched off on purpose");
}

#[tokio::test]
async fn only_a_green_smoke_test_of_a_listed_host_lets_traffic_go() {
    if support::hermetic() {
        return;
    }
    let namespace = blue_green(ControlPlane::shared().await, "flip_smoke").await;
    let status = std::sync::Arc::new(std::sync::atomic::AtomicU16::new(200));
    let answers = status.clone();
    let site = Stub::start(move |_| (answers.load(std::sync::atomic::Ordering::Relaxed), String::new()));
    let answer = |code: u16| status.store(code, std::sync::atomic::Ordering::Relaxed);
    let smoke = json!({"smoke": {"url": format!("{}/{{color}}", site.url()), "timeout": "1s"}});
    let hand = flip(&namespace, smoke).await;
    let (before, plan) = hand.plan().await;
    assert_eq!(site.received().last().unwrap().uri, "/green", "the colour that would get the traffic");
    for (code, says) in [
        (500, "the smoke test of green is red: it answered 500, not 200"),
        (302, "the smoke test of green is red: it answered 302, and redirects are not followed"),
    ] {
        answer(code);
        let asked = site.received().len();
        assert_eq!(hand.refusal().await.1, says);
        assert_eq!(site.received().len(), asked + 2, "its attempts, and no redirect");
        let outcome = hand.apply(&plan).await;
        assert!(matches!(outcome, Outcome::NotApplied { changed_since: false, .. }), "{outcome:?}");
    }
    assert_eq!(namespace.acts().await.len(), 0, "it is tested before the write, too");
    answer(200);
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    until_watched(&hand, &plan, &before).await;
    answer(503);
    let TargetReading::Broken { says } = measured(&hand, &plan, &before).await else { panic!("it is red") };
    assert_eq!(says, "the smoke test of green is red: it answered 503, not 200");
    // The old colour has to pass the same test.
    let Proposed::Refused { why } = hand.undo(&plan, None).await else { panic!("blue is red too") };
    assert!(why.starts_with("the smoke test of blue is red"), "{why}");
    answer(200);
    let Proposed::Made(_) = hand.undo(&plan, None).await else { panic!("blue is green again") };

    let mut elsewhere = hand;
    elsewhere.rung.with = json!({"smoke": {"url": format!("http://localhost:{}/", site.address().port())}});
    namespace.patch("service", "web", &json!({"spec": {"selector": {"version": "blue"}}})).await;
    let asked = site.received().len();
    assert!(elsewhere.refusal().await.1.contains("`smoke` goes to localhost, which is not among smoke_hosts"));
    assert_eq!(site.received().len(), asked);
}

#[tokio::test]
async fn a_new_colour_that_loses_its_pods_reads_as_broken_and_somebody_elses_flip_does_not() {
    if support::hermetic() {
        return;
    }
    let namespace = blue_green(ControlPlane::shared().await, "flip_broken").await;
    let hand = flip(&namespace, json!({})).await;
    let (before, plan) = hand.plan().await;
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    until_watched(&hand, &plan, &before).await;
    let pods = namespace.list("pod", "version=green").await;
    let pod = pods[0]["metadata"]["name"].as_str().unwrap();
    namespace.patch("pod", pod, &json!({"metadata": {"labels": {"test/ready": "false"}}})).await;
    let says =
        wait_until("it is broken", Duration::from_secs(30), async || match measured(&hand, &plan, &before).await {
            TargetReading::Broken { says } => Ok(says),
            other => Err(format!("{other:?}")),
        })
        .await;
    assert_eq!(says, "1 endpoints of green are ready, 2 are wanted");
    // Scaled in, it has all that is asked of it.
    namespace.patch("pod", pod, &json!({"metadata": {"labels": {"test/ready": null}}})).await;
    namespace.patch("deployment", "web-green", &json!({"spec": {"replicas": 1}})).await;
    namespace.until_rolled_out("web-green").await;
    wait_until("only one is left", Duration::from_secs(30), async || {
        match until_watched(&hand, &plan, &before).await {
            says if says == "traffic goes to 1 ready pods of green" => Ok(()),
            says => Err(says),
        }
    })
    .await;
    namespace.patch("service", "web", &json!({"spec": {"selector": {"version": "blue"}}})).await;
    let TargetReading::NotYet { says } = measured(&hand, &plan, &before).await else { panic!("it is not green's") };
    assert!(says.starts_with("its selector is service=web,version=blue"), "{says}");
}
