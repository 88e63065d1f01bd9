//! Every text that leaves for people, made of the worst that labels and people write: nothing of it is active where it is
//! read, and none is over what its receiver takes.
//!
//! A new kind of letter or call does not compile here until it says which of these texts it carries.

use super::{
    message,
    pagerduty::{self, render::trigger},
    slack::{
        blocks::{Rendered, render},
        tests_support::{corpus::corpus, judge, views},
    },
    statuspage::steps::{self, Desired, Step},
};
use crate::{
    decide::pages::PageWish,
    http::{
        api::{list, shapes::IncidentLine, trace},
        signature::SigningKeys,
    },
    model::{
        id::IncidentId,
        letter::{Note, PageState, PublicStatus, Receiver, Slot},
        page::dedup_key,
        time::Micros,
        view::IncidentView,
    },
    peer::{
        slack::{client::Call as SlackCall, seal::Seal},
        statuspage::shapes::Key,
    },
    source::slack::answers,
};
use jiff::tz::TimeZone;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const UTC: TimeZone = TimeZone::UTC;

/// What is made of a hostile view, and how it is read.
enum Shown {
    /// A message in a channel or thread.
    Slack(Rendered),
    /// What one person is told there.
    Whisper(String),
    /// One event.
    Page(Value),
    /// One line of text that nobody parses.
    Line(String, usize),
    /// Lines at a terminal.
    Terminal(String),
    /// What customers read: the same whatever the view holds.
    Public(Vec<Value>),
}

type Made = fn(&IncidentView, &str) -> Shown;

/// The one table.
const TEXTS: [(&str, Made); 13] = [
    ("slack card", |view, _| slack(&message::card(view, &UTC))),
    ("slack channel's card", |view, _| slack(&message::following(view, &UTC))),
    ("slack reply", |view, text| slack(&message::post(view, &note(text, false, &[]), &UTC))),
    ("slack page", |view, text| slack(&message::post(view, &note(text, true, &["S0123ABC", text]), &UTC))),
    ("slack word to whoever has it", |view, text| {
        slack(&message::post(view, &note(text, false, &["U024BE7LH"]), &UTC))
    }),
    ("slack word of nightshift itself", |view, text| {
        slack(&message::post(&itself(view), &note(text, true, &[]), &UTC))
    }),
    ("slack answer to one person", |view, text| {
        Shown::Whisper(format!("{}\n{}", trace::incident(view, &UTC, true), crate::telemetry::text::plain(text)))
    }),
    ("pagerduty page", |view, text| Shown::Page(trigger(&wish(text), view, &UTC))),
    ("pagerduty page of nightshift itself", |view, text| Shown::Page(trigger(&wish(text), &itself(view), &UTC))),
    ("pagerduty note", |_, text| {
        Shown::Line(pagerduty::content_of("[nightshift 1042/17]", &note(text, false, &[])), 2100)
    }),
    ("status page", |view, _| Shown::Public(public(view))),
    ("why at a terminal", |view, _| Shown::Terminal(trace::incident(view, &UTC, true))),
    ("incidents at a terminal", |view, _| Shown::Terminal(list::incidents(&[listed(view)], &UTC))),
];

/// What a letter becomes.
fn of_letter(receiver: &Receiver, slot: Slot) -> &'static [&'static str] {
    match (receiver, slot) {
        (Receiver::Slack { .. }, Slot::Card) => &["slack card"],
        (Receiver::Slack { .. }, Slot::Post(_)) => &["slack reply", "slack page", "slack word of nightshift itself"],
        (Receiver::Slack { .. }, Slot::Update) => &["slack word to whoever has it"],
        (Receiver::IncidentChannel { .. }, Slot::Card) => &["slack channel's card"],
        (Receiver::IncidentChannel { .. }, Slot::Post(_) | Slot::Update) => &["slack reply"],
        (Receiver::PagerDuty { .. }, Slot::Page(_)) => &["pagerduty page", "pagerduty page of nightshift itself"],
        (Receiver::PagerDuty { .. }, Slot::Post(_)) => &["pagerduty note"],
        (Receiver::Statuspage { .. }, Slot::Card) => &["status page"],
        // Refused by the notifiers: nothing leaves.
        (Receiver::Slack { .. } | Receiver::IncidentChannel { .. }, Slot::Page(_))
        | (Receiver::PagerDuty { .. }, Slot::Card | Slot::Update)
        | (Receiver::Statuspage { .. }, Slot::Page(_) | Slot::Post(_) | Slot::Update) => &[],
    }
}

/// What a call of Slack's carries besides; the name of a channel is a time.
fn of_call(call: SlackCall) -> &'static [&'static str] {
    match call {
        SlackCall::Post | SlackCall::Update => &["slack card", "slack channel's card", "slack reply", "slack page"],
        SlackCall::Ephemeral => &["slack answer to one person"],
        SlackCall::Create
        | SlackCall::History
        | SlackCall::Replies
        | SlackCall::Test
        | SlackCall::Bot
        | SlackCall::User
        | SlackCall::Group
        | SlackCall::Channels
        | SlackCall::Info
        | SlackCall::Open => &[],
    }
}

fn slack(message: &message::Message) -> Shown {
    let seal = Seal::new(SigningKeys::new(&["s3cret".into()]));
    Shown::Slack(render(message, Some(&seal)))
}

fn at() -> Micros {
    Micros::parse("2026-03-01T02:14:00Z").unwrap()
}

fn note(text: &str, page: bool, mentions: &[&str]) -> Note {
    let mentions = mentions.iter().map(|id| (*id).to_owned()).collect();
    Note { at: at(), text: text.to_owned(), page, mentions, takes: false }
}

fn wish(why: &str) -> PageWish {
    let wants = Some(PageState::Triggered);
    PageWish { dedup_key: dedup_key("{}:{}"), wants, ours: true, at: at(), why: why.to_owned() }
}

fn itself(view: &IncidentView) -> IncidentView {
    IncidentView { id: IncidentId::ITSELF, ..view.clone() }
}

fn listed(view: &IncidentView) -> IncidentLine {
    IncidentLine {
        id: view.id,
        severity: view.severity.clone(),
        state: "open".to_owned(),
        acknowledged_by: view.acknowledged_by.clone(),
        opened_at: view.opened_at,
        rule: view.rule.clone(),
        title: view.title.clone(),
        firing: view.firing,
        ladder: view.ladder.clone(),
        parent: None,
        children: Vec::new(),
    }
}

/// As the owner has written it, whatever else the view holds.
fn public(view: &IncidentView) -> Vec<Value> {
    let mut owners = views::public("The owner's sentence.", false);
    let key = Key { incident: view.id, opened_at: view.opened_at };
    let mut bodies = Vec::new();
    for status in PublicStatus::ALL {
        owners.status = status;
        let desired = Desired::of(&owners, "claimsid0001", false).unwrap();
        if let (Step::Open(write), _) = steps::step(&desired, &key, None, None) {
            bodies.push(write.body());
        }
    }
    bodies
}

fn is_quiet(text: &str) -> Result<(), String> {
    judge::unseen(text)?;
    if text.contains('\n') { Err(format!("a line of its own: {text:?}")) } else { Ok(()) }
}

fn is_within(what: &str, text: &str, most: usize) -> Result<(), String> {
    let length = text.chars().count();
    if (1..=most).contains(&length) { Ok(()) } else { Err(format!("{what}: {length} of 1 to {most}")) }
}

/// Every text in it is quiet, keys too.
fn is_quiet_all_over(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => is_quiet(text),
        Value::Array(items) => items.iter().try_for_each(is_quiet_all_over),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            is_quiet(name)?;
            is_quiet_all_over(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn text_of<'v>(value: &'v Value, place: &str) -> &'v str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

fn is_a_fair_page(event: &Value) -> Result<(), String> {
    is_quiet_all_over(event)?;
    is_within("summary", text_of(event, "/payload/summary"), 1024)?;
    for (place, most) in [("/payload/source", 1024), ("/dedup_key", 255)] {
        is_within(place, text_of(event, place), most)?;
    }
    if !["critical", "error", "warning", "info"].contains(&text_of(event, "/payload/severity")) {
        return Err(format!("severity {}", event["payload"]["severity"]));
    }
    for link in event["links"].as_array().ok_or("no list of links")? {
        let href = reqwest::Url::parse(text_of(link, "/href")).map_err(|error| error.to_string())?;
        let is_plain = ["http", "https"].contains(&href.scheme()) && href.username().is_empty();
        if !is_plain || !["Runbook", "Source", "Slack"].contains(&text_of(link, "/text")) {
            return Err(format!("a link of somebody else's: {link}"));
        }
    }
    let size = event.to_string().len();
    if size > 512 * 1024 { Err(format!("{size} bytes")) } else { Ok(()) }
}

fn is_a_fair_answer(answer: &str) -> Result<(), String> {
    let (text, blocks) = (answers::fallback(answer), answers::blocks(answer));
    is_quiet(&text)?;
    is_within("text", &text, 4000)?;
    let bare = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
    if bare.contains(['<', '>', '&']) {
        return Err(format!("not escaped: {text:?}"));
    }
    let block = blocks.pointer("/0/elements/0").ok_or("no block")?;
    let is_literal = blocks.as_array().is_some_and(|all| all.len() == 1)
        && text_of(&blocks, "/0/type") == "rich_text"
        && block["type"] == "rich_text_preformatted"
        && block.pointer("/elements/0/type").is_some_and(|kind| kind == "text");
    if !is_literal {
        return Err(format!("Slack would read markup in it: {blocks}"));
    }
    let shown = text_of(block, "/elements/0/text");
    judge::unseen(shown)?;
    is_within("the block", shown, 12_000)
}

fn judged(shown: &Shown, view: &IncidentView) -> Result<(), String> {
    match shown {
        Shown::Slack(rendered) => judge::limits(rendered).and_then(|()| judge::inert(rendered)),
        Shown::Whisper(answer) => is_a_fair_answer(answer),
        Shown::Page(event) => is_a_fair_page(event),
        Shown::Line(text, most) => is_quiet(text).and_then(|()| is_within("the line", text, *most)),
        Shown::Terminal(text) => judge::unseen(text).and_then(|()| is_within("all of it", text, 256 * 1024)),
        Shown::Public(bodies) => {
            let calm = IncidentView { opened_at: view.opened_at, id: view.id, ..views::helped() };
            let is_same = !bodies.is_empty() && *bodies == public(&calm);
            if is_same { Ok(()) } else { Err(format!("{bodies:#?}")) }
        }
    }
}

#[test]
fn whatever_a_label_holds_no_text_that_leaves_is_active_or_too_long() {
    let mut wrong = BTreeMap::new();
    for text in corpus() {
        for view in [views::everywhere(&text, 1, 1), views::everywhere(&text, 20, 12)] {
            for (name, made) in TEXTS {
                if let Err(why) = judged(&made(&view, &text), &view) {
                    let start: String = text.chars().take(40).collect();
                    wrong.entry(name).or_insert_with(|| format!("of {start:?}: {why}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_letter_and_every_call_carries_texts_of_the_table_and_no_text_is_nobodys() {
    let named = |name: &str| name.to_owned();
    let receivers = [
        Receiver::Slack { channel: named("#incidents") },
        Receiver::IncidentChannel { name: named("incident-2026-03-01-0214") },
        Receiver::PagerDuty { service: named("default") },
        Receiver::Statuspage { component: named("claims") },
    ];
    let slots = [Slot::Card, Slot::Page(1), Slot::Post(1), Slot::Update];
    let letters = receivers.iter().flat_map(|receiver| slots.iter().flat_map(|slot| of_letter(receiver, *slot)));
    let calls = [SlackCall::Post, SlackCall::Update, SlackCall::Ephemeral].into_iter().flat_map(of_call);
    let at_a_terminal = ["why at a terminal", "incidents at a terminal"];
    let carried: BTreeSet<&str> = letters.chain(calls).copied().chain(at_a_terminal).collect();
    assert_eq!(carried, TEXTS.iter().map(|(name, _)| *name).collect());
}

#[test]
fn the_judge_of_pages_and_answers_sees_what_is_active() {
    let view = views::handed_over();
    let page = trigger(&wish("every step was tried"), &view, &UTC);
    assert_eq!(is_a_fair_page(&page), Ok(()));
    for (place, active) in [
        ("/payload/summary", "a\u{202e}b"),
        ("/payload/source", "\u{1b}[31m"),
        ("/payload/custom_details/why", "one\ntwo"),
        ("/links/0/href", "javascript:alert(1)"),
        ("/links/0/href", "https://me@evil.example/"),
        ("/links/0/text", "Approve here"),
        ("/payload/severity", "fatal"),
    ] {
        let mut wrong = page.clone();
        *wrong.pointer_mut(place).unwrap() = active.into();
        assert!(is_a_fair_page(&wrong).is_err(), "{place}: {active}");
    }
    assert!(is_a_fair_answer("red \u{1b}[31m").is_err());
    assert!(is_quiet("a\u{200b}b").is_err() && is_quiet("a\nb").is_err() && is_quiet("Zürich – 東京").is_ok());
}
