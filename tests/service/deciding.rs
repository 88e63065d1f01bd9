//! Stories in which nightshift looks, and leaves it alone.

use nightshift::model::event::{Event, LadderEnd};
use serde_json::json;

use crate::stage::{Rules, Stage};
use crate::story::story;
use crate::support::api_proxy::{ApiProxy, Fate, Gate};

#[test]
fn a_target_in_the_middle_of_somebodys_rollout_is_not_touched() {
    story(&["page: a person is needed"], async || {
        let stage = Stage::set("mid_rollout").await;
        stage.namespace.deployment("web", 2).ready().await;
        // A new version whose pods never get ready.
        let version = json!({"spec": {"template": {"metadata": {"labels": {"test/ready": "false"}}}}});
        stage.namespace.patch("deployment", "web", &version).await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_rises();
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("rollout_running"), "{step:#?}");
        stage.until_paged("a rollout is running").await;
        stage.until_card(&["firing", "Not done: a rollout is running"]).await;
        night.stop().await;
        stage.assert_acts(0).await;
        assert_eq!(stage.replicas().await, 2);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn an_alert_that_resolves_before_its_time_is_up_changes_nothing() {
    story(&[], async || {
        let stage = Stage::set("resolved_early").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { fires_for: "20s", ..Rules::default() }).await;
        stage.load_rises();
        let step = night.until_step("holding").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("for"), "{step:#?}");
        stage.load_falls();
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("alert_resolved"), "{step:#?}");
        night.until_state("resolved").await;
        stage.until_card(&["resolved", "resolved before anything"]).await;
        let kept = night.stop().await;
        let needed = |event: &&Event| matches!(event, Event::LadderEnded { how: LadderEnd::NotNeeded, .. });
        assert_eq!(kept.events().filter(needed).count(), 1);
        assert_eq!(stage.namespace.writes().await.len(), 0);
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_silence_made_between_deciding_and_acting_stops_it() {
    story(&[], async || {
        let stage = Stage::set("silenced").await;
        stage.namespace.deployment("web", 2).ready().await;
        let proxy = ApiProxy::start(stage.namespace.plane());
        let night = stage.nightshift_through(proxy.address(), &Rules::default()).await;
        let gate = Gate::default();
        proxy.next(|method, uri| method == "GET" && uri.contains("/deployments/web"), Fate::Hold(gate.clone()));
        stage.load_rises();
        gate.reached().await;
        // It was let in and is being looked at.
        let labels = [("alertname", "HighLoad")];
        let id = stage.alertmanager().silence(&labels, "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z").await;
        gate.open();
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("silenced"), "{step:#?}");
        assert!(step.says.contains(&id), "it says by which silence: {}", step.says);
        stage.until_reply(&["Not acting: silenced or inhibited in Alertmanager"]).await;
        night.stop().await;
        stage.assert_acts(0).await;
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_silence_made_while_an_approval_is_awaited_stops_it() {
    story(&[], async || {
        let stage = Stage::set("silenced_before_the_click").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { mode: "ask", ..Rules::default() }).await;
        stage.load_rises();
        let step = night.until_step("asking").await;
        stage
            .alertmanager()
            .silence(&[("alertname", "HighLoad")], "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
            .await;
        night.approve("ana", &step).await;
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("silenced"), "{step:#?}");
        night.stop().await;
        stage.assert_acts(0).await;
        stage.slack.assert_nothing_broken();
    });
}
