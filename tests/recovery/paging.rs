//! Pages: a kill between PagerDuty's taking one and the journal's recording it makes no second page, and no page that is
//! never closed.

use std::time::Duration;

use serde_json::json;

use crate::books::Books;
use crate::daemon::Home;
use crate::dice::Dice;
use crate::support::pagerduty::{API_TOKEN, Behaviour, Incident, PagerDuty, ROUTING_KEY};
use crate::support::wait_until;
use crate::webhooks::{Alert, body, post_once};

const SOON: Duration = Duration::from_secs(60);
const KILLS: u64 = 12;

/// A rule that pages at once: there is no Alertmanager that could say whether its alert still fires.
fn home(pagerduty: &PagerDuty) -> Home {
    let rules = json!({
        "settle_after_start": "0s",
        "targets": {"nothing": {"noop": {}}},
        "rules": [{
            "name": "pages", "match": ["alertname =~ \".+\""], "severity": "P1", "group_by": ["alertname"], "mode": "auto",
            "remediate": [{"action": "noop", "target": "nothing"}],
        }],
    });
    let home = Home::new(&rules.to_string());
    std::fs::write(home.path("routing-key"), ROUTING_KEY).expect("written");
    std::fs::write(home.path("api-token"), API_TOKEN).expect("written");
    let settings = json!({
        "routing_key_file": home.path("routing-key"), "api_token_file": home.path("api-token"),
        "events_url": pagerduty.url(), "api_url": pagerduty.url(),
    });
    home.set("pagerduty", settings).set("mode", json!("auto"))
}

async fn until(pagerduty: &PagerDuty, what: &str, holds: impl Fn(&[Incident]) -> bool) {
    wait_until(what, SOON, async || {
        let incidents = pagerduty.incidents();
        if holds(&incidents) { Ok(()) } else { Err(format!("{incidents:#?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_sent_and_not_recorded_is_one_page_and_is_closed() {
    let pagerduty = PagerDuty::start();
    let home = home(&pagerduty);
    let mut dice = Dice::new();
    let alert = Alert::firing(&[("alertname", "Slow")]);
    let mut daemon = home.start().await;
    // Taken, and the answer lost: the page is there, and the journal still owes it.
    pagerduty.events(Behaviour::LoseAnswer);
    assert_eq!(post_once(daemon.webhooks(), &body(std::slice::from_ref(&alert))).await.expect("an answer"), 200);
    until(&pagerduty, "it is paged", |incidents| !incidents.is_empty()).await;
    for _ in 0..KILLS {
        assert!(daemon.kill(), "it ended by itself:\n{}", daemon.said());
        daemon = home.start().await;
        tokio::time::sleep(dice.millis(0, 400)).await;
    }
    assert_eq!(pagerduty.incidents().len(), 1, "{:#?}", pagerduty.incidents());
    // It ends, and a kill comes before the journal knows that PagerDuty was ever told.
    assert_eq!(post_once(daemon.webhooks(), &body(&[alert.resolved()])).await.expect("an answer"), 200);
    assert!(daemon.kill());
    pagerduty.events(Behaviour::Ok);
    let mut daemon = home.start().await;
    until(&pagerduty, "it is closed", |incidents| incidents.iter().all(|it| it.status == "resolved")).await;
    wait_until("nothing is owed", SOON, async || {
        let owed = Books::read(&home.options()).await.state["owed"].as_array().map_or(0, Vec::len);
        if owed == 0 { Ok(()) } else { Err(format!("{owed} letters are owed")) }
    })
    .await;
    assert_eq!(pagerduty.incidents().len(), 1);
    assert!(daemon.kill());
    Books::verify(&home.options()).await;
    pagerduty.assert_nothing_broken();
}
