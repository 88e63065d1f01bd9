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

        let events = night.approve("ana", &step).await;
        assert!(events.iter().any(|event| matches!(event, Event::Approved { .. })), "{events:?}");
        // Clicked twice: there is nothing to approve any more.
        let again = night.approve("ana", &step).await;
        assert!(again.iter().all(|event| matches!(event, Event::CommandRefused { .. })), "{again:?}");
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_state("resolved").await;
        stage.until_card(&["resolved", "Approved by", "ana", "Helped, verified"]).await;
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
    story(&[], async || {
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
