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

#[test]
fn an_alert_that_ended_with_its_series_is_not_called_fixed() {
    let troubles = ["page: a person is needed", "inconclusive"];
    story(&troubles, async || {
        let stage = Stage::set("series_gone").await;
        stage.namespace.deployment("web", 2).ready().await;
        let asks = Rules { resolved_within: "12s", query: "load", ..Rules::default() };
        let night = stage.nightshift(&asks).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.load_vanishes();
        night.until("nothing of it fires", |incident| incident.firing == 0).await;
        night.until_step("inconclusive").await;
        stage.until_paged("the verification query returned no data").await;
        let kept = night.stop().await;
        let helped = |event: &Event| matches!(event, Event::StepVerified { answer: Answer::Helped, .. });
        assert!(!kept.events().any(helped));
        stage.assert_acts(1).await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn what_fires_again_while_it_is_watched_is_the_same_incident_and_never_the_same_rung() {
    story(&["page: a person is needed"], async || {
        let stage = Stage::set("fires_again").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { quiet: "20s", query: "load", ..Rules::default() }).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_step("verified").await;
        stage.load_rises();
        stage.until_reply(&["It fires again: reopened."]).await;
        stage.until_paged("every step was tried").await;
        stage.load_falls();
        let incident = night.until_state("resolved").await;
        assert_eq!((incident.id.0, incident.steps.len()), (1, 1), "{incident:#?}");
        stage.until_card(&["resolved"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        assert_eq!(stage.cards().len(), 1);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_restart_of_nightshift_in_mid_verification_changes_nothing() {
    story(&[], async || {
        let stage = Stage::set("started_again").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_rises();
        stage.until_acted().await;
        night.until_step("verifying").await;
        night.stop().await;
        stage.namespace.until_rolled_out("web").await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_falls();
        let incident = night.until_state("resolved").await;
        let phases: Vec<&str> = incident.steps.iter().map(|step| step.phase.as_str()).collect();
        assert_eq!((incident.id.0, phases), (1, vec!["verified"]), "{incident:#?}");
        stage.until_card(&["resolved", "Helped, verified"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        assert_eq!(stage.cards().len(), 1);
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
    });
}
