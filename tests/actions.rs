//! Every Kubernetes action against a real API server. The judge of what was done is its audit log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "actions/eviction.rs"]
mod eviction;
#[path = "actions/flip.rs"]
mod flip;
#[path = "actions/replayed.rs"]
mod replayed;
#[path = "actions/rollback.rs"]
mod rollback;
mod support;

use nightshift::{
    action::{
        Action, Observed, Registry, kubernetes,
        kubernetes::{flip::smoke::Smoker, workload::Itself},
    },
    evidence,
    http::client::{Client, ClientSettings},
    model::{
        mode::Mode,
        observation::{DryRun, Facts, Holds, Outcome, Proposed, TargetReading},
        plan::{Plan, Proposal},
        rung::{Bounds, IfIneffective, Rung, Verify},
        target::{Kind, Object, Target},
        time::{Micros, Span},
    },
    peer::kubernetes::Cluster,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use support::{ControlPlane, TestNamespace, api_proxy::ApiProxy, wait_until};

const WITHIN: Duration = Duration::from_secs(10);

/// One action on one target of a namespace.
struct Hand {
    action: Arc<dyn Action>,
    rung: Rung,
    now: Micros,
}

impl Hand {
    async fn new(namespace: &TestNamespace<'_>, action: &str, kind: Kind, name: &str, with: Value) -> Hand {
        Hand::through(&namespace.kubeconfig(), namespace, action, kind, name, with).await
    }

    async fn through(
        kubeconfig: &std::path::Path,
        namespace: &TestNamespace<'_>,
        action: &str,
        kind: Kind,
        name: &str,
        with: Value,
    ) -> Hand {
        let object =
            Object::Workload { namespace: namespace.name.clone(), kind, name: name.to_owned(), selector: None };
        Hand::on(kubeconfig, namespace, action, name, object, with).await
    }

    async fn on(
        kubeconfig: &std::path::Path,
        namespace: &TestNamespace<'_>,
        action: &str,
        name: &str,
        object: Object,
        with: Value,
    ) -> Hand {
        let cluster = Cluster::connect(Some(kubeconfig), None).await.unwrap();
        let mut registry = Registry::default();
        let itself = Itself { namespace: namespace.name.clone(), deployment: "nightshift".to_owned() };
        let http = Client::build(&ClientSettings::default()).unwrap();
        let smoke = Smoker::connected(&["127.0.0.1".to_owned()], http.raw());
        kubernetes::register(&mut registry, &cluster, Some(&itself), &smoke);
        let bounds = (action == "kubernetes/scale").then_some(Bounds { min: 1, max: 20, may_scale_to_zero: true });
        let action = registry.get(action).unwrap().clone();
        // Its own Deployment is refused here already, and seen again when it is observed.
        let refused = action.check(&with, &object, bounds);
        assert_eq!(refused.len(), usize::from(name == itself.deployment), "{refused:?}");
        let rung = Rung {
            action: action.name().to_owned(),
            target: Target { name: name.to_owned(), object },
            with,
            mode: Mode::Auto,
            verify: Verify { settle: Span::seconds(1), resolved_within: Span::minutes(1), query: None },
            if_ineffective: IfIneffective::Keep,
            member: None,
            bounds,
            evidence: Vec::new(),
        };
        Hand { action, rung, now: Micros::parse("2026-03-01T02:12:09Z").unwrap() }
    }

    async fn observe(&self) -> Observed {
        self.action.observe(&self.rung, &[], self.now, WITHIN).await.unwrap()
    }

    fn seal(&self, proposal: Proposal) -> Plan {
        Plan::seal(self.action.name(), &self.rung.target, proposal, None, "rule", Micros(1))
    }

    /// What it saw, and its plan.
    async fn plan(&self) -> (Facts, Plan) {
        let observed = self.observe().await;
        let Proposed::Made(proposal) = observed.proposal else { panic!("{:?}", observed.proposal) };
        (observed.facts, self.seal(*proposal))
    }

    async fn refusal(&self) -> (Facts, String) {
        let observed = self.observe().await;
        let Proposed::Refused { why } = observed.proposal else { panic!("{:?}", observed.proposal) };
        (observed.facts, why)
    }

    async fn apply(&self, plan: &Plan) -> Outcome {
        self.action.apply(plan, WITHIN).await
    }

    async fn read_back(&self, plan: &Plan) -> Outcome {
        self.action.read_back(plan, WITHIN).await
    }

    async fn holds(&self, plan: &Plan) -> Holds {
        self.action.holds(plan, self.now, WITHIN).await.unwrap().1
    }

    async fn dry_run(&self, plan: &Plan) -> DryRun {
        self.action.dry_run(&self.rung.target.object, &plan.proposal, WITHIN).await.unwrap()
    }

    async fn undo(&self, plan: &Plan, baseline: Option<&Value>) -> Proposed {
        self.action.observe_undo(plan, baseline, self.now, WITHIN).await.unwrap().proposal
    }

    async fn until_well(&self, plan: &Plan, before: &Facts) -> String {
        wait_until("the target reads well", Duration::from_secs(30), async || {
            match self.action.measure(plan, before, WITHIN).await {
                TargetReading::Well { says } => Ok(says),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

fn changed_since(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NotApplied { changed_since: true, .. })
}

/// What every action keeps, whatever it does. `third_writer`: somebody else's change of what the plan rests on.
async fn contract(hand: &Hand, namespace: &TestNamespace<'_>, third_writer: Value, kind: &str, name: &str) {
    // Looking, proposing and dry-running write nothing.
    let (_, plan) = hand.plan().await;
    assert_eq!(hand.dry_run(&plan).await, DryRun::Accepted);
    assert_eq!(hand.holds(&plan).await, Holds::Yes);
    assert!(matches!(hand.read_back(&plan).await, Outcome::NotApplied { changed_since: false, .. }));
    assert_eq!(namespace.acts().await.len(), 0);
    assert_eq!(namespace.writes().await.len(), 1, "one dry run");

    // A third writer comes in between: the plan does not hold, and the write does not go through.
    namespace.patch(kind, name, &third_writer).await;
    assert!(matches!(hand.holds(&plan).await, Holds::Changed { .. }));
    assert!(matches!(hand.dry_run(&plan).await, DryRun::Rejected { .. }));
    let outcome = hand.apply(&plan).await;
    assert!(changed_since(&outcome), "{outcome:?}");
    assert_eq!(namespace.acts().await.len(), 0);

    // Decided anew: applied once, and twice is once.
    wait_until("the controller has seen it", Duration::from_secs(20), async || {
        let facts = hand.observe().await.facts;
        facts.rollout.map_or(Ok(()), Err)
    })
    .await;
    let (before, plan) = hand.plan().await;
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    assert_eq!(hand.read_back(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    let again = hand.apply(&plan).await;
    assert!(changed_since(&again), "{again:?}");
    let written = namespace.acts().await;
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written[0].uri.contains("fieldManager=nightshift"), "{}", written[0].uri);

    // A namesake made anew is not taken for it.
    namespace.delete(kind, name).await;
    let gone = hand.apply(&plan).await;
    assert!(changed_since(&gone), "{gone:?}");
}

#[tokio::test]
async fn scale_keeps_the_contract_on_deployments_and_stateful_sets() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("scale_contract").await;
    namespace.deployment("web", 2).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", json!({"replicas": "+2"})).await;
    contract(&hand, &namespace, json!({"spec": {"replicas": 3}}), "deployment", "web").await;
    let acts = namespace.acts().await;
    assert_eq!((acts[0].resource.as_str(), acts[0].subresource.as_str()), ("deployments", "scale"));

    let namespace = ControlPlane::shared().await.namespace("scale_contract_set").await;
    namespace.stateful_set("db", 1).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::StatefulSet, "db", json!({"replicas": "50%"})).await;
    contract(&hand, &namespace, json!({"spec": {"replicas": 2}}), "statefulset", "db").await;
}

#[tokio::test]
async fn restart_keeps_the_contract_on_every_kind() {
    if support::hermetic() {
        return;
    }
    let edit = json!({"spec": {"template": {"metadata": {"annotations": {"somebody": "else"}}}}});
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("restart_deployment").await;
    namespace.deployment("web", 2).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "web", Value::Null).await;
    contract(&hand, &namespace, edit.clone(), "deployment", "web").await;

    let namespace = plane.namespace("restart_stateful_set").await;
    namespace.stateful_set("db", 2).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/restart", Kind::StatefulSet, "db", Value::Null).await;
    contract(&hand, &namespace, edit.clone(), "statefulset", "db").await;

    let namespace = plane.namespace("restart_daemon_set").await;
    namespace.daemon_set("agent").ready().await;
    let hand = Hand::new(&namespace, "kubernetes/restart", Kind::DaemonSet, "agent", Value::Null).await;
    contract(&hand, &namespace, edit, "daemonset", "agent").await;
}

#[tokio::test]
async fn a_restart_replaces_the_pods_once_and_kubectl_agrees() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("restart_once").await;
    namespace.deployment("web", 2).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "web", Value::Null).await;
    let (before, plan) = hand.plan().await;
    let revision = |object: &Value| object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone();
    assert_eq!(revision(&namespace.object("deployment", "web").await), "1");
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    let object = namespace.object("deployment", "web").await;
    assert_eq!(revision(&object), "2");
    assert_eq!(
        object["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"],
        "2026-03-01T02:12:09Z"
    );
    let said = namespace.kubectl(&["rollout", "status", "deployment/web", "--timeout=5s"]).await;
    assert!(said.contains("successfully rolled out"), "{said}");
    let Proposed::Refused { .. } = hand.undo(&plan, None).await else { panic!("nothing to put back") };
}

#[tokio::test]
async fn a_scale_is_put_back_and_not_over_somebody_elses_change() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("scale_undo").await;
    namespace.deployment("web", 2).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", json!({"replicas": 4})).await;
    let (_, plan) = hand.plan().await;
    assert_eq!(plan.proposal.summary, "replicas 2 → 4");
    assert_eq!(plan.proposal.effect.touches, ["spec.replicas"]);
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);

    namespace.patch("deployment", "web", &json!({"spec": {"replicas": 7}})).await;
    let Proposed::Refused { why } = hand.undo(&plan, None).await else { panic!("somebody else's 7") };
    assert!(why.starts_with("replicas are 7 (set by ") && why.ends_with("), nightshift left 4"), "{why}");
    namespace.patch("deployment", "web", &json!({"spec": {"replicas": 4}})).await;

    // A lease goes back to its baseline, an undo to what its own step found.
    let Proposed::Made(to_baseline) = hand.undo(&plan, Some(&json!({"replicas": 1}))).await else { panic!() };
    assert_eq!((&to_baseline.from, &to_baseline.to), (&json!({"replicas": 4}), &json!({"replicas": 1})));
    let Proposed::Made(back) = hand.undo(&plan, None).await else { panic!() };
    let undo = hand.seal(*back);
    assert_eq!((undo.proposal.summary.as_str(), &undo.proposal.undo), ("replicas 4 → 2", &Value::Null));
    let (before, _) = hand.action.holds(&undo, hand.now, WITHIN).await.unwrap();
    assert_eq!(hand.apply(&undo).await, Outcome::Applied);
    hand.until_well(&undo, &before).await;
    assert_eq!(namespace.object("deployment", "web").await["spec"]["replicas"], 2);
    assert_eq!(namespace.acts().await.len(), 2);
}

#[tokio::test]
async fn a_scale_from_zero_and_to_zero_tests_what_it_saw() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("scale_zero").await;
    namespace.deployment("web", 0).create().await;
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", json!({"replicas": 2})).await;
    let (facts, plan) = hand.plan().await;
    assert_eq!(facts.replicas, Some(0));
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    let again = hand.apply(&plan).await;
    assert!(changed_since(&again), "{again:?}");
    let Proposed::Made(back) = hand.undo(&plan, None).await else { panic!() };
    assert_eq!(hand.apply(&hand.seal(*back)).await, Outcome::Applied);
    assert_eq!(namespace.object("deployment", "web").await["spec"]["replicas"], 0);
}

#[tokio::test]
async fn what_is_isolated_has_no_pods_and_comes_back_as_it_was() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("isolation").await;
    namespace.deployment("web", 3).ready().await;
    let with = json!({"replicas": 0, "down": true});
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", with).await;
    let (before, plan) = hand.plan().await;
    assert_eq!((plan.proposal.effect.min_ready_after, plan.proposal.effect.destroys), (Some(0), true));
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    let Proposed::Made(back) = hand.undo(&plan, None).await else { panic!() };
    let undo = hand.seal(*back);
    assert_eq!(undo.proposal.summary, "replicas 0 → 3");
    let (before, _) = hand.action.holds(&undo, hand.now, WITHIN).await.unwrap();
    assert_eq!(hand.apply(&undo).await, Outcome::Applied);
    hand.until_well(&undo, &before).await;
    assert_eq!(namespace.acts().await.len(), 2);
}

#[tokio::test]
async fn an_autoscaler_is_asked_for_more_and_never_fought() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("autoscaler").await;
    namespace.deployment("web", 2).ready().await;
    namespace.autoscaler("web", 2, 5).await;
    let scale = |with: Value| Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", with);

    let hand = scale(json!({"replicas": "+2"})).await;
    let (before, plan) = hand.plan().await;
    assert_eq!(plan.proposal.effect.touches, ["hpa/web spec.minReplicas"]);
    assert_eq!(plan.proposal.summary, "minReplicas of HorizontalPodAutoscaler web 2 → 4, there are 2 replicas");
    assert_eq!(before.owner, None);
    assert_eq!(hand.dry_run(&plan).await, DryRun::Accepted);
    assert_eq!(namespace.acts().await.len(), 0);
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    assert_eq!(hand.read_back(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    assert_eq!(namespace.object("deployment", "web").await["spec"]["replicas"], 4, "the autoscaler did it");

    let (facts, why) = scale(json!({"replicas": 1, "down": true})).await.refusal().await;
    assert_eq!(facts.owner.as_deref(), Some("HorizontalPodAutoscaler web"));
    assert!(why.contains("alone decides"), "{why}");
    let (_, why) = scale(json!({"replicas": 9})).await.refusal().await;
    assert_eq!(why, "HorizontalPodAutoscaler web allows at most 5, 9 are wanted");

    // The floor goes back, unless somebody moved it.
    namespace.patch("hpa", "web", &json!({"spec": {"minReplicas": 3}})).await;
    let Proposed::Refused { why } = hand.undo(&plan, None).await else { panic!() };
    assert!(why.contains(" is 3 (set by ") && why.ends_with("), nightshift left 4"), "{why}");
    namespace.patch("hpa", "web", &json!({"spec": {"minReplicas": 4}})).await;
    let Proposed::Made(back) = hand.undo(&plan, None).await else { panic!() };
    assert_eq!(hand.apply(&hand.seal(*back)).await, Outcome::Applied);
    assert_eq!(namespace.object("hpa", "web").await["spec"]["minReplicas"], 2);
    let acts = namespace.acts().await;
    assert!(acts.iter().all(|act| act.resource == "horizontalpodautoscalers"), "{acts:?}");
    assert_eq!(acts.len(), 2);
}

#[tokio::test]
async fn what_gitops_keeps_in_its_manifests_is_not_fought_over() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("gitops").await;
    let manifest = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2, \
                    selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, \
                    spec: {containers: [{name: app, image: 'example.invalid/app:1'}]}}}}";
    let arguments = ["-n", &namespace.name, "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-"];
    let output = namespace.plane().kubectl(&arguments, Some(manifest)).await;
    assert!(output.status.success(), "{output:?}");
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", json!({"replicas": "+1"})).await;
    let (facts, why) = hand.refusal().await;
    assert_eq!(facts.owner.as_deref(), Some("Argo CD (argocd-controller)"));
    assert!(why.contains("would put them back"), "{why}");
    // It has no say about restarts.
    let hand = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "web", Value::Null).await;
    assert_eq!(hand.plan().await.0.owner, None);
}

#[tokio::test]
async fn what_keeps_guards_away_is_seen() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("facts").await;
    namespace.deployment("web", 2).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "web", Value::Null).await;
    let facts = hand.observe().await.facts;
    assert_eq!((facts.paused, facts.rollout, facts.ready, facts.is_itself), (false, None, 2, false));

    // Somebody's rollout, which never gets ready.
    let bad = json!({"spec": {"template": {"metadata": {"labels": {"test/ready": "false"}}}}});
    namespace.patch("deployment", "web", &bad).await;
    let facts = hand.observe().await.facts;
    assert!(facts.rollout.is_some(), "{facts:?}");
    namespace.patch("deployment", "web", &json!({"spec": {"paused": true}})).await;
    assert!(hand.observe().await.facts.paused);

    // All is rolled out, and a pod breaks: no rollout is running, and it is not well.
    namespace.deployment("api", 2).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "api", Value::Null).await;
    let (before, plan) = hand.plan().await;
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    let pods = namespace.list("pod", "app=api").await;
    let pod = pods.iter().find(|pod| pod["metadata"]["deletionTimestamp"].is_null()).unwrap();
    let pod = pod["metadata"]["name"].as_str().unwrap().to_owned();
    namespace.patch("pod", &pod, &json!({"metadata": {"labels": {"test/ready": "false"}}})).await;
    wait_until("the broken pod is seen", Duration::from_secs(10), async || {
        let facts = hand.observe().await.facts;
        if facts.ready == 1 { Ok(()) } else { Err(format!("{facts:?}")) }
    })
    .await;
    assert_eq!(hand.observe().await.facts.rollout, None);
    assert!(matches!(hand.action.measure(&plan, &before, WITHIN).await, TargetReading::NotYet { .. }));

    namespace.deployment("nightshift", 1).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "nightshift", Value::Null).await;
    assert!(hand.observe().await.facts.is_itself);
}

#[tokio::test]
async fn a_failed_rollout_is_told_from_an_unfinished_one() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("failed_rollout").await;
    namespace.deployment("web", 1).spec("progressDeadlineSeconds", json!(3)).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, "web", Value::Null).await;
    let (before, plan) = hand.plan().await;
    assert!(matches!(hand.action.measure(&plan, &before, WITHIN).await, TargetReading::NotYet { .. }), "not restarted");
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    let bad = json!({"spec": {"template": {"metadata": {"labels": {"test/ready": "false"}}}}});
    namespace.patch("deployment", "web", &bad).await;
    wait_until("the deadline has passed", Duration::from_secs(20), async || {
        match hand.action.measure(&plan, &before, WITHIN).await {
            TargetReading::NotYet { says } if says.contains("progress deadline") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_set_lists_its_members_and_nothing_else_is_picked() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("sets").await;
    namespace.deployment("web", 1).label("managed", "true").ready().await;
    namespace.deployment("web-2", 0).label("managed", "true").create().await;
    namespace.deployment("other", 1).ready().await;
    for (name, listed) in [("web", true), ("other", false), ("missing", false)] {
        let mut hand = Hand::new(&namespace, "kubernetes/restart", Kind::Deployment, name, Value::Null).await;
        if let Object::Workload { selector, .. } = &mut hand.rung.target.object {
            *selector = Some("managed=true".to_owned());
        }
        let observed = hand.action.observe(&hand.rung, &[], hand.now, WITHIN).await;
        assert_eq!(observed.is_ok(), listed, "{name}");
        match observed {
            Ok(observed) => assert_eq!(observed.facts.members, Some(2), "the brake counts its share of them"),
            Err(problem) => assert!(problem.contains("which the set does not list"), "{problem}"),
        }
    }

    // Whatever is done with them.
    for name in ["kubernetes/scale", "kubernetes/undo", "kubernetes/delete_pod"] {
        let with = if name == "kubernetes/scale" { json!({"replicas": 2}) } else { json!({}) };
        let mut hand = Hand::new(&namespace, name, Kind::Deployment, "web", with).await;
        if let Object::Workload { selector, .. } = &mut hand.rung.target.object {
            *selector = Some("managed=true".to_owned());
        }
        hand.rung.member = Some("web-0".to_owned());
        let observed = hand.action.observe(&hand.rung, &[], hand.now, WITHIN).await;
        assert_eq!(observed.unwrap().facts.members, Some(2), "{name}");
    }

    // What was done to a member is put back although it left the set.
    let mut hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", json!({"replicas": 2})).await;
    if let Object::Workload { selector, .. } = &mut hand.rung.target.object {
        *selector = Some("managed=true".to_owned());
    }
    let (before, plan) = hand.plan().await;
    assert_eq!(hand.apply(&plan).await, Outcome::Applied);
    namespace.patch("deployment", "web", &json!({"metadata": {"labels": {"managed": null}}})).await;
    assert!(hand.action.observe(&hand.rung, &[], hand.now, WITHIN).await.is_err());
    assert_eq!(hand.read_back(&plan).await, Outcome::Applied);
    hand.until_well(&plan, &before).await;
    let Proposed::Made(back) = hand.undo(&plan, None).await else { panic!() };
    let undo = hand.seal(*back);
    assert_eq!(hand.holds(&undo).await, Holds::Yes);
    assert_eq!(hand.apply(&undo).await, Outcome::Applied);
}

#[tokio::test]
async fn a_missing_right_is_named() {
    if support::hermetic() {
        return;
    }
    let read_only = json!([
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
    ]);
    let namespace = ControlPlane::shared().await.namespace_with_rules("rights", read_only).await;
    namespace.deployment("web", 1).ready().await;
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", json!({"replicas": 2})).await;
    let (_, plan) = hand.plan().await;
    let Outcome::NotApplied { why, changed_since: false } = hand.apply(&plan).await else { panic!() };
    let right = "verbs: [patch], apiGroups: [\"apps\"], resources: [deployments/scale]";
    assert!(why.contains(right) && why.contains(&namespace.name), "{why}");
    let DryRun::Rejected { why } = hand.dry_run(&plan).await else { panic!() };
    assert!(why.contains(right), "{why}");
}

#[tokio::test]
async fn a_policy_that_denies_is_not_taken_for_somebodys_change() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("policy").await;
    namespace.deployment("web", 1).ready().await;
    let api = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({
        "metadata": {"name": namespace.name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
                                 "operations": ["UPDATE"], "resources": ["deployments/scale"]}]},
            "validations": [{"expression": "object.spec.replicas <= 3", "message": "three is enough"}],
        },
    });
    let binding = json!({
        "metadata": {"name": namespace.name},
        "spec": {"policyName": namespace.name, "validationActions": ["Deny"],
                 "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}}}},
    });
    plane.post(&format!("{api}/validatingadmissionpolicies"), &policy).await.unwrap();
    plane.post(&format!("{api}/validatingadmissionpolicybindings"), &binding).await.unwrap();
    let hand = Hand::new(&namespace, "kubernetes/scale", Kind::Deployment, "web", json!({"replicas": 5})).await;
    let (_, plan) = hand.plan().await;
    let why = wait_until("the policy is in force", Duration::from_secs(20), async || match hand.dry_run(&plan).await {
        DryRun::Rejected { why } => Ok(why),
        DryRun::Accepted => Err("accepted".to_owned()),
    })
    .await;
    assert!(why.contains("three is enough"), "{why}");
    let Outcome::NotApplied { why, changed_since } = hand.apply(&plan).await else { panic!() };
    assert!(!changed_since && why.contains("three is enough"), "{why}");
    assert_eq!(namespace.acts().await.len(), 0);
}

#[tokio::test]
async fn nightshifts_own_deployment_is_found_from_its_pod() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("itself").await;
    namespace.deployment("night", 1).ready().await;
    namespace.stateful_set("other", 1).ready().await;
    let cluster = Cluster::connect(Some(&namespace.kubeconfig()), None).await.unwrap();
    let pod = namespace.list("pod", "app=night").await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let found = kubernetes::itself::find(&cluster, &namespace.name, &pod, WITHIN).await.unwrap();
    assert_eq!(found, Some(Itself { namespace: namespace.name.clone(), deployment: "night".to_owned() }));
    let found = kubernetes::itself::find(&cluster, &namespace.name, "other-0", WITHIN).await.unwrap();
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_is_read_back_without_a_second_write() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("lost_answer").await;
    namespace.deployment("web", 1).ready().await;
    let proxy = ApiProxy::start(plane);
    let kubeconfig = namespace.kubeconfig_through(proxy.address());
    let with = json!({"replicas": 2});
    let hand = Hand::through(&kubeconfig, &namespace, "kubernetes/scale", Kind::Deployment, "web", with).await;
    let (_, plan) = hand.plan().await;
    proxy.lose_next_act();
    let outcome = hand.action.apply(&plan, Duration::from_secs(3)).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(hand.read_back(&plan).await, Outcome::Applied);
    assert_eq!(namespace.acts().await.len(), 1);
    let sent = proxy.passed().into_iter().filter(|passed| passed.acts()).count();
    assert_eq!(sent, 1, "one attempt");
}

#[tokio::test]
async fn evidence_shows_what_pods_went_through() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("evidence").await;
    namespace.deployment("crash", 1).pod_label("test/crash", "true").create().await;
    let cluster = Cluster::connect(Some(&namespace.kubeconfig()), None).await.unwrap();
    let mut registry = evidence::Registry::default();
    evidence::kubernetes::register(&mut registry, &cluster);
    let target = Object::Workload {
        namespace: namespace.name.clone(),
        kind: Kind::Deployment,
        name: "crash".to_owned(),
        selector: None,
    };
    let pods = registry.get("kubernetes/pods").unwrap();
    let collected = wait_until("a restart is seen", Duration::from_secs(20), async || {
        let collected = pods.collect(&target, &Value::Null, WITHIN).await?;
        if collected.summary.contains("last ended with") { Ok(collected) } else { Err(collected.summary) }
    })
    .await;
    assert!(collected.summary.starts_with("0 of 1 pods ready"), "{}", collected.summary);
    let logs = registry.get("kubernetes/logs").unwrap();
    let collected = logs.collect(&target, &json!({"lines": 10}), WITHIN).await.unwrap();
    let text = String::from_utf8(collected.body).unwrap();
    assert!(text.contains("/ app ===") && text.contains("/ app, previous run ==="), "{text}");
    assert_eq!(namespace.writes().await.len(), 0);
}
