//! Stories of what is said after the write: helped, did not, or nobody can tell.

use nightshift::model::event::Event;
use nightshift::model::step::Answer;

use crate::stage::{Rules, Stage};
use crate::story::story;

#[test]
fn with_prometheus_gone_in_mid_verification_a_resolved_alert_is_not_called_fixed() {
    let troubles = ["page: a person is needed", "inconclusive", "could not measure"];
    story(&troubles, async || {
        let stage = Stage::set("prometheus_gone").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { resolved_within: "12s", ..Rules::default() }).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.prometheus.server().process().pause();
        // Nobody refreshes the alert: Alertmanager lets it resolve by itself.
        night.until("nothing of it fires", |incident| incident.firing == 0).await;
        let step = night.until_step("inconclusive").await;
        stage.until_paged("alerting rule").await;
        stage.until_card(&["❔"]).await;
        assert!(!step.says.contains("helped"), "{step:#?}");
        let kept = night.stop().await;
        let helped = |event: &Event| matches!(event, Event::StepVerified { answer: Answer::Helped, .. });
        assert!(!kept.events().any(helped));
        stage.assert_acts(1).await;
        stage.slack.assert_nothing_broken();
        stage.prometheus.server().process().resume();
    });
}

#[test]
fn what_did_not_help_is_put_back_and_handed_to_people() {
    let troubles = ["page: a person is needed", "it did not help"];
    story(&troubles, async || {
        let stage = Stage::set("did_not_help").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { resolved_within: "6s", ..Rules::default() }).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.until_paged("every step was tried").await;
        let incident = night.incidents().await.pop().unwrap();
        let phases: Vec<&str> = incident.steps.iter().map(|step| step.phase.as_str()).collect();
        assert_eq!(phases, ["ineffective", "verified"], "the fix and its undo: {incident:#?}");
        assert_eq!(stage.replicas().await, 2);
        stage.until_card(&["firing", "Every step was tried"]).await;
        night.stop().await;
        stage.assert_acts(2).await;
        assert_eq!(stage.cards().len(), 1);
        stage.slack.assert_nothing_broken();
    });
}
