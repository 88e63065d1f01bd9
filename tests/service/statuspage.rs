//! Stories that customers read on the status page.

use std::time::Duration;

use serde_json::json;

use crate::stage::{Rules, SOON, Stage};
use crate::story::story;
use crate::support::statuspage::{Behaviour, Statuspage};
use crate::support::wait_until;

pub const CLAIMS: &str = "claimsid0001";
/// The courier tries again after at most a minute.
const DELIVERED: Duration = Duration::from_secs(100);

/// As they come: a person lets each step be done.
async fn public_stage(name: &str, publish: &str) -> (Stage, Statuspage) {
    let stage = Stage::set(name).await;
    let page = Statuspage::start(&[CLAIMS]);
    stage.publishes(&page.url(), CLAIMS, publish);
    stage.namespace.deployment("web", 2).ready().await;
    (stage, page)
}

fn rules(stage: &Stage, rules: &Rules) -> String {
    let notify = "    service: web\n    notify: {statuspage: {component: claims, when: P0..P1}}\n";
    rules.text(&stage.namespace.name).replacen("    service: web\n", notify, 1)
}

pub async fn until_status(page: &Statuspage, status: &str) {
    wait_until(&format!("the page is {status}"), DELIVERED, async || {
        let incidents = page.incidents();
        if incidents.last().is_some_and(|it| it.status == status) { Ok(()) } else { Err(format!("{incidents:#?}")) }
    })
    .await;
}

fn said(page: &Statuspage) -> Vec<String> {
    let incidents = page.incidents();
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    incidents[0].updates.iter().map(|(_, sentence, _)| sentence.clone()).collect()
}

#[test]
fn customers_read_of_an_incident_from_the_first_look_to_its_end() {
    story(&[], async || {
        let (stage, page) = public_stage("public_life", "auto").await;
        let night = stage.nightshift_by(&rules(&stage, &Rules { mode: "ask", ..Rules::default() })).await;
        stage.load_rises();
        let step = night.until_step("asking").await;
        until_status(&page, "investigating").await;
        stage.until_reply(&["Status page, claims: investigating, published"]).await;
        assert_eq!(page.component(CLAIMS), "partial_outage");
        night.approve("ana", &step).await;
        stage.until_acted().await;
        until_status(&page, "identified").await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        until_status(&page, "monitoring").await;
        until_status(&page, "resolved").await;
        stage.until_reply(&["Status page, claims: resolved, published", "the component is operational"]).await;
        night.stop().await;
        assert_eq!(said(&page), ["We look for the cause.", "We repair it.", "We watch it.", "It works."]);
        assert_eq!(page.component(CLAIMS), "operational");
        assert!(page.incidents()[0].updates.iter().all(|(_, _, mailed)| !mailed), "nobody asked for mails");
        page.assert_nothing_broken();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn answers_that_are_lost_cost_customers_nothing() {
    story(&["a letter was not taken"], async || {
        let (stage, page) = public_stage("public_lost", "auto").await;
        // It looks for its own, at the component, and opens one: all of it is done, and the last is not heard.
        [Behaviour::Ok, Behaviour::Ok, Behaviour::LoseAnswer].into_iter().for_each(|one| page.next(one));
        let night = stage.nightshift_by(&rules(&stage, &Rules { mode: "ask", ..Rules::default() })).await;
        stage.load_rises();
        night.until_step("asking").await;
        stage.until_reply(&["Status page, claims: investigating, published"]).await;
        stage.load_falls();
        until_status(&page, "resolved").await;
        night.stop().await;
        let said = said(&page);
        assert_eq!(said.iter().filter(|sentence| *sentence == "We look for the cause.").count(), 1, "{said:?}");
        page.assert_nothing_broken();
    });
}

#[test]
fn a_status_page_that_never_answers_holds_nothing_up() {
    story(&["a letter was not taken"], async || {
        let (stage, page) = public_stage("public_hangs", "auto").await;
        page.behave(Behaviour::Hang);
        let night = stage.nightshift_by(&rules(&stage, &Rules::default())).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_state("resolved").await;
        stage.until_card(&["resolved", "Helped, verified"]).await;
        assert!(page.incidents().is_empty());
        page.behave(Behaviour::Ok);
        stage.until_reply(&["Status page, claims: it was over before anything was published"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        assert!(page.incidents().is_empty(), "nobody reads of what is over");
        page.assert_nothing_broken();
    });
}

#[test]
fn a_draft_goes_out_by_one_tap_in_slack() {
    story(&[], async || {
        let (stage, page) = public_stage("public_tap", "draft").await;
        stage.slack.knows("U0ANA0001", "Ana", json!({}));
        stage.slack.knows("U0GIL0001", "Gil", json!({"is_restricted": true}));
        stage.takes_clicks("{P0..P1: [U0ANA0001]}");
        let night = stage.nightshift_by(&rules(&stage, &Rules { mode: "ask", ..Rules::default() })).await;
        let door = stage.door();
        stage.load_rises();
        night.until_step("asking").await;
        stage.until_card(&["waits to be published", "We look for the cause.", "Publish"]).await;
        let card = stage.cards().pop().unwrap();
        assert_eq!(stage.slack.press(&door, "U0GIL0001", &card, "Publish").await, 200);
        wait_until("a guest is told", SOON, async || {
            let whispers = stage.slack.whispers();
            if whispers.iter().any(|it| it.text.contains("they are a guest")) {
                Ok(())
            } else {
                Err(format!("{whispers:?}"))
            }
        })
        .await;
        assert!(page.writes().is_empty(), "{:#?}", page.calls());
        assert_eq!(stage.slack.press(&door, "U0ANA0001", &card, "Publish").await, 200);
        until_status(&page, "investigating").await;
        stage.until_reply(&["Ana (U0ANA0001) publishes it on the status page (claims)"]).await;
        stage.until_card(&["customers read: investigating"]).await;
        let buttons = stage.cards().pop().unwrap().buttons();
        assert!(!buttons.contains(&"Publish".to_owned()), "{buttons:?}");
        stage.load_falls();
        until_status(&page, "resolved").await;
        night.stop().await;
        page.assert_nothing_broken();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_draft_goes_out_by_one_command_and_is_refused_where_nothing_waits() {
    story(&[], async || {
        let (stage, page) = public_stage("public_typed", "draft").await;
        let night = stage.nightshift_by(&rules(&stage, &Rules { mode: "ask", ..Rules::default() })).await;
        stage.load_rises();
        night.until_step("asking").await;
        let shown = night.does("ana", &["incident", "1"]).await;
        assert!(shown.contains("it waits to be published") && shown.contains("nightshift publish 1"), "{shown}");
        assert!(shown.contains("Claims are slow: We look for the cause."), "{shown}");
        night.does("ana", &["ack", "1"]).await;
        let done = night.does("ana", &["publish", "1"]).await;
        assert!(done.contains("incident 1 published, by local:ana"), "{done}");
        until_status(&page, "identified").await;
        let again = night.types("ben", &["publish", "1"]).await;
        assert_eq!(again.code, Some(1));
        assert!(again.complains.contains("local:ana has published it already"), "{again:?}");
        stage.load_falls();
        until_status(&page, "resolved").await;
        night.stop().await;
        let said = said(&page);
        assert_eq!((said.first().unwrap().as_str(), said.last().unwrap().as_str()), ("We repair it.", "It works."));
        page.assert_nothing_broken();
    });
}

#[test]
fn what_is_set_up_wrong_is_known_before_customers_have_to_read_of_anything() {
    story(&["Statuspage knows no such page or component"], async || {
        let stage = Stage::set("public_wrong").await;
        let page = Statuspage::start(&["anotherid0001"]);
        stage.publishes(&page.url(), CLAIMS, "auto");
        let night = stage.nightshift_by(&rules(&stage, &Rules::default())).await;
        wait_until("the status says so", SOON, async || {
            let status = night.does("ana", &["status"]).await;
            let says = status.contains("ATTENTION") && status.contains("statuspage.components.claims.id right");
            if says { Ok(()) } else { Err(status) }
        })
        .await;
        night.stop().await;
        assert!(page.writes().is_empty(), "nothing is written to find out");
        page.assert_nothing_broken();
    });
}
