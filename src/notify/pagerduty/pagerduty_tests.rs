use super::*;
use crate::{
    http::client::{Client, ClientSettings},
    model::{id::IncidentId, page::dedup_key, time::Micros},
    notify::slack::tests_support::views,
    peer::stub::{Asked, Stub},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const WITHIN: Duration = Duration::from_secs(5);

fn notifier(url: &str, api: bool) -> PagerDuty {
    let http = Client::build(&ClientSettings::default()).unwrap();
    let api = api.then(|| PagerDutyApi::new(http.clone(), url, "token".into(), Some("ana@example.com".to_owned())));
    let keys = [("default".to_owned(), "0123456789abcdef0123456789abcdef".into())].into();
    PagerDuty::new(EventsClient::new(http, url), keys, api, TimeZone::UTC)
}

fn wish(wants: Option<PageState>, ours: bool) -> PageWish {
    let at = Micros::parse("2026-03-01T02:14:00Z").unwrap();
    PageWish { dedup_key: dedup_key("{}:{}"), wants, ours, at, why: "every step was tried".to_owned() }
}

fn letter(slot: Slot, page: Option<PageWish>, last: Option<PageState>) -> DueLetter {
    let key =
        LetterKey { receiver: Receiver::PagerDuty { service: "default".to_owned() }, incident: IncidentId(1042), slot };
    let paged = |page| External::Paged(Paged { dedup_key: dedup_key("{}:{}").to_string(), page });
    DueLetter { key, want: 7, note: None, external: last.map(paged), card: None, page }
}

fn page(wants: PageState, last: Option<PageState>) -> DueLetter {
    letter(Slot::Page(3), Some(wish(Some(wants), true)), last)
}

fn accepted(_: &Asked) -> (u16, String) {
    (202, r#"{"status":"success","message":"Event processed"}"#.to_owned())
}

fn actions(stub: &Stub) -> Vec<String> {
    let events =
        stub.asked().iter().map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap()).collect::<Vec<_>>();
    events.iter().map(|event| event["event_action"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_sent_follows_from_what_is_wanted_and_what_was_told() {
    use Call::{Acknowledge, Resolve, Trigger};
    use PageState::{Acknowledged, Resolved, Triggered};
    for (wants, last, ours, joined) in [
        (Triggered, None, Some(Trigger), None),
        (Triggered, Some(Triggered), None, None),
        (Triggered, Some(Acknowledged), None, None),
        (Triggered, Some(Resolved), Some(Trigger), None),
        (Acknowledged, None, Some(Trigger), Some(Acknowledge)),
        (Acknowledged, Some(Triggered), Some(Acknowledge), Some(Acknowledge)),
        (Acknowledged, Some(Acknowledged), None, None),
        (Acknowledged, Some(Resolved), Some(Trigger), Some(Acknowledge)),
        // Told, perhaps, and a crash came before that was recorded: what PagerDuty does not know it drops.
        (Resolved, None, Some(Resolve), None),
        (Resolved, Some(Triggered), Some(Resolve), None),
        (Resolved, Some(Acknowledged), Some(Resolve), None),
        (Resolved, Some(Resolved), None, None),
    ] {
        assert_eq!(next(wants, true, last), ours, "ours: {wants:?} after {last:?}");
        assert_eq!(next(wants, false, last), joined, "joined: {wants:?} after {last:?}");
    }
}

#[tokio::test]
async fn an_acknowledge_of_what_was_never_told_takes_two_calls_in_order() {
    let stub = Stub::start(accepted).await;
    let pagerduty = notifier(&stub.url, false);
    let view = views::handed_over();
    let told = pagerduty.send(&page(PageState::Acknowledged, None), &view, WITHIN).await.unwrap();
    assert_eq!(actions(&stub), ["trigger", "acknowledge"]);
    let Told::Sent { external: Some(External::Paged(paged)) } = told else { panic!("{told:?}") };
    assert_eq!((paged.page, paged.dedup_key), (PageState::Acknowledged, dedup_key("{}:{}").to_string()));
}

#[tokio::test]
async fn where_the_second_call_fails_only_that_one_is_tried_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let stub = Stub::start(move |asked| match counted.fetch_add(1, Ordering::SeqCst) {
        1 => (500, "{}".to_owned()),
        _ => accepted(asked),
    })
    .await;
    let pagerduty = notifier(&stub.url, false);
    let letter = page(PageState::Acknowledged, None);
    let view = views::handed_over();
    assert_eq!(pagerduty.send(&letter, &view, WITHIN).await.unwrap_err().reason, "status_5xx");
    pagerduty.send(&letter, &view, WITHIN).await.unwrap();
    assert_eq!(actions(&stub), ["trigger", "acknowledge", "acknowledge"]);
}

#[tokio::test]
async fn whoever_wants_it_triggered_now_gets_it_triggered_whatever_was_recorded() {
    let stub = Stub::start(accepted).await;
    let pagerduty = notifier(&stub.url, false);
    pagerduty
        .send(&page(PageState::Triggered, Some(PageState::Triggered)), &views::handed_over(), WITHIN)
        .await
        .unwrap();
    assert_eq!(actions(&stub), ["trigger"]);
}

#[tokio::test]
async fn what_a_later_page_says_or_nobody_wants_is_not_sent() {
    let stub = Stub::start(accepted).await;
    let pagerduty = notifier(&stub.url, false);
    for letter in [letter(Slot::Page(3), Some(wish(None, true)), None), letter(Slot::Page(3), None, None)] {
        let told = pagerduty.send(&letter, &views::handed_over(), WITHIN).await.unwrap();
        assert_eq!(told, Told::Sent { external: None });
    }
    assert!(stub.asked().is_empty());
}

#[tokio::test]
async fn a_refusal_is_for_good_and_says_why() {
    let stub = Stub::start(|_| (400, r#"{"message":"Event object is invalid","errors":["no"]}"#.to_owned())).await;
    let view = views::handed_over();
    let told = notifier(&stub.url, false).send(&page(PageState::Triggered, None), &view, WITHIN).await.unwrap();
    assert_eq!(told, Told::Failed { reason: "rejected: Event object is invalid, no".to_owned() });
    let mut elsewhere = page(PageState::Triggered, None);
    elsewhere.key.receiver = Receiver::PagerDuty { service: "platform".to_owned() };
    let told = notifier(&stub.url, false).send(&elsewhere, &view, WITHIN).await.unwrap();
    assert!(matches!(told, Told::Failed { reason } if reason.starts_with("no_routing_key")));
}

#[test]
fn a_page_says_what_fires_what_was_done_and_why_people_are_woken() {
    let mut view = views::handed_over();
    view.posted = Some(crate::model::letter::Posted { channel: "C024BE91L".to_owned(), ts: "1772.000100".to_owned() });
    let event = render::trigger(&wish(Some(PageState::Triggered), true), &view, &TimeZone::UTC);
    insta::with_settings!({snapshot_path => "../../../fixtures/pagerduty", prepend_module_to_snapshot => false}, {
        insta::assert_json_snapshot!("handed_over", event);
    });
    assert_eq!(event["links"][2]["href"], "https://slack.com/archives/C024BE91L/p1772000100");
}

#[tokio::test]
async fn after_a_429_a_service_is_left_alone_for_as_long_as_it_asked() {
    let stub = Stub::start(|_| (429, "{}".to_owned())).await;
    let pagerduty = notifier(&stub.url, false);
    for (reason, least) in [("rate_limited", 30), ("paced", 29)] {
        let sent = pagerduty.send(&page(PageState::Triggered, None), &views::handed_over(), WITHIN).await;
        let failure = sent.unwrap_err();
        assert_eq!(failure.reason, reason);
        assert!(failure.retry_after.unwrap() >= Duration::from_secs(least), "{failure:?}");
    }
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test]
async fn no_minute_has_more_events_than_pagerduty_takes() {
    let stub = Stub::start(accepted).await;
    let pagerduty = notifier(&stub.url, false);
    let mut paced = 0;
    for _ in 0..130 {
        let sent = pagerduty.send(&page(PageState::Triggered, None), &views::handed_over(), WITHIN).await;
        paced += usize::from(sent.is_err_and(|failure| failure.reason == "paced"));
    }
    let asked = stub.asked().len();
    assert!(asked <= 120 && asked + paced == 130, "{asked} and {paced}");
}

#[test]
fn severities_are_spread_over_pagerdutys_four() {
    let severities = |ranks: u32| -> Vec<String> {
        let of = |rank: u32| {
            let view = IncidentView { rank, ranks, ..views::handed_over() };
            let event = render::trigger(&wish(None, true), &view, &TimeZone::UTC);
            event["payload"]["severity"].as_str().unwrap().to_owned()
        };
        (0..ranks).map(of).collect()
    };
    assert_eq!(severities(4), ["critical", "error", "warning", "info"]);
    assert_eq!(severities(1), ["critical"]);
    assert_eq!(severities(2), ["critical", "warning"]);
    assert_eq!(severities(3), ["critical", "error", "warning"]);
    assert_eq!(severities(8), ["critical", "critical", "error", "error", "warning", "warning", "info", "info"]);
}

#[test]
fn labels_are_data_and_bounded() {
    for text in [
        "<!channel> <https://evil|x> *b* {{7*7}} ${x}",
        "\u{202e}gnp.exe\u{1b}[31m\u{0}\u{200b}",
        &"é".repeat(64 * 1024),
        "javascript:alert(1)",
    ] {
        let view = views::everywhere(text, 20, 20);
        let event = render::trigger(&PageWish { why: text.to_owned(), ..wish(None, true) }, &view, &TimeZone::UTC);
        let all = event.to_string();
        assert!(all.len() < 200 * 1024, "{}", all.len());
        assert!(event["payload"]["summary"].as_str().unwrap().chars().count() <= 1024);
        let unseen = ['\u{202e}', '\u{1b}', '\u{0}', '\u{200b}'];
        assert!(!all.contains(unseen) && !all.contains("\\u001b") && !all.contains("\\u0000"));
        for link in event["links"].as_array().unwrap() {
            let href = link["href"].as_str().unwrap();
            assert!(href.starts_with("https://") || href.starts_with("http://"), "{href}");
        }
    }
}

#[test]
fn nightshifts_own_trouble_says_who_closes_it() {
    let mut view = views::handed_over();
    view.id = IncidentId::ITSELF;
    view.rank = u32::MAX;
    let event = render::trigger(&wish(Some(PageState::Triggered), true), &view, &TimeZone::UTC);
    assert_eq!(event["payload"]["severity"], "critical");
    assert!(event["payload"]["custom_details"]["what now"].as_str().unwrap().contains("resolve it here"));
}

/// A PagerDuty with the notes that it holds.
async fn with_notes() -> (Stub, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) {
    let notes = Arc::new(Mutex::new(Vec::<String>::new()));
    let loses = Arc::new(AtomicUsize::new(0));
    let (kept, losing) = (notes.clone(), loses.clone());
    let stub = Stub::start(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/incidents") => (200, json!({"incidents": []}).to_string()),
        ("GET", _) => {
            let notes: Vec<Value> = lock(&kept).iter().map(|note| json!({"content": note})).collect();
            (200, json!({"notes": notes}).to_string())
        }
        _ => {
            let body: Value = serde_json::from_str(&asked.body).unwrap();
            lock(&kept).push(body["note"]["content"].as_str().unwrap().to_owned());
            let loses = losing.load(Ordering::SeqCst) > 0;
            if loses { (0, String::new()) } else { (200, "{}".to_owned()) }
        }
    })
    .await;
    (stub, notes, loses)
}

fn note() -> DueLetter {
    let note = Note::plain(Micros(0), "Step 1042.1: helped.".to_owned());
    DueLetter { note: Some(note), ..letter(Slot::Post(17), None, None) }
}

fn known() -> IncidentView {
    let known = crate::model::view::PagerDutyView {
        id: "PGR0VU2".to_owned(),
        number: None,
        url: String::new(),
        has_key: false,
    };
    IncidentView { pagerduty: vec![known], ..views::helped() }
}

#[tokio::test]
async fn a_note_whose_answer_was_lost_is_not_written_twice_also_after_a_crash() {
    let (stub, notes, loses) = with_notes().await;
    loses.store(1, Ordering::SeqCst);
    let first = notifier(&stub.url, true);
    assert!(first.send(&note(), &known(), WITHIN).await.is_err());
    loses.store(0, Ordering::SeqCst);
    for again in [first, notifier(&stub.url, true)] {
        assert_eq!(again.send(&note(), &known(), WITHIN).await, Ok(Told::Sent { external: None }));
    }
    assert_eq!(*lock(&notes), ["[nightshift 1042/17] Step 1042.1: helped."]);
}

#[tokio::test]
async fn a_note_waits_a_while_for_pagerdutys_incident_and_not_for_ever() {
    let (stub, notes, _) = with_notes().await;
    let pagerduty = notifier(&stub.url, true);
    let view = IncidentView { page_keys: vec![dedup_key("{}:{}")], ..views::helped() };
    for _ in 1..LOOKS {
        assert_eq!(pagerduty.send(&note(), &view, WITHIN).await.unwrap_err().reason, "no_incident_yet");
    }
    let told = pagerduty.send(&note(), &view, WITHIN).await.unwrap();
    assert!(matches!(told, Told::Failed { reason } if reason.starts_with("no_incident")));
    assert!(lock(&notes).is_empty());
}

#[tokio::test]
async fn a_page_whose_key_is_refused_waits_and_goes_out_with_the_next_key() {
    let refused = r#"{"status":"invalid event","message":"Event object is invalid","errors":["Invalid routing key"]}"#;
    let stub = Stub::start(move |asked| {
        let is_right = asked.body.contains(&"b".repeat(32));
        if is_right { accepted(asked) } else { (400, refused.to_owned()) }
    })
    .await;
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&said);
    let amiss = Arc::new(Amiss::new(move |lines| *lock(&heard) = lines));
    let pagerduty = notifier(&stub.url, false).watched_by(amiss);
    let letter = page(PageState::Triggered, None);
    let reason = "bad_routing_key: Event object is invalid, Invalid routing key".to_owned();
    for _ in 0..2 {
        let told = pagerduty.send(&letter, &views::handed_over(), WITHIN).await;
        assert_eq!(told, Ok(Told::Waits { reason: reason.clone() }));
    }
    let line = lock(&said).clone();
    assert_eq!(line.len(), 1, "{line:?}");
    assert!(line[0].ends_with("Put a valid one into pagerduty.routing_key_file, and reload"), "{line:?}");
    // What needs no call says nothing of the key.
    let known = page(PageState::Acknowledged, Some(PageState::Acknowledged));
    assert!(pagerduty.send(&known, &views::handed_over(), WITHIN).await.is_ok());
    assert_eq!(lock(&said).len(), 1);
    let keys = [("default", "b"), ("nobodys", "c")].map(|(name, key)| (name.to_owned(), key.repeat(32).into()));
    pagerduty.replace_keys(keys);
    let told = pagerduty.send(&letter, &views::handed_over(), WITHIN).await;
    assert!(matches!(told, Ok(Told::Sent { external: Some(_) })), "{told:?}");
    assert_eq!(*lock(&said), Vec::<String>::new());
}

#[tokio::test]
async fn what_somebody_has_here_is_set_so_there_and_not_once_it_is_over_or_nobodys() {
    let set: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&set);
    let stub = Stub::start(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/incidents/PGR0VU2") => {
            (200, json!({"incident": {"id": "PGR0VU2", "status": "triggered"}}).to_string())
        }
        ("GET", _) => (200, json!({"notes": []}).to_string()),
        (method, path) => {
            lock(&kept).push(format!("{method} {path}"));
            (200, "{}".to_owned())
        }
    })
    .await;
    let note = Note { takes: true, ..Note::plain(Micros(0), "ann has it.".to_owned()) };
    let letter = DueLetter { note: Some(note), ..letter(Slot::Post(17), None, None) };
    let mut taken = IncidentView { acknowledged_by: Some("ann".to_owned()), state: "open".to_owned(), ..known() };
    // A page, which another incident may need: its key says how it is to be.
    let mut page = taken.pagerduty[0].clone();
    (page.id, page.has_key) = ("PPAGE01".to_owned(), true);
    taken.pagerduty.push(page);
    let over = IncidentView { state: "resolved".to_owned(), ..taken.clone() };
    let nobodys = IncidentView { acknowledged_by: None, ..taken.clone() };
    for (view, calls) in [(&over, 0), (&nobodys, 0), (&taken, 3)] {
        let told = notifier(&stub.url, true).send(&letter, view, WITHIN).await;
        assert_eq!((told, lock(&set).len()), (Ok(Told::Sent { external: None }), calls));
    }
    let calls = ["PUT /incidents/PGR0VU2", "POST /incidents/PGR0VU2/notes", "POST /incidents/PPAGE01/notes"];
    assert_eq!(*lock(&set), calls);
}

#[tokio::test]
async fn what_the_token_may_not_do_is_given_up_and_shown() {
    let stub = Stub::start(|asked| match asked.method.as_str() {
        "GET" => (200, json!({"notes": []}).to_string()),
        _ => (403, json!({"error": {"message": "Access Denied"}}).to_string()),
    })
    .await;
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&said);
    let pagerduty = notifier(&stub.url, true).watched_by(Arc::new(Amiss::new(move |lines| *lock(&heard) = lines)));
    let told = pagerduty.send(&note(), &known(), WITHIN).await;
    assert_eq!(told, Ok(Told::Failed { reason: "forbidden: Access Denied".to_owned() }));
    let said = lock(&said).clone();
    assert!(said.len() == 1 && said[0].starts_with("PagerDuty does not let the API token do all"), "{said:?}");
}
