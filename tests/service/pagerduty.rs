//! Stories of PagerDuty: pages that go out and come back, what people do there, and PagerDuty being away. Alertmanager
//! is the real one, and where a story says so it pages PagerDuty by itself.

use std::time::Duration;

use serde_json::{Value, json};

use crate::night::Nightshift;
use crate::stage::{Rules, SOON, Stage, write_secret};
use crate::story::story;
use crate::support::pagerduty::{API_TOKEN, Behaviour, Incident, PagerDuty, ROUTING_KEY, user};
use crate::support::wait_until;
use crate::switches::reload;

/// The courier tries again after at most a minute.
const DELIVERED: Duration = Duration::from_secs(80);
/// Rules whose only rung does not help: people are woken soon.
const HELPLESS: Rules = Rules {
    mode: "auto",
    action: "kubernetes/scale",
    with: "{replicas: +2}",
    fires_for: "0s",
    settle: "1s",
    resolved_within: "3s",
    quiet: "6s",
    limits: "10 per 1h",
    query: "",
};

/// Alertmanager tells nightshift at once, and pages PagerDuty `fuse` later.
async fn with_fuse(name: &str, pagerduty: &PagerDuty, fuse: &str) -> Stage {
    let routes = format!(
        "  routes:\n  - receiver: nightshift\n    matchers: ['alertname=\"HighLoad\"']\n    group_by: ['...']\n    continue: true\n\
         \x20 - receiver: pagerduty\n    matchers: ['alertname=\"HighLoad\"']\n    group_by: ['...']\n    group_wait: {fuse}\n"
    );
    let receivers = format!(
        "- name: pagerduty\n  pagerduty_configs:\n  - routing_key: {ROUTING_KEY}\n    url: '{}/v2/enqueue'\n",
        pagerduty.url()
    );
    let stage = Stage::with_routes(name, 1, &routes, &receivers).await;
    stage.namespace.deployment("web", 2).ready().await;
    stage.takes_pages(pagerduty, ROUTING_KEY);
    stage
}

async fn set(name: &str, pagerduty: &PagerDuty) -> Stage {
    let stage = Stage::set(name).await;
    stage.namespace.deployment("web", 2).ready().await;
    stage.takes_pages(pagerduty, ROUTING_KEY);
    stage
}

async fn until_incident(pagerduty: &PagerDuty, what: &str, holds: impl Fn(&Incident) -> bool) -> Incident {
    wait_until(what, DELIVERED, async || match pagerduty.incidents().pop() {
        None => Err("no incident".to_owned()),
        Some(incident) if holds(&incident) => Ok(incident),
        Some(incident) => Err(format!("{incident:#?}")),
    })
    .await
}

/// What came back by webhook belongs to the one incident of nightshift.
async fn until_joined(night: &Nightshift) {
    night.until("it knows PagerDuty's incident", |incident| !incident.pagerduty.is_empty()).await;
}

#[test]
fn an_early_page_comes_back_is_joined_by_alertmanagers_own_and_is_one_incident_everywhere() {
    story(&["page: a person is needed", "it did not help"], async || {
        let pagerduty = PagerDuty::start();
        let stage = with_fuse("paged_early", &pagerduty, "14s").await;
        let night = stage.nightshift(&HELPLESS).await;
        stage.load_rises();
        let paged = until_incident(&pagerduty, "nightshift's own page", |_| true).await;
        assert_eq!((paged.severity.as_str(), paged.triggers), ("error", 1));
        assert_eq!(paged.title, "P1 web: web has too much load");
        assert_eq!(paged.details["why"], "every step was tried");
        assert!(paged.details["done"][0].as_str().unwrap().contains("did not help"), "{:#?}", paged.details);
        until_joined(&night).await;
        stage.until_reply(&["PagerDuty has it as incident #1."]).await;
        // The fuse ends: Alertmanager's own page has the same key.
        let joined = until_incident(&pagerduty, "Alertmanager's page", |incident| incident.triggers == 2).await;
        assert_eq!(joined.id, paged.id);

        pagerduty.acknowledges("Ana Example", &paged.id);
        let taken = night.until("somebody has it", |incident| incident.acknowledged_by.is_some()).await;
        assert_eq!(taken.acknowledged_by.as_deref(), Some("pagerduty:Ana Example"));
        stage.until_card(&["With", "pagerduty:Ana Example", "PagerDuty"]).await;
        stage.load_falls();
        until_incident(&pagerduty, "it is over there, too", |incident| incident.status == "resolved").await;
        night.until_state("resolved").await;
        assert_eq!((night.incidents().await.len(), pagerduty.incidents().len()), (1, 1));
        assert!(pagerduty.delivered().iter().all(|(_, status)| *status == 202), "{:?}", pagerduty.delivered());
        night.stop().await;
        pagerduty.assert_nothing_broken();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn what_alertmanager_paged_at_once_is_joined_taken_and_noted_and_closed_by_alertmanager() {
    story(&[], async || {
        let pagerduty = PagerDuty::start();
        let stage = with_fuse("paged_by_alertmanager", &pagerduty, "0s").await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_rises();
        until_joined(&night).await;
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        night.does("ana", &["ack", "1"]).await;
        let taken = until_incident(&pagerduty, "taken there, too", |incident| incident.status == "acknowledged").await;
        stage.load_falls();
        night.until_step("verified").await;
        let noted = until_incident(&pagerduty, "what was done is noted", |incident| !incident.notes.is_empty()).await;
        assert_eq!(noted.id, taken.id);
        assert!(noted.notes[0].starts_with("[nightshift 1/"), "{:?}", noted.notes);
        assert!(noted.notes[0].contains("replicas 2 → 4): helped, verified."), "{:?}", noted.notes);
        night.until_state("resolved").await;
        until_incident(&pagerduty, "closed by Alertmanager", |incident| incident.status == "resolved").await;
        night.stop().await;
        assert_eq!((pagerduty.incidents().len(), stage.cards().len()), (1, 1));
        let ours: Vec<(String, String)> =
            pagerduty.events_taken().into_iter().filter(|(action, _)| action == "acknowledge").collect();
        assert_eq!(ours.len(), 1, "told once: {:?}", pagerduty.events_taken());
        assert_eq!(pagerduty.incidents()[0].notes.len(), 1);
        stage.assert_nobody_paged();
        pagerduty.assert_nothing_broken();
    });
}

#[test]
fn an_incident_that_pagerduty_opened_is_acted_on_once_it_says_that_it_fires_and_ends_with_it() {
    story(&[], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("opened_there", &pagerduty).await;
        let rules = HELPLESS
            .text(&stage.namespace.name)
            .replace("'alertname = \"HighLoad\"'", "'source = \"pagerduty\"', 'title =~ \".*slow.*\"'");
        let rules = rules.replace("resolved_within: 3s", "resolved_within: 40s");
        let night = stage.nightshift_by(&rules).await;
        let id = pagerduty.opens("the web is slow");
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        let open = night.until_step("verifying").await;
        assert_eq!(open.summary.as_deref(), Some("replicas 2 → 4"));
        for (word, agent) in
            [("reassigned", user("Ana")), ("escalated", Value::Null), ("custom_field_values.updated", Value::Null)]
        {
            pagerduty.tell(word, &id, agent);
        }
        stage.until_reply(&["pagerduty:Ana reassigned #1 to Ana."]).await;
        stage.until_reply(&["PagerDuty escalated #1 to Ana."]).await;
        pagerduty.resolves("Ana", &id);
        let closed = night.until_state("resolved").await;
        assert_eq!(closed.title, "the web is slow");
        stage.until_card(&["resolved", "the web is slow"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        // It was there already: nothing is triggered once more.
        assert_eq!(pagerduty.events_taken().iter().filter(|(action, _)| action == "trigger").count(), 0);
        stage.assert_nobody_paged();
        pagerduty.assert_nothing_broken();
    });
}

#[test]
fn a_resolve_there_while_it_fires_is_a_persons_resolve() {
    story(&["page: a person is needed", "it did not help"], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("resolved_there", &pagerduty).await;
        let night = stage.nightshift(&HELPLESS).await;
        stage.load_rises();
        let paged = until_incident(&pagerduty, "the page", |_| true).await;
        until_joined(&night).await;
        pagerduty.resolves("Ana", &paged.id);
        let closed = night.until_state("resolved").await;
        assert!(closed.firing > 0, "it fires all the same: {closed:#?}");
        stage.until_reply(&["pagerduty:Ana resolved it."]).await;
        night.stop().await;
        // It knows: nothing is told back.
        assert_eq!(pagerduty.events_taken().iter().map(|(action, _)| action.as_str()).collect::<Vec<_>>(), ["trigger"]);
        pagerduty.assert_nothing_broken();
    });
}

#[test]
fn through_every_trouble_one_page_arrives_once() {
    story(&["page: a person is needed", "it did not help", "a letter was not taken"], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("troubled", &pagerduty).await;
        for trouble in [
            Behaviour::Status(500),
            Behaviour::RateLimited(1),
            Behaviour::Reset,
            Behaviour::Status(408),
            // Taken, and the answer lost: sent again it is the same page.
            Behaviour::LoseAnswer,
        ] {
            pagerduty.next_event(trouble);
        }
        let night = stage.nightshift(&HELPLESS).await;
        stage.load_rises();
        // Slack does not wait for it.
        stage.until_paged("every step was tried").await;
        let paged = until_incident(&pagerduty, "the page, at last", |incident| incident.triggers == 2).await;
        assert_eq!(pagerduty.incidents().len(), 1);
        stage.load_falls();
        until_incident(&pagerduty, "it is over", |incident| incident.status == "resolved").await;
        assert_eq!(pagerduty.incidents().pop().map(|incident| incident.id), Some(paged.id));
        night.stop().await;
        pagerduty.assert_nothing_broken();
    });
}

#[test]
fn what_ended_while_pagerduty_was_away_wakes_nobody_afterwards() {
    story(&["page: a person is needed", "it did not help", "a letter was not taken"], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("away", &pagerduty).await;
        pagerduty.events(Behaviour::Hang);
        let night = stage.nightshift(&HELPLESS).await;
        stage.load_rises();
        stage.until_paged("every step was tried").await;
        stage.load_falls();
        night.until_state("resolved").await;
        pagerduty.events(Behaviour::Ok);
        wait_until("what is owed is told", DELIVERED, async || match pagerduty.events_taken().as_slice() {
            [] => Err("nothing".to_owned()),
            events => Ok(events.to_vec()),
        })
        .await;
        assert_eq!(pagerduty.events_taken().iter().map(|(action, _)| action.as_str()).collect::<Vec<_>>(), ["resolve"]);
        assert!(pagerduty.incidents().is_empty());
        night.stop().await;
        pagerduty.assert_nothing_broken();
    });
}

#[test]
fn a_page_whose_key_is_refused_is_loud_at_once_and_goes_out_once_the_key_is_right() {
    let loud = [
        "page: a person is needed",
        "it did not help",
        "a letter was not taken",
        "PagerDuty refused a page, which waits",
        "PagerDuty refuses the routing key of default",
    ];
    story(&loud, async || {
        let pagerduty = PagerDuty::start();
        let stage = set("refused", &pagerduty).await;
        // Of a service that is gone.
        stage.takes_pages(&pagerduty, "ffffffffffffffffffffffffffffffff");
        let night = stage.nightshift(&HELPLESS).await;
        stage.load_rises();
        stage.until_paged("PagerDuty did not take the page (bad_routing_key: Event object is invalid").await;
        let failed = "nightshift_letters_failed_total{receiver=\"pagerduty\",reason=\"unauthorized\"} 1";
        assert!(night.app.metrics.encode().contains(failed), "no {failed}");
        let status = night.does("ana", &["status"]).await;
        assert!(status.contains("ATTENTION") && status.contains("pagerduty.routing_key_file, and reload"), "{status}");
        let why = night.does("ana", &["why", "1"]).await;
        assert!(why.contains("PagerDuty refuses it until that is set right"), "{why}");
        assert!(pagerduty.incidents().is_empty());

        stage.takes_pages(&pagerduty, ROUTING_KEY);
        let (status, said) = reload(&night).await;
        assert_eq!(status, 200, "{said}");
        until_incident(&pagerduty, "the page, at last", |incident| incident.triggers == 1).await;
        let status = night.does("ana", &["status"]).await;
        assert!(!status.contains("ATTENTION"), "{status}");
        night.stop().await;
        pagerduty.assert_nothing_broken();
    });
}

#[test]
fn whoever_takes_here_what_pagerduty_opened_by_itself_has_it_there() {
    story(&[], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("taken_here", &pagerduty).await;
        let night = stage.nightshift(&HELPLESS).await;
        let id = pagerduty.opens("the web is slow");
        until_joined(&night).await;
        night.does("ana", &["ack", "1"]).await;
        let taken = until_incident(&pagerduty, "it is noted there", |incident| !incident.notes.is_empty()).await;
        assert_eq!((taken.id.as_str(), taken.status), (id.as_str(), "acknowledged"));
        assert!(taken.notes[0].ends_with("local:ana has it."), "{:?}", taken.notes);
        // Its word about that comes back, and is not somebody else's.
        wait_until("it comes back", SOON, async || match pagerduty.delivered().len() {
            2 => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
        assert_eq!(night.incidents().await[0].acknowledged_by.as_deref(), Some("local:ana"));
        night.stop().await;
        pagerduty.assert_nothing_broken();
    });
}

async fn until_status_says(night: &Nightshift, wanted: bool) {
    wait_until("the status says so", SOON, async || {
        let status = night.does("ana", &["status"]).await;
        if status.contains("pagerduty.api_token_file, and reload") == wanted { Ok(()) } else { Err(status) }
    })
    .await;
}

#[test]
fn a_token_that_pagerduty_refuses_is_said_at_the_start_and_taken_back_once_it_is_right() {
    story(&["PagerDuty refuses the API token (not_authorized: Invalid Authentication)"], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("wrong_api_token", &pagerduty).await;
        write_secret(&stage.file("api-token"), "u+of-somebody-else");
        let night = stage.nightshift(&Rules::default()).await;
        until_status_says(&night, true).await;
        write_secret(&stage.file("api-token"), API_TOKEN);
        let (status, said) = reload(&night).await;
        assert_eq!(status, 200, "{said}");
        until_status_says(&night, false).await;
        night.stop().await;
        pagerduty.assert_nothing_broken();
        assert!(pagerduty.events_taken().is_empty(), "nobody is paged to find out");
    });
}

#[test]
fn a_forged_webhook_changes_nothing_and_one_that_comes_again_counts_once() {
    story(&["a webhook of PagerDuty was not taken"], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("forged", &pagerduty).await;
        let night = stage.nightshift(&Rules::default()).await;
        let id = pagerduty.opens("something else");
        let open = night.until_state("open").await;
        let body = json!({"event": {"id": "E9", "event_type": "incident.acknowledged", "resource_type": "incident",
            "occurred_at": format!("{:.3}", jiff::Timestamp::now()), "agent": user("Mallory"), "client": null,
            "data": {"id": id, "type": "incident", "status": "acknowledged"}}});
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/webhooks/pagerduty", stage.door());
        for signature in ["", "v1=", &format!("v1={}", "0".repeat(64))] {
            let request = client.post(&url).header("x-pagerduty-signature", signature).body(body.to_string());
            assert_eq!(request.send().await.unwrap().status(), 401);
        }
        assert_eq!(night.incidents().await[0].acknowledged_by, None);
        pagerduty.tell_raw(body.clone());
        pagerduty.tell_raw(body);
        night.until("somebody has it", |incident| incident.acknowledged_by.is_some()).await;
        wait_until("both are delivered", SOON, async || match pagerduty.delivered().len() {
            3 => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
        assert_eq!(night.incidents().await[0].id, open.id);
        let kept = night.stop().await;
        let heard = kept.entries.iter().filter(|entry| entry.input.cause() == "peer").count();
        assert_eq!(heard, 3, "triggered, its keys asked for, acknowledged once");
    });
}
