//! Stories in which a person decides, or only is told.

use nightshift::model::event::Event;

use crate::stage::{Rules, Stage};
use crate::story::story;

#[test]
fn what_was_asked_for_is_done_once_a_person_has_approved() {
    story(&[], async || {
        let stage = Stage::set("approved").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { mode: "ask", ..Rules::default() }).await;
        stage.load_rises();
        let step = night.until_step("asking").await;
        stage.until_card(&["Waits for an approval", "replicas 2 → 4", "nightshift approve 1.1"]).await;
        stage.assert_acts(0).await;

        let shown = night.does("ana", &["approve", "1.1", "--yes"]).await;
        assert!(shown.contains("replicas 2 → 4") && shown.contains("step 1.1 approved, by local:ana"), "{shown}");
        // Twice: there is nothing to approve any more.
        let again = night.approve("ben", &step).await;
        assert!(again.iter().all(|event| matches!(event, Event::CommandRefused { .. })), "{again:?}");
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_step("verified").await;
        stage.until_card(&["Approved by", "ana", "Helped, verified"]).await;
        stage.until_reply(&["ana approved step 1.1"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        assert_eq!(stage.replicas().await, 4);
        assert_eq!(stage.cards().len(), 1);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn an_approval_of_what_somebody_changed_meanwhile_is_void_and_asked_anew() {
    story(&[], async || {
        let stage = Stage::set("changed_before_the_click").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { mode: "ask", ..Rules::default() }).await;
        stage.load_rises();
        let first = night.until_step("asking").await;
        stage.namespace.patch("deployment", "web", &serde_json::json!({"spec": {"replicas": 3}})).await;
        stage.namespace.until_rolled_out("web").await;

        night.approve("ana", &first).await;
        let asked_anew = night
            .until("a second step that asks", |incident| {
                incident.steps.len() == 2 && incident.steps[1].phase == "asking"
            })
            .await;
        let (first, second) = (&asked_anew.steps[0], &asked_anew.steps[1]);
        assert_eq!(first.phase, "dropped");
        assert_eq!(first.reason.as_ref().map(|reason| reason.word()), Some("changed_since"), "{first:#?}");
        assert_ne!(first.plan_hash, second.plan_hash);
        assert_eq!(second.summary.as_deref(), Some("replicas 3 → 5"));
        stage.until_card(&["replicas 3 → 5", "nightshift approve 1.2"]).await;
        // The old plan's hash opens nothing.
        let refused = night.approve("ana", first).await;
        assert!(refused.iter().all(|event| matches!(event, Event::CommandRefused { .. })), "{refused:?}");
        let kept = night.stop().await;
        assert!(kept.events().any(|event| matches!(event, Event::ApprovalVoided { .. })));
        stage.assert_acts(0).await;
        assert_eq!(stage.replicas().await, 3);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn shadow_proves_by_a_dry_run_what_it_would_have_done() {
    story(&["no rule of P1 acts, and only what acts pages people"], async || {
        let stage = Stage::set("shadow").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { mode: "shadow", ..Rules::default() }).await;
        stage.load_rises();
        night.until_step("dropped").await;
        stage.until_card(&["firing", "Would have done this", "replicas 2 → 4"]).await;
        stage.until_reply(&["Shadow: would have done replicas 2 → 4", "the API server's dry run accepts it"]).await;
        stage.load_falls();
        night.until_state("resolved").await;
        stage.until_card(&["resolved", "shadow"]).await;
        night.stop().await;
        let writes = stage.namespace.writes().await;
        let seen: Vec<_> = writes.iter().map(|write| (write.dry_run, write.code)).collect();
        assert_eq!(seen, [(true, 200)], "one dry run and nothing else");
        assert_eq!(stage.replicas().await, 2);
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_rejected_step_is_not_done_and_its_rule_stays_away_until_the_incident_is_over() {
    story(&[], async || {
        let stage = Stage::set("rejected").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { mode: "ask", quiet: "8s", ..Rules::default() }).await;
        stage.load_rises();
        night.until_step("asking").await;
        night.does("ana", &["reject", "1.1"]).await;
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("rejected"), "{step:#?}");
        stage.until_card(&["Ended by local:ana"]).await;
        // It flaps: the same incident, and nobody is asked again.
        stage.load_falls();
        night.until_state("monitoring").await;
        stage.load_rises();
        let incident = night.until_state("open").await;
        assert_eq!((incident.id.0, incident.steps.len()), (1, 1), "{incident:#?}");
        night.stop().await;
        stage.assert_acts(0).await;
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn an_undo_by_a_person_puts_it_back_at_once() {
    story(&["inconclusive"], async || {
        let stage = Stage::set("undone").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        night.until_step("verifying").await;
        night.does("ana", &["undo", "1.1"]).await;
        let incident = night
            .until("the undo is verified", |incident| {
                incident.steps.len() == 2 && incident.steps[1].phase == "verified"
            })
            .await;
        assert_eq!(incident.steps[1].purpose, "undo of 1.1");
        assert_eq!(stage.replicas().await, 2);
        stage.until_reply(&["ana undoes step 1.1"]).await;
        stage.until_card(&["firing", "Ended by local:ana"]).await;
        night.stop().await;
        stage.assert_acts(2).await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn after_an_acknowledge_what_is_new_needs_an_approval() {
    story(&[], async || {
        let stage = Stage::set("acknowledged").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { fires_for: "5s", ..Rules::default() }).await;
        stage.load_rises();
        night.until_step("holding").await;
        night.does("ana", &["ack", "1"]).await;
        let step = night.until_step("asking").await;
        assert_eq!(step.mode, "auto");
        stage.until_card(&["With", "ana", "Waits for an approval"]).await;
        let why = night.does("ana", &["why", "1"]).await;
        assert!(why.contains("acknowledged") && why.contains("nightshift approve 1.1"), "{why}");
        stage.load_falls();
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("alert_resolved"), "{step:#?}");
        night.stop().await;
        stage.assert_acts(0).await;
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
    });
}
