//! Stories with the API server away when it would be needed.

use std::time::Duration;

use nightshift::model::event::Event;

use crate::stage::{Rules, Stage};
use crate::story::story;
use crate::support::proxy::{Mode, Proxy};

/// It is asked again after 10, 30 and 60 s before people are called.
const GIVEN_UP: Duration = Duration::from_secs(160);

/// Two stories at once, because one waits for two minutes.
#[test]
fn an_api_server_that_is_away_is_waited_for_and_acted_on_once_or_handed_over() {
    story(&["page: a person is needed"], async || {
        tokio::join!(it_stays_away(), it_comes_back_in_time());
    });
}

async fn it_stays_away() {
    let stage = Stage::set("stays_away").await;
    stage.namespace.deployment("web", 2).ready().await;
    let proxy = Proxy::start(stage.namespace.plane().address());
    let night = stage.nightshift_through(proxy.address(), &Rules::default()).await;
    proxy.set(Mode::Refuse);
    stage.load_rises();
    night.until_step("holding").await;
    let step = night.until_step_within(GIVEN_UP, "dropped").await;
    assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("not_observed"), "{step:#?}");
    stage.until_paged("the target could not be observed").await;
    // It comes back: what was handed over stays with people.
    proxy.set(Mode::Pass);
    let kept = night.stop().await;
    assert_eq!(kept.events().filter(|event| matches!(event, Event::StepHeld { .. })).count(), 3);
    assert_eq!(stage.namespace.writes().await.len(), 0);
    stage.slack.assert_nothing_broken();
}

async fn it_comes_back_in_time() {
    let stage = Stage::set("comes_back").await;
    stage.namespace.deployment("web", 2).ready().await;
    let proxy = Proxy::start(stage.namespace.plane().address());
    let night = stage.nightshift_through(proxy.address(), &Rules::default()).await;
    proxy.set(Mode::Refuse);
    stage.load_rises();
    let step = night.until_step("holding").await;
    assert!(step.says.starts_with("held: the target could not be observed"), "{}", step.says);
    stage.until_card(&["Held: the target could not be observed"]).await;
    proxy.set(Mode::Pass);
    stage.until_acted().await;
    night.until_step("verifying").await;
    stage.load_falls();
    night.until_step("verified").await;
    night.stop().await;
    stage.assert_acts(1).await;
    stage.assert_nobody_paged();
    assert_eq!(stage.replicas().await, 4);
    stage.slack.assert_nothing_broken();
}
