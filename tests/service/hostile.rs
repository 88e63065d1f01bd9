//! Whoever writes labels, names and reasons means ill: an incident of every such text goes through all that is told, and every
//! call that left is read as its receiver would.

use std::collections::BTreeSet;

use nightshift::model::id::IncidentId;
use nightshift::model::input::Command;
use serde_json::{Map, Value, json};

use crate::corpus::corpus;
use crate::judge;
use crate::notify::slack::blocks::Rendered;
use crate::row::{More, Row, shared};
use crate::stage::{LEAD, PEOPLE, SOON, WAR_ROOM};
use crate::story::story;
use crate::support::peers::Alertmanager;
use crate::support::slack::Message;
use crate::support::wait_until;

const ANA: &str = "U0ANA0001";
const NAME: &str = "Ana <!here> *b* \u{202e}`x` https://evil.example";

/// Everything that can be told is told of it: a channel of its own, two more levels, security, customers.
const RULES: &str = "\
settle_after_start: 0s
targets:
  nothing: {noop: {}}
escalations:
  urgent: {severities: P1..P1, levels: [{after: 0m, to: platform}, {after: 1s, to: lead}, {after: 2s, to: war-room}]}
severities:
- {name: P1, title: High, respond_within: 15m, update_every: 1m}
- {name: P3, title: Low}
rules:
- name: slow
  match: ['alertname = \"Slow\"']
  severity: P1
  service: claims
  security: true
  mode: ask
  cooldown: 1s
  quiet: 8s
  notify: {statuspage: {component: claims, when: P1..P1}}
  remediate:
  - {action: noop, target: nothing, verify: {settle: 1s, resolved_within: 2m}}
- {name: everything-else, match: [], severity: P3, group_by: [alertname]}
";

/// One alert with every text as a label, an annotation and its summary.
async fn posts(alertmanager: &Alertmanager, over: bool) {
    let mut labels = Map::new();
    for (number, text) in corpus().into_iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        // Longer ones are refused at the door.
        labels.insert(format!("l{number}"), text[..text.floor_char_boundary(64 * 1024)].into());
    }
    // What is shown first.
    let telling = ["cluster", "env", "namespace", "deployment", "pod", "instance", "job"];
    for (name, text) in telling.into_iter().zip(corpus()) {
        labels.insert(name.to_owned(), text.into());
    }
    for (name, text) in [("alertname", "Slow"), ("row", "0"), ("nightshift_hold", "true")] {
        labels.insert(name.to_owned(), text.into());
    }
    let all: String = corpus().into_iter().filter(|text| text.len() < 200).collect::<Vec<_>>().join(" ");
    let mut alert = json!({
        "labels": labels, "annotations": {"summary": all, "description": all},
        "generatorURL": "https://prometheus.example/<!channel>|x`y",
    });
    if over {
        alert["endsAt"] = jiff::Timestamp::now().to_string().into();
    }
    alertmanager.post_alerts(&json!([alert])).await;
}

async fn until_thread(row: &Row, words: &str) {
    row.until(words, |told| told.thread.iter().any(|said| said.contains(words))).await;
}

async fn plays(row: &Row, alertmanager: &Alertmanager) {
    posts(alertmanager, false).await;
    row.night.until_step("asking").await;
    until_thread(row, "lead is called").await;
    until_thread(row, "war-room is called").await;
    until_thread(row, "PagerDuty has it").await;
    until_thread(row, "investigating, published").await;
    // Somebody with such a name takes it in Slack, and asks why.
    let is_card = |message: &Message| message.thread_ts.is_none() && message.channel == "C0INCIDENTS";
    let card = || row.slack.messages().into_iter().find(is_card).expect("a card");
    assert_eq!(row.slack.press(&row.door, ANA, &card(), "Why?").await, 200);
    assert_eq!(row.slack.press(&row.door, ANA, &card(), "Acknowledge").await, 200);
    until_thread(row, "has it. A running step").await;
    for typed in ["why 1", "incidents", "status", "pause <!channel> *now* \u{202e}x", "<!here>"] {
        let answer = row.slack.type_command(&row.door, ANA, typed).await;
        judge::unseen(&answer).unwrap();
    }
    row.does(Command::Resume { pause_file_present: false }).await;
    // ... and in PagerDuty.
    let there = row.pagerduty.incidents()[0].id.clone();
    row.pagerduty.tell("reassigned", &there, crate::support::pagerduty::user(NAME));
    row.pagerduty.opens(&corpus().join(" ").chars().take(4000).collect::<String>());
    wait_until("PagerDuty's own is an incident, too", SOON, async || {
        let all = row.night.incidents().await.len();
        if all == 2 { Ok(()) } else { Err(all.to_string()) }
    })
    .await;
    for arguments in [&["why", "1"][..], &["why", "2"], &["incidents"], &["incident", "1"], &["status"]] {
        let shown = row.night.does("ana", arguments).await;
        judge::unseen(&shown).unwrap_or_else(|wrong| panic!("{arguments:?}: {wrong}"));
    }
    let first = row.night.incidents().await.remove(0);
    let step = first.steps.last().expect("it asks").clone();
    row.night.approve("ana <!channel>", &step).await;
    posts(alertmanager, true).await;
    wait_until("it is over", SOON, async || {
        let first = row.night.incidents().await.remove(0);
        if first.state == "resolved" { Ok(()) } else { Err(format!("{first:#?}")) }
    })
    .await;
    row.does(Command::Resolve { incident: IncidentId(2) }).await;
    row.until("all of it is told", |told| {
        told.public.last().is_some_and(|last| last == "It works.") && !told.notes.is_empty()
    })
    .await;
    until_thread(row, "Its post-mortem is due").await;
}

/// Reads every call; which kinds there were.
fn read(row: &Row) -> BTreeSet<&'static str> {
    let mut kinds = BTreeSet::new();
    for call in row.slack.calls() {
        let body = &call.body;
        let rendered = || Rendered {
            text: body["text"].as_str().unwrap_or_default().to_owned(),
            blocks: body["blocks"].as_array().cloned().unwrap_or_default(),
        };
        let kind = match call.method.as_str() {
            "chat.postMessage" | "chat.update" => {
                let message = rendered();
                let wrong = judge::limits(&message).and_then(|()| judge::inert(&message));
                wrong.unwrap_or_else(|wrong| panic!("{wrong}: {body:#}"));
                match (body["channel"].as_str().unwrap_or_default(), body["thread_ts"].is_string()) {
                    (_, true) if message.text.contains(PEOPLE) => "page",
                    (_, true) if message.text.contains(LEAD) => "level",
                    (_, true) => "reply",
                    (WAR_ROOM, _) => "level in a channel",
                    ("#security" | "C0SECURITY1", _) => "security",
                    ("#incidents" | "C0INCIDENTS", _) => "card",
                    _ => "channel of its own",
                }
            }
            "chat.postEphemeral" => {
                let text = rendered().text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
                assert!(!text.contains(['<', '>', '&']), "not escaped: {body:#}");
                assert_eq!(body["blocks"][0]["elements"][0]["type"], "rich_text_preformatted", "{body:#}");
                judge::unseen(&body["blocks"].to_string()).unwrap();
                "whisper"
            }
            "conversations.create" => {
                let name = body["name"].as_str().unwrap_or_default();
                let is_ours = |next: u8| next == b'-' || next.is_ascii_digit();
                assert!(name.strip_prefix("incident-").is_some_and(|time| time.bytes().all(is_ours)), "{name}");
                "name of a channel"
            }
            _ => continue,
        };
        kinds.insert(kind);
    }
    for call in row.pagerduty.calls().iter().filter(|call| !call.body.is_null()) {
        is_quiet(&call.body);
        for link in call.body["links"].as_array().into_iter().flatten() {
            let text = link["text"].as_str().unwrap_or_default();
            assert!(["Runbook", "Source", "Slack"].contains(&text), "{link}");
        }
        kinds.insert(if call.what.ends_with("/notes") { "note" } else { "event" });
    }
    let owners = ["Claims are slow", "We look for the cause.", "We repair it.", "We watch it.", "It works."];
    for call in row.page.writes() {
        for place in ["/incident/name", "/incident/body"] {
            let said = call.body.pointer(place).and_then(Value::as_str);
            assert!(said.is_none_or(|said| owners.contains(&said)), "{:#}", call.body);
        }
        let all = call.body.to_string();
        assert!(!all.contains("evil") && !all.contains("channel") && all.len() < 1000, "{all}");
        kinds.insert("status page");
    }
    kinds
}

fn is_quiet(value: &Value) {
    match value {
        Value::String(text) => {
            judge::unseen(text).unwrap();
            assert!(!text.contains('\n'), "a line of its own: {text:?}");
        }
        Value::Array(items) => items.iter().for_each(is_quiet),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            judge::unseen(name).unwrap();
            is_quiet(value);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn an_incident_of_hostile_words_pings_links_and_steers_nowhere() {
    story(&["page: a person is needed", "escalated", "paused"], async || {
        let (alertmanager, ports) = shared(1).await;
        let more = More {
            slack: ", incident_channels: P1..P1",
            settings: "security: {slack: '#security'}\napprovers: {P1..P1: [U0ANA0001]}\n",
            rules: Some(RULES),
        };
        let row = Row::start_with("hostile", alertmanager.server().address(), ports[0], more).await;
        row.slack.knows(ANA, NAME, json!({}));
        plays(&row, &alertmanager).await;
        let kinds = read(&row);
        let wanted = [
            "card",
            "channel of its own",
            "event",
            "level",
            "level in a channel",
            "name of a channel",
            "note",
            "page",
            "reply",
            "security",
            "status page",
            "whisper",
        ];
        assert_eq!(kinds, BTreeSet::from(wanted));
        row.stop().await;
    });
}
