//! Stories in which nightshift changes something, and it helps.

use nightshift::journal::{Hash, Journal};
use nightshift::model::event::{Event, HowResolved, LadderEnd};
use nightshift::model::input::Input;
use nightshift::model::time::Micros;

use crate::night::Nightshift;
use crate::stage::{Rules, SOON, Stage};
use crate::story::story;
use crate::support::peers::installed;
use crate::support::wait_until;

#[test]
fn a_firing_alert_is_answered_by_one_write_verified_and_closed_in_one_message() {
    story(&[], async || {
        let stage = Stage::set("the_whole_way").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_rises();
        stage.until_acted().await;
        assert_eq!(stage.namespace.until_rolled_out("web").await["status"]["readyReplicas"], 4);
        stage.load_falls();
        night.until_state("monitoring").await;
        stage.until_card(&["monitoring"]).await;
        let incident = night.until_state("resolved").await;
        assert_eq!(incident.steps.len(), 1, "{incident:#?}");
        assert_eq!(incident.steps[0].phase, "verified");
        stage.until_card(&["P1 resolved: web has too much load", "replicas 2 → 4", "Helped, verified"]).await;
        stage.until_reply(&["Step 1.1 started on", "replicas 2 → 4"]).await;
        stage.until_reply(&["Step 1.1: helped, verified"]).await;

        assert_metrics_are_clean(&night).await;
        let kept = night.stop().await;
        let acts = stage.namespace.acts().await;
        let [act] = acts.as_slice() else { panic!("not one write: {acts:#?}") };
        assert_eq!(
            (act.resource.as_str(), act.subresource.as_str(), act.name.as_str()),
            ("deployments", "scale", "web")
        );
        assert_eq!(stage.replicas().await, 4);
        let cards = stage.cards();
        assert_eq!(cards.len(), 1, "{cards:#?}");
        assert!(cards[0].updates > 0);
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
        let helped = |event: &Event| matches!(event, Event::LadderEnded { how: LadderEnd::Helped, .. });
        assert_eq!(kept.events().filter(|event| helped(event)).count(), 1);
        let quiet = |event: &Event| matches!(event, Event::IncidentResolved { how: HowResolved::Quiet, .. });
        assert_eq!(kept.events().filter(|event| quiet(event)).count(), 1);
    });
}

#[test]
fn an_autoscaler_gets_a_higher_floor_and_the_workload_is_left_to_it() {
    story(&[], async || {
        let stage = Stage::set("autoscaled").await;
        stage.namespace.deployment("web", 2).ready().await;
        stage.namespace.autoscaler("web", 2, 6).await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_rises();
        stage.until_acted().await;
        let four = |web: &serde_json::Value| match web["status"]["readyReplicas"].as_i64() {
            Some(4) => Ok(()),
            other => Err(format!("{other:?} ready")),
        };
        stage.namespace.until("deployment", "web", SOON, four).await;
        stage.load_falls();
        night.until_step("verified").await;
        stage.until_card(&["minReplicas of HorizontalPodAutoscaler web 2 → 4"]).await;
        night.stop().await;
        let acts = stage.namespace.acts().await;
        let [act] = acts.as_slice() else { panic!("not one write: {acts:#?}") };
        assert_eq!((act.resource.as_str(), act.name.as_str()), ("horizontalpodautoscalers", "web"));
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_restart_replaces_the_pods_once_after_what_they_said_was_kept() {
    story(&[], async || {
        let stage = Stage::set("restarted").await;
        stage.namespace.deployment("web", 2).ready().await;
        let restart = Rules { action: "kubernetes/restart", with: "", ..Rules::default() };
        let night = stage.nightshift(&restart).await;
        stage.load_rises();
        stage.until_acted().await;
        let web = stage.namespace.until_rolled_out("web").await;
        assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
        stage.load_falls();
        let incident = night.until_state("resolved").await;
        assert_eq!(incident.steps[0].phase, "verified", "{incident:#?}");
        let collected: Vec<&str> = incident.evidence.iter().map(|one| one.collector.as_str()).collect();
        assert_eq!(collected.len(), 2, "{incident:#?}");
        stage.until_card(&["resolved", "Evidence", "kubernetes/pods", "kubernetes/logs"]).await;

        let kept = night.stop().await;
        let acts = stage.namespace.acts().await;
        let [act] = acts.as_slice() else { panic!("not one write: {acts:#?}") };
        let annotations = &act.request_object.as_ref().unwrap()["spec"]["template"]["metadata"]["annotations"];
        assert!(annotations["kubectl.kubernetes.io/restartedAt"].is_string() || !annotations.is_object(), "{act:#?}");
        let written = Micros::parse(&act.stage_timestamp).unwrap();
        let mut logs = String::new();
        for entry in &kept.entries {
            let Input::Gathered { result, .. } = &entry.input else { continue };
            assert!(entry.at < written, "collected only after the write");
            let digest: Hash = result.as_ref().expect("collected").digest.parse().unwrap();
            let body = kept.journal.evidence(digest).await.unwrap().expect("kept beside the chain");
            logs.push_str(&String::from_utf8_lossy(&body));
        }
        assert!(logs.contains("pool exhausted: 20 of 20 in use"), "{logs}");
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn two_alertmanagers_tell_the_same_and_it_is_one_incident_and_one_write() {
    story(&[], async || {
        let stage = Stage::with_alertmanagers("told_twice", 2).await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_rises();
        stage.until_acted().await;
        for alertmanager in &stage.alertmanagers {
            wait_until("each Alertmanager has delivered", SOON, async || {
                let metrics = alertmanager.server().get("/metrics").await?;
                let text = metrics.as_str().unwrap_or_default();
                let mut sent = text.lines().filter(|line| {
                    line.starts_with("alertmanager_notifications_total{integration=\"webhook\"")
                        && !line.ends_with(" 0")
                });
                sent.next().map(|_| ()).ok_or_else(|| "nothing sent".to_owned())
            })
            .await;
        }
        stage.load_falls();
        let incident = night.until_state("resolved").await;
        assert_eq!(incident.steps.len(), 1, "{incident:#?}");
        assert_eq!(night.incidents().await.len(), 1);
        stage.until_card(&["resolved"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        assert_eq!(stage.cards().len(), 1);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_limit_that_is_used_up_drops_the_step_and_calls_people() {
    story(&["page: a person is needed"], async || {
        let stage = Stage::set("limited").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { limits: "1 per 1h", ..Rules::default() }).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_state("resolved").await;
        // The cool-down of one second is over too: only the limit stands in the way.
        stage.load_rises();
        night.until("a second incident", |incident| incident.id.0 == 2).await;
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("limit"), "{step:#?}");
        stage.until_paged("1 of 1 within").await;
        stage.until_card(&["1 of 1 within", "Over to people"]).await;
        let why = night.does("ana", &["why", "2"]).await;
        assert!(why.contains("limits") && why.contains("1 per 1h"), "{why}");
        stage.load_falls();
        night.until_state("resolved").await;
        stage.until_card(&["resolved"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        assert_eq!(stage.cards().len(), 2, "one message an incident");
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_lease_that_is_ended_puts_the_replicas_back() {
    story(&[], async || {
        let stage = Stage::set("leased").await;
        stage.namespace.deployment("web", 2).ready().await;
        let leased = Rules { with: "{replicas: +2, lease: 1h}", ..Rules::default() };
        let night = stage.nightshift(&leased).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_step("verified").await;
        stage.until_card(&["replicas 2 → 4", "then it is put back"]).await;
        night.does("ana", &["lease", "end", "1.1"]).await;
        stage.until_reply(&["ended: put back"]).await;
        let incident = night.until_state("resolved").await;
        let phases: Vec<&str> = incident.steps.iter().map(|step| step.phase.as_str()).collect();
        assert_eq!(phases, ["verified", "verified"], "{incident:#?}");
        night.stop().await;
        stage.assert_acts(2).await;
        assert_eq!(stage.replicas().await, 2);
        stage.slack.assert_nothing_broken();
    });
}

/// What Prometheus' own linter says of /metrics, with a whole incident counted in it.
async fn assert_metrics_are_clean(night: &Nightshift) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/metrics", night.admin_url());
    let http = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
    let text = http.get(url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
    let file = folder.path().join("metrics");
    std::fs::write(&file, &text).unwrap();
    let mut promtool = tokio::process::Command::new(installed(&["promtool"]));
    promtool.args(["check", "metrics"]).stdin(std::fs::File::open(&file).unwrap());
    let said = promtool.output().await.unwrap();
    let complaints = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && complaints.trim().is_empty(), "{complaints}\n{text}");
}
