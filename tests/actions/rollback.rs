//! `kubernetes/undo` on every kind: where it goes, what it refuses, and what guards are told.

use super::{Hand, WITHIN, changed_since, contract};
use crate::support::{self, ControlPlane, TestNamespace, api_proxy::ApiProxy, wait_until};
use nightshift::model::{
    observation::{DryRun, Facts, Forbidden, Holds, Outcome, Proposed, RollsBack},
    plan::Plan,
    target::Kind,
    time::Micros,
};
use serde_json::{Value, json};
use std::time::Duration;

const FIRST: &str = "example.invalid/app:1";
const SECOND: &str = "example.invalid/app:2";

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
}

fn annotation(name: &str, value: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {name: value}}}}})
}

/// A change that never gets ready.
fn broken() -> Value {
    json!({"spec": {"template": {"metadata": {"labels": {"test/ready": "false"}}}}})
}

fn image_of(object: &Value) -> &str {
    object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
}

async fn undo(namespace: &TestNamespace<'_>, kind: Kind, name: &str, with: Value) -> Hand {
    Hand::new(namespace, "kubernetes/undo", kind, name, with).await
}

/// Until the controller has rolled out what was asked of it.
async fn until_rolled_out(hand: &Hand) {
    wait_until("it is rolled out", Duration::from_secs(30), async || {
        let facts = hand.observe().await.facts;
        facts.rollout.map_or(Ok(()), Err)
    })
    .await;
}

/// A Deployment of two revisions, the second of another image.
async fn deployed_twice<'a>(plane: &'a ControlPlane, name: &str) -> TestNamespace<'a> {
    let namespace = plane.namespace(name).await;
    namespace.deployment("web", 2).ready().await;
    namespace.patch("deployment", "web", &image(SECOND)).await;
    namespace.until_rolled_out("web").await;
    namespace
}

async fn rolls_back(hand: &Hand) -> RollsBack {
    hand.observe().await.facts.rolls_back.unwrap()
}

async fn put_back(hand: &Hand, plan: &Plan) -> Result<Plan, String> {
    match hand.undo(plan, None).await {
        Proposed::Made(back) => Ok(hand.seal(*back)),
        Proposed::Refused { why } => Err(why),
        Proposed::NotMade => panic!("neither made nor refused"),
    }
}

#[tokio::test]
async fn undo_keeps_the_contract_on_every_kind() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let third_writer = annotation("somebody", "else");
    let namespace = deployed_twice(plane, "undo_deployment").await;
    let hand = undo(&namespace, Kind::Deployment, "web", json!({"to": "previous"})).await;
    contract(&hand, &namespace, third_writer.clone(), "deployment", "web").await;

    let namespace = plane.namespace("undo_stateful_set").await;
    namespace.stateful_set("db", 2).ready().await;
    namespace.patch("statefulset", "db", &image(SECOND)).await;
    let hand = undo(&namespace, Kind::StatefulSet, "db", Value::Null).await;
    until_rolled_out(&hand).await;
    contract(&hand, &namespace, third_writer.clone(), "statefulset", "db").await;

    let namespace = plane.namespace("undo_daemon_set").await;
    namespace.daemon_set("agent").ready().await;
    namespace.patch("daemonset", "agent", &image(SECOND)).await;
    let hand = undo(&namespace, Kind::DaemonSet, "agent", Value::Null).await;
    until_rolled_out(&hand).await;
    contract(&hand, &namespace, third_writer, "daemonset", "agent").await;
}

/// Back to the first image and forth again; the object's kind decides how its revisions are kept.
async fn back_and_forth(namespace: &TestNamespace<'_>, kind: Kind, of: &str, name: &str) {
    let hand = undo(namespace, kind, name, Value::Null).await;
    until_rolled_out(&hand).await;
    let (before, plan) = hand.plan().await;
    assert_eq!(plan.proposal.summary, format!("revision 2 → 1 (app: {SECOND} → {FIRST})"));
    assert_eq!(plan.proposal.undo_summary.as_deref(), Some("back to revision 2"));
    assert_eq!(plan.proposal.effect.touches, ["spec.template"]);
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    assert_eq!(image_of(&namespace.object(of, name).await), FIRST);

    // Twice is once, also where the second one comes late.
    let again = hand.apply(&plan).await;
    assert!(changed_since(&again), "{again:?}");
    assert_eq!(hand.read_back(&plan).await, Outcome::Applied);
    assert_eq!(image_of(&namespace.object(of, name).await), FIRST);

    let back = put_back(&hand, &plan).await.unwrap();
    assert_eq!(back.proposal.summary, format!("revision 3 → 2 (app: {FIRST} → {SECOND})"));
    assert_eq!(back.proposal.undo, Value::Null);
    assert_eq!(hand.holds(&back).await, Holds::Yes);
    assert_eq!(hand.dry_run(&back).await, DryRun::Accepted);
    let before = hand.observe().await.facts;
    assert_eq!(hand.apply(&back).await, Outcome::Applied);
    hand.until_well(&back, &before).await;
    assert_eq!(image_of(&namespace.object(of, name).await), SECOND);
    let refused = put_back(&hand, &plan).await.unwrap_err();
    assert!(refused.ends_with("not the one that nightshift left"), "{refused}");
    assert_eq!(namespace.acts().await.len(), 2);
}

#[tokio::test]
async fn a_rollback_goes_back_once_and_its_undo_goes_forth() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = deployed_twice(plane, "back_and_forth").await;
    back_and_forth(&namespace, Kind::Deployment, "deployment", "web").await;
    // The very ReplicaSets were used again, as kubectl's undo does it.
    assert_eq!(namespace.list("replicaset", "app=web").await.len(), 2);
    let said = namespace.kubectl(&["rollout", "status", "deployment/web", "--timeout=5s"]).await;
    assert!(said.contains("successfully rolled out"), "{said}");

    let namespace = plane.namespace("back_and_forth_set").await;
    namespace.stateful_set("db", 2).ready().await;
    namespace.patch("statefulset", "db", &image(SECOND)).await;
    back_and_forth(&namespace, Kind::StatefulSet, "statefulset", "db").await;

    let namespace = plane.namespace("back_and_forth_daemons").await;
    namespace.daemon_set("agent").ready().await;
    namespace.patch("daemonset", "agent", &image(SECOND)).await;
    back_and_forth(&namespace, Kind::DaemonSet, "daemonset", "agent").await;
}

#[tokio::test]
async fn a_lost_answer_to_a_rollback_is_read_back_without_a_second_write() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = deployed_twice(plane, "undo_lost").await;
    let proxy = ApiProxy::start(plane);
    let kubeconfig = namespace.kubeconfig_through(proxy.address());
    let hand = Hand::through(&kubeconfig, &namespace, "kubernetes/undo", Kind::Deployment, "web", Value::Null).await;
    let (_, plan) = hand.plan().await;
    proxy.lose_next_act();
    let outcome = hand.action.apply(&plan, Duration::from_secs(3)).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(hand.read_back(&plan).await, Outcome::Applied);
    assert_eq!(image_of(&namespace.object("deployment", "web").await), FIRST);
    let sent = proxy.passed().into_iter().filter(|passed| passed.acts()).count();
    assert_eq!((sent, namespace.acts().await.len()), (1, 1), "one attempt");
}

#[tokio::test]
async fn what_never_got_ready_is_rolled_back_while_it_rolls_out() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("undo_stuck").await;
    namespace.deployment("web", 2).ready().await;
    namespace.patch("deployment", "web", &broken()).await;
    let hand = undo(&namespace, Kind::Deployment, "web", Value::Null).await;
    let facts = wait_until("it is stuck", Duration::from_secs(20), async || {
        let facts = hand.observe().await.facts;
        if facts.rollout.is_some() && facts.rolls_back.is_some() { Ok(facts) } else { Err(format!("{facts:?}")) }
    })
    .await;
    assert_eq!(facts.rolls_back.unwrap().revision, 2);
    let (before, plan) = hand.plan().await;
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
}

#[tokio::test]
async fn a_rollback_that_can_not_be_is_refused_in_clear_words() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("undo_refused").await;
    namespace.deployment("web", 1).ready().await;
    let to = |with: Value| undo(&namespace, Kind::Deployment, "web", with);
    let refusal = async |with: Value| to(with).await.refusal().await.1;
    assert_eq!(refusal(json!({})).await, "it has no revision before 1");
    assert_eq!(refusal(json!({"to": "last_verified"})).await, "it has no revision before 1");

    // A restart is no other version.
    let restart = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "web", Value::Null).await;
    let (before, plan) = restart.plan().await;
    assert_eq!(restart.apply(&plan).await, Outcome::Applied);
    restart.until_well(&plan, &before).await;
    assert_eq!(refusal(json!({})).await, "every earlier revision runs what revision 2 runs");
    assert_eq!(refusal(json!({"to": 1})).await, "revision 1 runs what revision 2 runs already");
    assert_eq!(refusal(json!({"to": 2})).await, "revision 2 is the current one");

    namespace.patch("deployment", "web", &image(SECOND)).await;
    namespace.until_rolled_out("web").await;
    assert_eq!(refusal(json!({"to": 7})).await, "it keeps no revision 7, but 1, 2, 3");
    let refused = refusal(json!({"to": "last_verified"})).await;
    assert!(refused.starts_with("no revision before 3 is known to be good: none was verified, "), "{refused}");

    // Paused after the plan was made: not even sent.
    let hand = to(json!({"to": 1})).await;
    let (_, plan) = hand.plan().await;
    namespace.patch("deployment", "web", &json!({"spec": {"paused": true}})).await;
    let outcome = hand.apply(&plan).await;
    assert!(changed_since(&outcome), "{outcome:?}");
    let (facts, why) = hand.refusal().await;
    assert!(facts.paused);
    assert_eq!(why, "its rollout is paused: nothing would be rolled out");
    assert_eq!(namespace.acts().await.len(), 1, "the restart");

    let on_delete = json!({"type": "OnDelete"});
    let namespace = plane.namespace("undo_on_delete").await;
    namespace.stateful_set("db", 1).spec("updateStrategy", on_delete).ready().await;
    let (_, why) = undo(&namespace, Kind::StatefulSet, "db", Value::Null).await.refusal().await;
    assert!(why.contains("OnDelete"), "{why}");
}

#[tokio::test]
async fn a_revision_that_is_kept_no_more_is_not_made_up() {
    if support::hermetic() {
        return;
    }
    let namespace = deployed_twice(ControlPlane::shared().await, "undo_trimmed").await;
    let hand = undo(&namespace, Kind::Deployment, "web", Value::Null).await;
    let (_, plan) = hand.plan().await;
    let sets = namespace.list("replicaset", "app=web").await;
    let first = sets.iter().find(|set| image_of(set) == FIRST).unwrap();
    namespace.delete("replicaset", first["metadata"]["name"].as_str().unwrap()).await;
    assert!(matches!(hand.holds(&plan).await, Holds::Changed { .. }));
    let outcome = hand.apply(&plan).await;
    assert!(changed_since(&outcome), "{outcome:?}");
    assert_eq!(namespace.acts().await.len(), 0);
}

#[tokio::test]
async fn a_plan_holds_no_template_and_an_autoscalers_change_does_not_void_it() {
    if support::hermetic() {
        return;
    }
    let namespace = deployed_twice(ControlPlane::shared().await, "undo_secret").await;
    let secret = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "image": SECOND, "env": [{"name": "PASSWORD", "value": "hunter2"}]}]}}}});
    namespace.patch("deployment", "web", &secret).await;
    namespace
        .patch("deployment", "web", &json!({"metadata": {"annotations": {"kubernetes.io/change-cause": "bad"}}}))
        .await;
    namespace.patch("deployment", "web", &image("example.invalid/app:3")).await;
    namespace.until_rolled_out("web").await;
    let hand = undo(&namespace, Kind::Deployment, "web", json!({"to": 3})).await;
    let (before, plan) = hand.plan().await;
    let kept = serde_json::to_string(&plan).unwrap();
    assert!(!kept.contains("hunter2") && !kept.contains("PASSWORD"), "{kept}");
    namespace.patch("deployment", "web", &json!({"spec": {"replicas": 3}})).await;
    assert_eq!(hand.holds(&plan).await, Holds::Yes);
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    let object = namespace.object("deployment", "web").await;
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"], "hunter2");
    // The history does not give the revision the reason of the one that it replaced.
    let own = |object: &Value| object["metadata"]["annotations"]["kubernetes.io/change-cause"].clone();
    let hand = undo(&namespace, Kind::Deployment, "web", json!({"to": 1})).await;
    let (before, plan) = hand.plan().await;
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    assert_eq!(own(&namespace.object("deployment", "web").await), Value::Null);
}

#[tokio::test]
async fn guards_are_told_when_it_was_deployed_and_what_forbids_it() {
    if support::hermetic() {
        return;
    }
    let namespace = deployed_twice(ControlPlane::shared().await, "undo_facts").await;
    let hand = undo(&namespace, Kind::Deployment, "web", Value::Null).await;
    let set = namespace.list("replicaset", "app=web").await;
    let set = set.iter().find(|set| image_of(set) == SECOND).unwrap();
    let deployed_at = Micros::parse(set["metadata"]["creationTimestamp"].as_str().unwrap()).unwrap();
    assert_eq!(rolls_back(&hand).await, RollsBack { revision: 2, deployed_at, forbidden: None });

    // A restart makes it no younger. Times have whole seconds: one must have passed for that to be seen.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let restart = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "web", Value::Null).await;
    let (before, plan) = restart.plan().await;
    assert_eq!(restart.apply(&plan).await, Outcome::Applied);
    restart.until_well(&plan, &before).await;
    assert_eq!(rolls_back(&hand).await, RollsBack { revision: 3, deployed_at, forbidden: None });

    // What forbids it counts as long as it would be left behind.
    namespace.patch("deployment", "web", &annotation("nightshift.dev/no-rollback", "migration 42")).await;
    namespace.until_rolled_out("web").await;
    let forbidden = Some(Forbidden { revision: 4, why: "migration 42".to_owned() });
    assert_eq!(rolls_back(&hand).await.forbidden, forbidden);
    let without = json!({"spec": {"template": {"metadata": {"annotations": {"nightshift.dev/no-rollback": null}},
        "spec": {"containers": [{"name": "app", "image": "example.invalid/app:3"}]}}}});
    namespace.patch("deployment", "web", &without).await;
    namespace.until_rolled_out("web").await;
    assert_eq!(rolls_back(&hand).await.forbidden, None, "to 4, with which the migration went");
    let to_first = undo(&namespace, Kind::Deployment, "web", json!({"to": 1})).await;
    assert_eq!(rolls_back(&to_first).await.forbidden, forbidden);
    // Also when an approved plan is looked at again.
    let (_, plan) = to_first.plan().await;
    let (facts, holds) = to_first.action.holds(&plan, to_first.now, WITHIN).await.unwrap();
    assert_eq!((holds, facts.rolls_back.unwrap().forbidden), (Holds::Yes, forbidden));
    assert_eq!(restart.observe().await.facts.rolls_back, None, "a restart rolls nothing back");
}

#[tokio::test]
async fn a_template_that_gitops_or_a_controller_owns_is_rolled_back_there() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let owner = async |namespace: &TestNamespace<'_>, owner: &str| {
        let (facts, why) = undo(namespace, Kind::Deployment, "web", Value::Null).await.refusal().await;
        assert_eq!(facts.owner.as_deref(), Some(owner));
        assert!(why.contains(owner) && why.contains("roll back there"), "{why}");
    };
    for (place, mark, name) in [
        ("annotations", "argocd.argoproj.io/tracking-id", "Argo CD"),
        ("labels", "argocd.argoproj.io/instance", "Argo CD"),
        ("labels", "kustomize.toolkit.fluxcd.io/name", "Flux"),
    ] {
        let namespace = deployed_twice(plane, "undo_marked").await;
        namespace.patch("deployment", "web", &json!({"metadata": {place: {mark: "web"}}})).await;
        owner(&namespace, &format!("{name} ({mark})")).await;
    }

    let namespace = plane.namespace("undo_gitops").await;
    for image in [FIRST, SECOND] {
        let manifest = format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{\
             selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, \
             spec: {{containers: [{{name: app, image: '{image}'}}]}}}}}}}}"
        );
        let manager = "--field-manager=kustomize-controller";
        let arguments = ["-n", &namespace.name, "apply", "--server-side", manager, "-f", "-"];
        let output = plane.kubectl(&arguments, Some(&manifest)).await;
        assert!(output.status.success(), "{output:?}");
        namespace.until_rolled_out("web").await;
    }
    owner(&namespace, "Flux (kustomize-controller)").await;
    assert_eq!(namespace.acts().await.len(), 0);

    // A restart is taken back by none of them, unless its own annotation is in their manifests.
    let restart = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "web", Value::Null).await;
    assert_eq!(restart.observe().await.facts.owner, None);
    let manifest = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: \
                    {annotations: {kubectl.kubernetes.io/restartedAt: x}}}}}";
    let manager = "--field-manager=argocd-controller";
    let arguments = ["-n", &namespace.name, "apply", "--server-side", manager, "-f", "-"];
    let output = plane.kubectl(&arguments, Some(manifest)).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(restart.observe().await.facts.owner.as_deref(), Some("Argo CD (argocd-controller)"));
}

#[tokio::test]
async fn a_persons_edit_is_seen_by_every_action() {
    if support::hermetic() {
        return;
    }
    let namespace = deployed_twice(ControlPlane::shared().await, "edited").await;
    let all = async || {
        let mut seen = Vec::new();
        for (action, with) in [
            ("kubernetes/undo", Value::Null),
            ("kubernetes/restart", Value::Null),
            ("kubernetes/scale", json!({"replicas": 3})),
        ] {
            let hand = Hand::new(&namespace, action, Kind::Deployment, "web", with).await;
            seen.push(hand.observe().await.facts.edited);
        }
        seen
    };
    assert_eq!(all().await, [None, None, None], "made by no tool that a person holds");
    let before = Micros(jiff::Timestamp::now().as_second() * 1_000_000);
    namespace.kubectl(&["set", "image", "deployment/web", "app=example.invalid/app:3"]).await;
    for edited in all().await {
        let edited = edited.unwrap();
        assert_eq!(edited.by, "kubectl-set");
        assert!(edited.at >= before, "{edited:?}");
    }
    // The later one counts. Times have whole seconds: one must have passed for that to be seen.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    namespace.kubectl(&["annotate", "deployment/web", "looked=at"]).await;
    for edited in all().await {
        assert_eq!(edited.unwrap().by, "kubectl-annotate");
    }
    // The API server writes no time down for what goes through the scale subresource: that can't be seen.
    namespace.kubectl(&["scale", "deployment/web", "--replicas=1"]).await;
    for edited in all().await {
        assert_eq!(edited.unwrap().by, "kubectl-annotate");
    }
}

#[tokio::test]
async fn a_stateful_sets_broken_pod_keeps_its_rollback_waiting_and_that_is_said() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("undo_broken_set").await;
    namespace.stateful_set("db", 2).ready().await;
    namespace.patch("statefulset", "db", &broken()).await;
    let hand = undo(&namespace, Kind::StatefulSet, "db", Value::Null).await;
    wait_until("its pod is broken", Duration::from_secs(20), async || {
        let facts = hand.observe().await.facts;
        if facts.ready == 1 && facts.rolls_back.is_some() { Ok(()) } else { Err(format!("{facts:?}")) }
    })
    .await;
    let (before, plan) = hand.plan().await;
    let wanted = Facts { ready: 2, ..before };
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    let reading = format!("{:?}", hand.action.measure(&plan, &wanted, WITHIN).await);
    assert!(reading.contains("a StatefulSet may wait for a broken pod to be deleted"), "{reading}");
    // The hint is right: without the broken pod it goes on.
    namespace.delete("pod", "db-1").await;
    hand.until_well(&plan, &wanted).await;
}
