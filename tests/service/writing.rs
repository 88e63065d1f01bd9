//! Stories of the write itself: third writers in between, and answers that never come.

use std::time::Duration;

use nightshift::model::event::Event;
use serde_json::json;

use crate::stage::{Rules, Stage};
use crate::story::story;
use crate::support::api_proxy::{ApiProxy, Fate, Gate, acts};

/// A call's outcome is read back when nobody can be in it any more: 25 s.
const READ_BACK: Duration = Duration::from_secs(70);

#[test]
fn a_write_that_a_third_writer_overtook_is_not_made_and_planned_anew() {
    story(&["the step failed"], async || {
        let stage = Stage::set("overtaken").await;
        stage.namespace.deployment("web", 2).ready().await;
        let proxy = ApiProxy::start(stage.namespace.plane());
        let night = stage.nightshift_through(proxy.address(), &Rules::default()).await;
        let gate = Gate::default();
        proxy.next(acts, Fate::Hold(gate.clone()));
        stage.load_rises();
        gate.reached().await;
        stage.namespace.patch("deployment", "web", &json!({"spec": {"replicas": 3}})).await;
        stage.namespace.until_rolled_out("web").await;
        gate.open();
        night.until_step("verifying").await;
        stage.load_falls();
        night.until_step("verified").await;
        let incident = night.incidents().await.pop().unwrap();
        let phases: Vec<&str> = incident.steps.iter().map(|step| step.phase.as_str()).collect();
        assert_eq!(phases, ["failed", "verified"], "{incident:#?}");
        stage.until_card(&["Helped, verified", "replicas 3 → 5"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        assert_eq!(stage.replicas().await, 5);
        stage.assert_nobody_paged();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn overtaken_three_times_it_is_handed_to_people() {
    story(&["the step failed", "page: a person is needed"], async || {
        let stage = Stage::set("overtaken_thrice").await;
        stage.namespace.deployment("web", 2).ready().await;
        let proxy = ApiProxy::start(stage.namespace.plane());
        let night = stage.nightshift_through(proxy.address(), &Rules::default()).await;
        let gates = [Gate::default(), Gate::default(), Gate::default()];
        gates.iter().for_each(|gate| proxy.next(acts, Fate::Hold(gate.clone())));
        stage.load_rises();
        for (gate, replicas) in gates.iter().zip([3, 4, 5]) {
            gate.reached().await;
            stage.namespace.patch("deployment", "web", &json!({"spec": {"replicas": replicas}})).await;
            stage.namespace.until_rolled_out("web").await;
            gate.open();
        }
        stage.until_paged("it was changed by somebody else each of 3 times").await;
        let incident = night.incidents().await.pop().unwrap();
        let phases: Vec<&str> = incident.steps.iter().map(|step| step.phase.as_str()).collect();
        assert_eq!(phases, ["failed", "failed", "failed"], "{incident:#?}");
        night.stop().await;
        stage.assert_acts(0).await;
        assert_eq!(stage.replicas().await, 5);
        stage.slack.assert_nothing_broken();
    });
}

/// Two stories at once, because each waits for half a minute.
#[test]
fn a_write_without_an_answer_is_read_back_and_never_made_twice() {
    let troubles = ["the call's answer was lost", "the step failed", "page: a person is needed"];
    story(&troubles, async || {
        tokio::join!(it_was_made_and_its_answer_lost(), it_was_lost_on_its_way());
    });
}

async fn it_was_made_and_its_answer_lost() {
    let stage = Stage::set("answer_lost").await;
    stage.namespace.deployment("web", 2).ready().await;
    let proxy = ApiProxy::start(stage.namespace.plane());
    let night = stage.nightshift_through(proxy.address(), &Rules::default()).await;
    proxy.lose_next_act();
    stage.load_rises();
    stage.until_acted().await;
    stage.until_card(&["The answer was lost: it will be read back"]).await;
    night.until_step_within(READ_BACK, "verifying").await;
    stage.load_falls();
    night.until_step("verified").await;
    let incident = night.incidents().await.pop().unwrap();
    assert_eq!(incident.steps.len(), 1, "{incident:#?}");
    stage.until_card(&["Helped, verified"]).await;
    let kept = night.stop().await;
    assert!(kept.events().any(|event| matches!(event, Event::ReadBackBegan { .. })));
    stage.assert_acts(1).await;
    stage.assert_nobody_paged();
    stage.slack.assert_nothing_broken();
}

async fn it_was_lost_on_its_way() {
    let stage = Stage::set("request_lost").await;
    stage.namespace.deployment("web", 2).ready().await;
    let proxy = ApiProxy::start(stage.namespace.plane());
    let night = stage.nightshift_through(proxy.address(), &Rules::default()).await;
    proxy.next(acts, Fate::LoseRequest);
    stage.load_rises();
    let step = night.until_step_within(READ_BACK, "failed").await;
    assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("call_failed"), "{step:#?}");
    stage.until_paged("the call failed").await;
    stage.until_card(&["Changed nothing"]).await;
    night.stop().await;
    assert_eq!(proxy.plans_left(), 0, "it was tried");
    stage.assert_acts(0).await;
    assert_eq!(stage.replicas().await, 2);
    stage.slack.assert_nothing_broken();
}
