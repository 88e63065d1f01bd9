//! One incident from its first alert to its last word, and everybody who is told of it: Slack, PagerDuty and the status page
//! each got what they were to get, in order, and nothing twice.

use nightshift::model::event::Event;
use nightshift::model::time::Span;
use serde_json::json;

use crate::holding;
use crate::night::Nightshift;
use crate::stage::{PEOPLE, Rules, SOON, Stage};
use crate::statuspage::{CLAIMS, until_status};
use crate::story::story;
use crate::support::pagerduty::{Incident, PagerDuty};
use crate::support::slack::{Call, Message};
use crate::support::statuspage::Statuspage;
use crate::support::wait_until;

const ANA: &str = "U0ANA0001";
/// Longer than the story: Alertmanager's own page never goes out.
const FUSE: u32 = 600;

/// It looks for three seconds before it acts, with the page held meanwhile.
fn rules(stage: &Stage) -> String {
    let rules = Rules { fires_for: "3s", quiet: "8s", ..Rules::default() }.text(&stage.namespace.name);
    rules.replacen(
        "    service: web\n",
        "    service: web\n    runbook: https://runbooks.example/web-load\n    hold_page: 60s\n    \
         evidence: [{collect: kubernetes/pods, target: web}]\n    \
         notify: {statuspage: {component: claims, when: P0..P1}}\n",
        1,
    )
}

/// A person is at work on it, so that nothing is done without an approval.
async fn edits(stage: &Stage) {
    let path = format!("{}?fieldManager=kubectl-edit", stage.namespace.path("deployment", "web"));
    let edit = json!({"metadata": {"annotations": {"looked-at": "by a person"}}});
    stage.namespace.plane().patch(&path, &edit).await.unwrap();
}

async fn until_there(pagerduty: &PagerDuty, what: &str, holds: impl Fn(&Incident) -> bool) -> Incident {
    wait_until(what, SOON, async || match pagerduty.incidents().pop() {
        Some(incident) if holds(&incident) => Ok(incident),
        other => Err(format!("{other:#?}")),
    })
    .await
}

async fn presses(stage: &Stage, label: &str) {
    let card = stage.cards().pop().unwrap();
    assert_eq!(stage.slack.press(&stage.door(), ANA, &card, label).await, 200);
}

/// Fires, is classified, paged, taken, approved, done, verified and over; each word is out before the next thing happens.
async fn plays(stage: &Stage, night: &Nightshift, pagerduty: &PagerDuty, page: &Statuspage) {
    stage.load_rises();
    let step = night.until_step("asking").await;
    assert_eq!(step.summary.as_deref(), Some("replicas 2 → 4"));
    stage.until_paged("kubectl-edit").await;
    stage.until_reply(&["PagerDuty has it as incident #1."]).await;
    stage.until_reply(&["Status page, claims: investigating, published"]).await;
    stage
        .until_card(&["P1 firing: web has too much load", "Waits for an approval", "Nobody has it", "customers read"])
        .await;

    presses(stage, "Acknowledge").await;
    until_there(pagerduty, "taken there, too", |incident| incident.status == "acknowledged").await;
    stage.until_reply(&["Status page, claims: identified, published"]).await;
    stage.until_card(&["With", "Ana"]).await;
    stage.assert_acts(0).await;

    presses(stage, "Approve").await;
    stage.until_acted().await;
    stage.namespace.until_rolled_out("web").await;
    stage.load_falls();
    night.until_step("verified").await;
    until_there(pagerduty, "what was done is noted", |incident| !incident.notes.is_empty()).await;
    until_there(pagerduty, "it is over there", |incident| incident.status == "resolved").await;
    stage.until_reply(&["Status page, claims: monitoring, published"]).await;
    night.until_state("resolved").await;
    until_status(page, "resolved").await;
    stage.until_reply(&["Status page, claims: resolved, published"]).await;
    stage.until_card(&["P1 resolved: web has too much load", "Approved by", "Ana", "Helped, verified"]).await;
    stage.until_reply(&["Its post-mortem is due by"]).await;
}

#[test]
fn from_the_alert_to_the_last_word_each_of_the_three_is_told_in_order_and_once() {
    story(&["page: a person is needed"], async || {
        let (pagerduty, page) = (PagerDuty::start(), Statuspage::start(&[CLAIMS]));
        let stage = holding::set("whole", &pagerduty, FUSE).await;
        stage.publishes(&page.url(), CLAIMS, "auto");
        stage.slack.knows(ANA, "Ana", json!({}));
        stage.takes_clicks(&format!("{{P0..P1: [{ANA}]}}"));
        edits(&stage).await;
        let night = stage.nightshift_by(&rules(&stage)).await;
        plays(&stage, &night, &pagerduty, &page).await;
        assert_eq!(night.incidents().await.len(), 1);
        let kept = night.stop().await;

        stage.assert_acts(1).await;
        assert_eq!(stage.replicas().await, 4);
        in_slack(&stage);
        in_pagerduty(&pagerduty);
        on_the_page(&page);
        let due: Vec<Span> = kept
            .entries
            .iter()
            .flat_map(|entry| entry.events.iter().map(move |event| (entry.at, event)))
            .filter_map(|(at, event)| match event {
                Event::PostmortemDue { remind_at, .. } => Some(*remind_at - at),
                _ => None,
            })
            .collect();
        assert_eq!(due, [Span::hours(20)], "one reminder is owed");
    });
}

/// One message, its thread in the order of what happened, and no call that Slack did not take.
fn in_slack(stage: &Stage) {
    let (replies, cards): (Vec<Message>, Vec<Message>) =
        stage.slack.messages().into_iter().partition(|message| message.thread_ts.is_some());
    assert_eq!(cards.len(), 1, "{cards:#?}");
    assert!(replies.iter().all(|reply| reply.thread_ts.as_ref() == Some(&cards[0].ts) && reply.updates == 0));
    let (public, story): (Vec<String>, Vec<String>) =
        replies.into_iter().map(|reply| reply.text).partition(|text| text.contains("Status page"));
    is_told_in_order(
        &story,
        &[
            "The page is held until",
            "Step 1.1 waits for an approval until",
            "needs an approval. This needs a person.",
            "PagerDuty has it as incident #1.",
            "Ana (U0ANA0001) has it.",
            "Ana (U0ANA0001) approved step 1.1.",
            "Step 1.1 started on",
            "Step 1.1: helped, verified.",
            "Resolved: nothing of it fired for its quiet time.",
            "Its post-mortem is due by",
        ],
    );
    is_told_in_order(
        &public,
        &[
            "claims: investigating, published; the component is partial outage now.",
            "claims: identified, published.",
            "claims: monitoring, published.",
            "claims: resolved, published; the component is operational now.",
        ],
    );
    let pings = story.iter().filter(|text| text.contains(PEOPLE)).count();
    assert_eq!(pings, 1, "people are pinged once: {story:#?}");

    let calls = stage.slack.calls();
    assert!(calls.iter().all(|call| call.done), "{calls:#?}");
    let posts = calls.iter().filter(|call| call.method == "chat.postMessage").count();
    assert_eq!(posts, 1 + story.len() + public.len());
    let updates: Vec<&Call> = calls.iter().filter(|call| call.method == "chat.update").collect();
    assert!(updates.iter().all(|update| update.body["ts"] == *cards[0].ts), "{updates:#?}");
    assert!(updates.windows(2).all(|two| two[0].body != two[1].body), "the same card twice: {updates:#?}");
    // The token and both channels at the start, and what a click asks of Slack's directory, once.
    let asked: Vec<&str> =
        calls.iter().map(|call| call.method.as_str()).filter(|it| !it.starts_with("chat.")).collect();
    let at_the_start = ["auth.test", "conversations.list", "conversations.info"];
    assert_eq!(asked, [at_the_start.as_slice(), &["auth.test", "bots.info", "users.info"]].concat());
    stage.slack.assert_nothing_broken();
}

fn is_told_in_order(told: &[String], wanted: &[&str]) {
    let is_so = told.len() == wanted.len() && told.iter().zip(wanted).all(|(told, wanted)| told.contains(wanted));
    assert!(is_so, "{told:#?}");
}

/// One page by one key: what fires, why a person is needed, where to look; then taken, noted, closed.
fn in_pagerduty(pagerduty: &PagerDuty) {
    let calls = pagerduty.calls();
    assert!(calls.iter().all(|call| call.done), "{calls:#?}");
    let (events, asked): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.what == "POST /v2/enqueue");
    let actions: Vec<&str> = events.iter().filter_map(|call| call.body["event_action"].as_str()).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert!(events.iter().all(|call| call.body["dedup_key"] == events[0].body["dedup_key"]), "{events:#?}");
    let asked: Vec<&str> = asked.iter().map(|call| call.what.as_str()).collect();
    let of = "/incidents/P000001";
    let wanted = [
        // At the start: whether the token is good.
        "GET /incidents?limit=1",
        &format!("GET {of}"),
        &format!("GET {of}/alerts?limit=100"),
        &format!("GET {of}/notes"),
        &format!("POST {of}/notes"),
    ];
    assert_eq!(asked, wanted);

    let trigger = &events[0].body;
    let links: Vec<&str> = trigger["links"].as_array().unwrap().iter().filter_map(|it| it["text"].as_str()).collect();
    assert_eq!(links, ["Runbook", "Source", "Slack"]);
    let payload = &trigger["payload"];
    assert_eq!(payload["summary"], "P1 web: web has too much load");
    assert_eq!((&payload["severity"], &payload["component"]), (&json!("error"), &json!("web")));
    let details = &payload["custom_details"];
    assert!(details["why"].as_str().unwrap().contains("a person edited it with kubectl-edit"), "{details:#}");
    assert!(details["evidence"][0].as_str().unwrap().starts_with("kubernetes/pods"), "{details:#}");
    assert_eq!(details["fires"][0]["labels"]["alertname"], "HighLoad");

    let [there] = &pagerduty.incidents()[..] else { panic!("{:#?}", pagerduty.incidents()) };
    assert_eq!((there.status, there.triggers), ("resolved", 1));
    let [note] = &there.notes[..] else { panic!("{:#?}", there.notes) };
    assert!(note.contains("replicas 2 → 4): helped, verified."), "{note}");
    let heard: Vec<String> =
        pagerduty.delivered().into_iter().map(|(word, status)| format!("{word} {status}")).collect();
    assert_eq!(heard, ["incident.triggered 202", "incident.acknowledged 202", "incident.resolved 202"]);
    pagerduty.assert_nothing_broken();
}

/// One incident in the owner's words, and each look and each write once.
fn on_the_page(page: &Statuspage) {
    let calls: Vec<String> = page
        .calls()
        .iter()
        .map(|call| format!("{} {}", call.method, call.path.replace("inc000000001", "ID")))
        .collect();
    let wanted = [
        // At the start: whether the key, the page and the component are there.
        "GET components?per_page=100",
        "GET incidents/unresolved?page=1&per_page=100",
        "GET components/claimsid0001",
        "POST incidents",
        "GET incidents/ID",
        "PATCH incidents/ID",
        "GET incidents/ID",
        "PATCH incidents/ID",
        "GET incidents/ID",
        "GET components/claimsid0001",
        "PATCH incidents/ID",
    ];
    assert_eq!(calls, wanted);
    let [incident] = &page.incidents()[..] else { panic!("{:#?}", page.incidents()) };
    let updates: Vec<String> = incident.updates.iter().map(|(status, says, _)| format!("{status}: {says}")).collect();
    assert_eq!(
        updates,
        [
            "investigating: We look for the cause.",
            "identified: We repair it.",
            "monitoring: We watch it.",
            "resolved: It works.",
        ]
    );
    assert_eq!((incident.name.as_str(), page.component(CLAIMS).as_str()), ("Claims are slow", "operational"));
    page.assert_nothing_broken();
}
