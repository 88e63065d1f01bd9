//! Stories of a flip: traffic goes to the other colour and is watched there; what fails by itself goes back once, and people
//! have it then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::night::Nightshift;
use crate::stage::{SOON, Stage};
use crate::story::story;
use crate::support::api_proxy::{ApiProxy, Passed};
use crate::support::stub::Stub;
use crate::support::wait_until;

/// The shortest watch that rules may ask for, and a busy machine.
const A_WATCH: Duration = Duration::from_secs(120);

/// A Service whose traffic blue has, two pods of each colour, a page of each for smoke tests, and a proxy that keeps what
/// the API server is asked.
struct Colours {
    stage: Stage,
    proxy: ApiProxy,
    page: Stub,
    /// Green's page answers this.
    green_answers: Arc<AtomicU16>,
}

impl Colours {
    async fn set(name: &str) -> Self {
        let stage = Stage::set(name).await;
        for color in ["blue", "green"] {
            let deployment = stage.namespace.deployment(&format!("web-{color}"), 2);
            deployment.pod_label("service", "web").pod_label("version", color).ready().await;
        }
        let selector = json!({"service": "web", "version": "blue"});
        let service = json!({"metadata": {"name": "web"}, "spec": {"selector": selector, "ports": [{"port": 80}]}});
        stage.namespace.create_object("service", &service).await;
        let green_answers = Arc::new(AtomicU16::new(200));
        let status = green_answers.clone();
        let page = Stub::start(move |asked| {
            let is_green = asked.uri == "/green";
            (if is_green { status.load(Ordering::Relaxed) } else { 200 }, String::new())
        });
        let proxy = ApiProxy::start(stage.namespace.plane());
        Self { stage, proxy, page, green_answers }
    }

    async fn nightshift(&self) -> Nightshift {
        let rules = format!(
            "settle_after_start: 0s\n\
             targets:\n  traffic:\n    kubernetes: {{namespace: {}, service: web}}\n\
             \x20   blue_green: {{selector: version, colors: [blue, green], deployment: 'web-{{color}}'}}\n\
             escalations:\n  urgent: {{severities: P0..P1, levels: [{{after: 0m, to: platform}}]}}\n\
             rules:\n\
             \x20 - name: web-high-load\n    match: ['alertname = \"HighLoad\"']\n    severity: P1\n    service: web\n\
             \x20   mode: auto\n    limits: [10 per 1h]\n    cooldown: 1s\n    quiet: 6s\n\
             \x20   remediate:\n      - action: kubernetes/flip\n        target: traffic\n\
             \x20       with: {{watch: 1m, smoke: {{url: '{}/{{color}}', timeout: 1s}}}}\n        verify: {{settle: 1s}}\n\
             \x20 - name: everything-else\n    match: []\n    severity: P3\n    group_by: [alertname]\n",
            self.stage.namespace.name,
            self.page.url(),
        );
        self.stage.nightshift_at(self.proxy.address(), &rules).await
    }

    async fn selector(&self) -> Value {
        self.stage.namespace.object("service", "web").await["spec"]["selector"].clone()
    }

    async fn until_live(&self, color: &str) {
        let live = |web: &Value| match web["spec"]["selector"]["version"].as_str() {
            Some(live) if live == color => Ok(()),
            other => Err(format!("{other:?}")),
        };
        self.stage.namespace.until("service", "web", SOON, live).await;
    }

    /// The audit log has these selectors written to the Service, and nothing else of nightshift.
    async fn assert_flips(&self, colors: &[&str]) {
        let acts = self.stage.namespace.acts().await;
        let written = |act: &crate::support::audit::AuditEvent| {
            assert_eq!((act.verb.as_str(), act.resource.as_str(), act.name.as_str()), ("patch", "services", "web"));
            let operations = act.request_object.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
            let replaced = operations.iter().find(|one| one["op"] == "replace").cloned().unwrap_or_default();
            replaced["value"]["version"].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(acts.iter().map(written).collect::<Vec<_>>(), colors, "{acts:#?}");
        for color in ["blue", "green"] {
            let deployment = self.stage.namespace.object("deployment", &format!("web-{color}")).await;
            let last = &deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
            assert_eq!(last, "1", "neither colour was rolled");
        }
    }

    /// Reads of the Service's EndpointSlices since its last write.
    fn endpoints_read(&self) -> usize {
        let passed = self.proxy.passed();
        let since = passed.iter().rposition(Passed::acts).unwrap_or_default();
        let mine = |one: &&Passed| one.uri.contains("/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb");
        passed[since..].iter().filter(mine).count()
    }

    /// Paths that smoke tests asked for.
    fn asked(&self) -> Vec<String> {
        self.page.received().into_iter().map(|one| one.uri).collect()
    }
}

#[test]
fn traffic_goes_to_the_other_colour_and_is_watched_there_until_it_is_called_helped() {
    story(&[], async || {
        let colours = Colours::set("flipped").await;
        let stage = &colours.stage;
        let night = colours.nightshift().await;
        stage.load_rises();
        colours.until_live("green").await;
        assert!(colours.asked().iter().all(|path| path == "/green"), "{:?}", colours.asked());
        stage.load_falls();
        night.until("nothing of it fires", |incident| incident.firing == 0).await;
        wait_until("its endpoints are read", SOON, async || {
            if colours.endpoints_read() > 1 { Ok(()) } else { Err(format!("{:#?}", colours.proxy.passed())) }
        })
        .await;
        let step = night.until_step("verifying").await;
        let began = step.started_at.expect("it has started");
        let step = night.until_step_within(A_WATCH, "verified").await;
        let lasted = step.ended_at.expect("it has ended") - began;
        assert!(lasted >= nightshift::model::time::Span::minutes(1), "it was watched for {lasted} only");
        stage.until_card(&["traffic blue → green (web-green, 2 pods ready)", "Helped, verified"]).await;
        night.stop().await;
        assert_eq!(colours.selector().await, json!({"service": "web", "version": "green"}));
        colours.assert_flips(&["green"]).await;
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_new_colour_that_loses_its_pods_while_it_is_watched_is_left_once_and_people_are_paged() {
    story(&["page: a person is needed", "what it put in place is not well"], async || {
        let colours = Colours::set("flipped_back").await;
        let stage = &colours.stage;
        let night = colours.nightshift().await;
        stage.load_rises();
        colours.until_live("green").await;
        night.until_step("verifying").await;
        let pods = stage.namespace.list("pod", "version=green").await;
        let pod = pods[0]["metadata"]["name"].as_str().unwrap();
        stage.namespace.patch("pod", pod, &json!({"metadata": {"labels": {"test/ready": "false"}}})).await;
        colours.until_live("blue").await;
        stage.until_paged("what it switched to is not well: 1 endpoints of green are ready, 2 are wanted").await;
        let incident = night.incidents().await.pop().unwrap();
        let steps: Vec<(&str, &str)> =
            incident.steps.iter().map(|step| (step.purpose.as_str(), step.phase.as_str())).collect();
        assert_eq!(steps, [("fix", "ineffective"), ("undo of 1.1", "verified")], "{incident:#?}");
        stage.until_card(&["firing", "traffic blue → green", "traffic green → blue"]).await;
        // It goes on firing, and blue is looked after by people: nothing is flipped a second time.
        night.until("it still fires", |incident| incident.firing == 1).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        night.stop().await;
        colours.assert_flips(&["green", "blue"]).await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn whoever_closed_the_incident_hears_of_a_red_smoke_test_and_it_goes_back_all_the_same() {
    story(&["page: a person is needed", "what it put in place is not well"], async || {
        let colours = Colours::set("flipped_back_closed").await;
        let stage = &colours.stage;
        let night = colours.nightshift().await;
        stage.load_rises();
        colours.until_live("green").await;
        night.until_step("verifying").await;
        night.does("ana", &["resolve", "1"]).await;
        night.until_state("resolved").await;
        colours.green_answers.store(500, Ordering::Relaxed);
        stage.until_paged("the smoke test of green is red: it answered 500, not 200").await;
        colours.until_live("blue").await;
        night.until_step("verified").await;
        night.stop().await;
        colours.assert_flips(&["green", "blue"]).await;
        assert!(colours.asked().iter().any(|path| path == "/blue"), "blue passes the same test first");
        stage.slack.assert_nothing_broken();
    });
}
