//! The notifier against a Slack that records: one card, one thread, and what each kind of failure becomes.

use super::{
    tests_support::{
        fake::{CHANNEL, Fake, TOKEN, Trouble},
        views,
    },
    *,
};
use crate::{
    http::client::{Client, ClientSettings},
    peer::slack::errors::{self, Kind},
};

use secrecy::SecretString;

pub(super) const WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn a_slack() -> (Fake, Slack) {
    let fake = Fake::start().await;
    let slack = notifier(&fake.url);
    (fake, slack)
}

pub(super) fn notifier(url: &str) -> Slack {
    let http = Client::build(&ClientSettings::default()).unwrap();
    let client = SlackClient::new(http, url, SecretString::from(TOKEN));
    Slack::new(Arc::new(client), TimeZone::UTC, None)
}

fn letter(incident: u64, slot: Slot, note: Option<Note>, card: Option<Posted>) -> DueLetter {
    let receiver = Receiver::Slack { channel: "#incidents".to_owned() };
    let key = LetterKey { receiver, incident: IncidentId(incident), slot };
    DueLetter { key, want: 7, note, external: None, card: card.map(External::Posted), page: None }
}

fn card_letter(card: Option<Posted>) -> DueLetter {
    letter(1042, Slot::Card, None, card)
}

pub(super) fn note(text: &str, mentions: &[&str]) -> Option<Note> {
    let mentions: Vec<String> = mentions.iter().map(|id| (*id).to_owned()).collect();
    Some(Note {
        at: Micros::parse("2026-03-01T02:14:00Z").unwrap(),
        text: text.to_owned(),
        page: !mentions.is_empty(),
        mentions,
        takes: false,
    })
}

pub(super) fn place(told: Result<Told, Transient>) -> Posted {
    match told {
        Ok(Told::Sent { external: Some(External::Posted(posted)) }) => posted,
        other => panic!("not sent: {other:?}"),
    }
}

fn transient(told: Result<Told, Transient>) -> Transient {
    told.expect_err("it should be tried again")
}

#[tokio::test]
async fn one_card_is_posted_once_and_then_updated_in_place() {
    let (fake, slack) = a_slack().await;
    let card = place(slack.send(&card_letter(None), &views::waiting_for_approval(), WITHIN).await);
    assert_eq!(card, Posted { channel: CHANNEL.to_owned(), ts: "1772330000.000001".to_owned() });
    let again = place(slack.send(&card_letter(Some(card.clone())), &views::helped(), WITHIN).await);
    assert_eq!(again, card);
    assert_eq!(fake.methods(), ["chat.postMessage", "chat.update"]);
    let kept = fake.kept().messages.clone();
    assert_eq!((kept.len(), kept[0].updates), (1, 1));
    assert!(kept[0].body["blocks"][0]["text"]["text"].as_str().unwrap().contains("P1 monitoring"));
    fake.assert_nothing_wrong();
}

#[tokio::test]
async fn posts_go_into_the_cards_thread_and_a_page_into_the_channel_too() {
    let (fake, slack) = a_slack().await;
    let view = views::handed_over();
    let card = place(slack.send(&card_letter(None), &view, WITHIN).await);
    let post = letter(1042, Slot::Post(1), note("It fires again: reopened.", &[]), Some(card.clone()));
    place(slack.send(&post, &view, WITHIN).await);
    let page = letter(1042, Slot::Post(2), note("Page: it did not help.", &["S0123ABC"]), Some(card.clone()));
    place(slack.send(&page, &view, WITHIN).await);
    let itself = letter(0, Slot::Post(3), note("ana paused nightshift.", &[]), Some(card.clone()));
    place(slack.send(&itself, &view, WITHIN).await);
    let kept = fake.kept();
    let of = |at: usize, name: &str| kept.messages[at].body.get(name).cloned();
    assert_eq!(of(1, "thread_ts"), Some(card.ts.as_str().into()));
    assert_eq!(of(1, "reply_broadcast"), None);
    assert_eq!((of(2, "thread_ts"), of(2, "reply_broadcast")), (Some(card.ts.into()), Some(true.into())));
    assert!(of(2, "text").unwrap().as_str().unwrap().starts_with("<!subteam^S0123ABC>"));
    assert_eq!((of(3, "thread_ts"), of(3, "channel")), (None, Some("#incidents".into())), "it has no thread");
    drop(kept);
    fake.assert_nothing_wrong();
}

#[tokio::test]
async fn without_a_card_a_page_goes_to_the_channel() {
    let (fake, slack) = a_slack().await;
    let page = letter(1042, Slot::Post(1), note("Page.", &["S0123ABC"]), None);
    place(slack.send(&page, &views::handed_over(), WITHIN).await);
    let gone = Posted { channel: CHANNEL.to_owned(), ts: "1.000001".to_owned() };
    let page = letter(1042, Slot::Post(2), note("Page.", &["S0123ABC"]), Some(gone));
    place(slack.send(&page, &views::handed_over(), WITHIN).await);
    let kept = fake.kept();
    assert!(kept.messages.iter().all(|message| message.body.get("thread_ts").is_none()));
    assert_eq!((kept.messages.len(), kept.calls.len()), (2, 3), "the thread was tried first");
}

#[tokio::test]
async fn what_a_thread_that_people_have_locked_does_not_take_goes_to_the_channel() {
    for error in
        ["restricted_action_thread_locked", "restricted_action_non_threadable_channel", "cant_broadcast_message"]
    {
        let (fake, slack) = a_slack().await;
        let card = Posted { channel: CHANNEL.to_owned(), ts: "1.000001".to_owned() };
        let page = letter(1042, Slot::Post(1), note("Page.", &["S0123ABC"]), Some(card));
        fake.next(Trouble::Error(error));
        place(slack.send(&page, &views::handed_over(), WITHIN).await);
        let kept = fake.kept();
        assert_eq!((kept.messages.len(), kept.calls.len()), (1, 2), "{error}");
        assert_eq!(kept.messages[0].body.get("thread_ts"), None);
    }
}

#[tokio::test]
async fn a_page_that_slack_refuses_goes_out_as_mere_text_and_nothing_else_does() {
    for error in ["msg_blocks_too_long", "invalid_blocks", "metadata_too_large", "no_such_word_yet"] {
        let (fake, slack) = a_slack().await;
        let card = Posted { channel: CHANNEL.to_owned(), ts: "1.000001".to_owned() };
        let page = letter(1042, Slot::Post(1), note("Page.", &["S0123ABC"]), Some(card.clone()));
        fake.next(Trouble::Error(error));
        place(slack.send(&page, &views::handed_over(), WITHIN).await);
        let sent = fake.kept().messages[0].body.clone();
        assert!(sent["text"].as_str().unwrap().starts_with("<!subteam^S0123ABC> "), "{sent}");
        assert_eq!((sent.get("blocks"), sent.get("metadata"), sent.get("thread_ts")), (None, None, None));
        let line = letter(1042, Slot::Post(2), note("It fires again.", &[]), Some(card));
        fake.next(Trouble::Error(error));
        let told = slack.send(&line, &views::handed_over(), WITHIN).await;
        assert_eq!((told, fake.kept().calls.len()), (Ok(Told::Failed { reason: errors::kind(error).1.to_owned() }), 3));
    }
}

/// Slack was away meanwhile.
#[tokio::test]
async fn a_page_that_comes_late_wakes_nobody_once_somebody_has_it_or_it_is_over() {
    let mut had = views::handed_over();
    had.acknowledged_by = Some("ana".to_owned());
    let mut over = views::handed_over();
    over.state = "resolved".to_owned();
    // The page is of 02:14.
    let [before, after] = ["02:13:59", "02:14:01"].map(|at| Micros::parse(&format!("2026-03-01T{at}Z")).unwrap());
    let since = |view: &IncidentView, at| {
        let mut view = view.clone();
        let acknowledged = view.acknowledged_by.is_some();
        *(if acknowledged { &mut view.acknowledged_at } else { &mut view.resolved_at }) = Some(at);
        view
    };
    let views = [
        (views::handed_over(), true, true),
        (since(&had, after), false, false),
        (since(&had, before), true, false),
        (since(&over, after), false, false),
        (since(&over, before), true, false),
    ];
    for (view, wakes, is_free) in views {
        let (fake, slack) = a_slack().await;
        let card = place(slack.send(&card_letter(None), &view, WITHIN).await);
        let page = letter(1042, Slot::Post(1), note("Page: it did not help.", &["S0123ABC"]), Some(card));
        place(slack.send(&page, &view, WITHIN).await);
        let sent = fake.kept().messages[1].body.clone();
        let text = sent.to_string();
        assert!(text.contains("it did not help"), "it is still told: {text}");
        assert_eq!((text.contains("subteam"), text.contains("nightshift ack")), (wakes, is_free), "{text}");
        assert_eq!(sent.get("reply_broadcast").is_some(), wakes);
        fake.assert_nothing_wrong();
    }
}

#[tokio::test]
async fn a_card_that_is_gone_is_posted_anew_once() {
    for error in ["message_not_found", "cant_update_message", "edit_window_closed"] {
        let (fake, slack) = a_slack().await;
        let old = Posted { channel: CHANNEL.to_owned(), ts: "1.000001".to_owned() };
        fake.next(Trouble::Error(error));
        let new = place(slack.send(&card_letter(Some(old.clone())), &views::acting(), WITHIN).await);
        assert_ne!(new, old);
        assert_eq!(fake.methods(), ["chat.update", "chat.postMessage"], "{error}");
    }
}

#[tokio::test]
async fn each_of_slacks_errors_is_tried_again_or_not() {
    let words = [
        ("internal_error", None),
        ("fatal_error", None),
        ("service_unavailable", None),
        ("request_timeout", None),
        ("team_added_to_org", None),
        ("message_limit_exceeded", None),
        ("invalid_blocks", Some("invalid_blocks")),
        ("msg_blocks_too_long", Some("msg_blocks_too_long")),
        ("no_such_word_yet", Some("unknown_error")),
    ];
    for (error, failed) in words {
        let (fake, slack) = a_slack().await;
        fake.next(Trouble::Error(error));
        let told = slack.send(&card_letter(None), &views::acting(), WITHIN).await;
        match failed {
            Some(reason) => assert_eq!(told, Ok(Told::Failed { reason: reason.to_owned() }), "{error}"),
            None => assert_eq!(transient(told), Transient { reason: errors::kind(error).1, retry_after: None }),
        }
        assert_eq!(fake.kept().calls.len(), 1, "{error}: nothing is repeated here");
    }
    assert_eq!(errors::kind("invalid_auth"), (Kind::Auth, "invalid_auth"));
    assert_eq!(errors::kind("is_archived"), (Kind::Target, "is_archived"));
    assert_eq!(errors::kind("msg_too_long"), (Kind::Payload, "msg_too_long"));
}

#[tokio::test]
async fn no_letter_is_given_up_for_the_tokens_or_the_channels_sake() {
    for word in [
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "restricted_action_of_tomorrow",
    ] {
        let (fake, slack) = a_slack().await;
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&said);
        let slack = slack.watched_by(Arc::new(Standing::new(move |lines, _| *heard.lock().unwrap() = lines)));
        fake.next(Trouble::Error(word));
        let told = transient(slack.send(&card_letter(None), &views::acting(), WITHIN).await);
        assert_eq!((told.reason, told.retry_after), (errors::kind(word).1, Some(SET_RIGHT)), "{word}");
        let lines = said.lock().unwrap().clone();
        assert!(lines.len() == 1 && lines[0].contains("wait"), "{lines:?}");
        // Mended, and nothing was lost.
        place(slack.send(&card_letter(None), &views::acting(), WITHIN).await);
        assert!(said.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn statuses_and_broken_answers_are_tried_again() {
    let troubles = [
        (Trouble::Status(500), "status_5xx"),
        (Trouble::Status(503), "status_5xx"),
        (Trouble::Status(403), "not_slack"),
        (Trouble::Status(302), "not_slack"),
        (Trouble::Body("<html>"), "bad_answer"),
        (Trouble::Body("{}"), "bad_answer"),
        (Trouble::Body("{\"ok\":false}"), "bad_answer"),
    ];
    for (trouble, reason) in troubles {
        let (fake, slack) = a_slack().await;
        fake.next(trouble.clone());
        let told = slack.send(&card_letter(None), &views::acting(), WITHIN).await;
        assert_eq!(transient(told).reason, reason, "{trouble:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slack = notifier(&format!("http://{}/api", nobody.local_addr().unwrap()));
    drop(nobody);
    let told = slack.send(&card_letter(None), &views::acting(), WITHIN).await;
    assert_eq!(transient(told).reason, "connect");
    assert!(lock(&slack.in_doubt).is_empty(), "nothing was sent");
}

#[tokio::test]
async fn after_a_429_slack_is_left_alone_for_as_long_as_it_asks() {
    let (fake, slack) = a_slack().await;
    let view = views::acting();
    fake.next(Trouble::Limited(Some("30")));
    let told = transient(slack.send(&card_letter(None), &view, WITHIN).await);
    assert_eq!(told, Transient { reason: "rate_limited", retry_after: Some(Duration::from_secs(30)) });
    let told = transient(slack.send(&card_letter(None), &view, WITHIN).await);
    assert!(told.retry_after.is_some_and(|wait| wait > Duration::from_secs(25)), "{told:?}");
    assert_eq!(fake.kept().calls.len(), 1, "the second never left");
    let other = Posted { channel: CHANNEL.to_owned(), ts: "1.000001".to_owned() };
    let told = transient(slack.send(&card_letter(Some(other)), &view, WITHIN).await);
    assert_eq!(told.reason, "paced", "an update may be tried; only the new card has to wait");
    assert_eq!(fake.methods(), ["chat.postMessage", "chat.update"]);
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let (fake, slack) = a_slack().await;
    fake.next(Trouble::Limited(Some("1")));
    transient(slack.send(&card_letter(None), &views::acting(), WITHIN).await);
    let began = Instant::now();
    place(slack.send(&card_letter(None), &views::acting(), WITHIN).await);
    assert!(began.elapsed() > Duration::from_millis(800));
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_found_and_not_doubled() {
    let (fake, slack) = a_slack().await;
    let view = views::handed_over();
    let card = place(slack.send(&card_letter(None), &view, WITHIN).await);
    let page = letter(1042, Slot::Post(2), note("Page: it did not help.", &["S0123ABC"]), Some(card.clone()));
    for trouble in [Trouble::DoneLate(Duration::from_secs(20)), Trouble::DoneBut("internal_error")] {
        let page = DueLetter {
            key: LetterKey { slot: Slot::Post(fake.kept().messages.len() as u64), ..page.key.clone() },
            ..page.clone()
        };
        fake.next(trouble);
        transient(slack.send(&page, &view, Duration::from_secs(1)).await);
        let before = fake.kept().messages.clone();
        let found = place(slack.send(&page, &view, WITHIN).await);
        assert_eq!(found.ts, before.last().unwrap().ts);
        assert_eq!(fake.kept().messages.len(), before.len());
    }
    assert!(lock(&slack.in_doubt).is_empty());
    let seen = fake.kept().calls.iter().find(|call| call.method == "conversations.replies").unwrap().body.clone();
    assert_eq!(
        seen,
        json!({"channel": CHANNEL, "ts": card.ts, "oldest": "1772331120.000000", "limit": "200", "include_all_metadata": "true"})
    );
    fake.assert_nothing_wrong();
}

#[tokio::test]
async fn a_card_whose_answer_was_lost_is_found_and_brought_up_to_date() {
    let (fake, slack) = a_slack().await;
    let other = letter(1041, Slot::Card, None, None);
    place(slack.send(&other, &views::acting(), WITHIN).await);
    fake.next(Trouble::DoneBut("fatal_error"));
    transient(slack.send(&card_letter(None), &views::acting(), WITHIN).await);
    let card = place(slack.send(&card_letter(None), &views::helped(), WITHIN).await);
    assert_eq!(fake.methods()[2..], ["conversations.history", "chat.update"]);
    assert_eq!((fake.kept().messages.len(), card.ts.as_str()), (2, "1772330000.000002"));
}

#[tokio::test]
async fn the_very_first_card_is_found_too_by_the_channels_name() {
    let (fake, slack) = a_slack().await;
    for name in ["general", "random", "incidents"] {
        let id = if name == "incidents" { CHANNEL.to_owned() } else { format!("C0{name}") };
        fake.kept().channels.push((name.to_owned(), id, "U0ADMIN".to_owned()));
    }
    fake.next(Trouble::DoneBut("internal_error"));
    transient(slack.send(&card_letter(None), &views::acting(), WITHIN).await);
    let card = place(slack.send(&card_letter(None), &views::helped(), WITHIN).await);
    let list = "conversations.list";
    assert_eq!(fake.methods()[1..], [list, list, "conversations.history", "chat.update"]);
    assert_eq!((fake.kept().messages.len(), card.channel.as_str()), (1, CHANNEL));
}

#[tokio::test]
async fn who_may_not_read_posts_again_and_asks_no_more() {
    let (fake, slack) = a_slack().await;
    fake.kept().may_not_read = true;
    place(slack.send(&letter(1, Slot::Card, None, None), &views::acting(), WITHIN).await);
    for incident in [2, 3] {
        let card = letter(incident, Slot::Card, None, None);
        fake.next(Trouble::DoneBut("internal_error"));
        transient(slack.send(&card, &views::acting(), WITHIN).await);
        place(slack.send(&card, &views::acting(), WITHIN).await);
    }
    let asked = fake.methods().iter().filter(|method| *method == "conversations.history").count();
    assert_eq!((asked, fake.kept().messages.len()), (1, 5), "twice each, never none");
}

#[tokio::test]
async fn a_refusal_leaves_an_earlier_lost_answer_in_doubt() {
    let (fake, slack) = a_slack().await;
    place(slack.send(&letter(1, Slot::Card, None, None), &views::acting(), WITHIN).await);
    fake.next(Trouble::Status(502));
    transient(slack.send(&card_letter(None), &views::acting(), WITHIN).await);
    // It is looked for, not found, and this time refused: still not known.
    fake.next(Trouble::Body("{\"ok\":true,\"messages\":[]}"));
    fake.next(Trouble::Error("service_unavailable"));
    transient(slack.send(&card_letter(None), &views::acting(), WITHIN).await);
    assert!(lock(&slack.in_doubt).contains(&card_letter(None).key));
}

#[tokio::test]
async fn what_people_are_paged_for_is_told_in_the_settings_channel_where_its_own_takes_nothing() {
    let fake = Fake::start().await;
    let said = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&said);
    let standing = Standing::new(move |lines, _| lock(&told).clone_from(&lines));
    let slack = notifier(&fake.url).watched_by(Arc::new(standing)).paging_at_least_in("#incidents");
    let of = |slot, note, card: Option<Posted>| {
        let mut letter = letter(1042, slot, note, card);
        letter.key.receiver = Receiver::Slack { channel: "#gone".to_owned() };
        letter
    };
    let mut view = views::handed_over();
    view.pages = 0;
    assert_eq!(transient(slack.send(&of(Slot::Card, None, None), &view, WITHIN).await).reason, "channel_not_found");
    view.pages = 1;
    // It stands in another channel already.
    view.posted = Some(Posted { channel: "C0OTHER".to_owned(), ts: "1.1".to_owned() });
    transient(slack.send(&of(Slot::Card, None, None), &view, WITHIN).await);
    view.posted = None;
    let card = place(slack.send(&of(Slot::Card, None, None), &view, WITHIN).await);
    assert_eq!(card.channel, CHANNEL);
    view.posted = Some(card.clone());
    let page = of(Slot::Post(1), note("Page.", &["S0123ABC"]), Some(card.clone()));
    place(slack.send(&page, &view, WITHIN).await);
    // Its own channel is archived after all: the card goes on where people read.
    let old = Posted { channel: "C0GONE".to_owned(), ts: "1.2".to_owned() };
    view.posted = Some(old.clone());
    fake.next(Trouble::Error("is_archived"));
    let moved = place(slack.send(&of(Slot::Card, None, Some(old)), &view, WITHIN).await);
    assert_eq!((moved.channel.as_str(), moved == card), (CHANNEL, false));
    let texts: Vec<_> = fake.kept().messages.iter().map(|message| message.body["text"].clone()).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[1].as_str().unwrap().starts_with("<!subteam^S0123ABC>"), "{texts:?}");
    let said = lock(&said).clone();
    assert!(said.len() == 1 && said[0].contains("#gone"), "it stays said: {said:?}");
}

#[tokio::test]
async fn the_token_is_in_no_error() {
    let fake = Fake::start().await;
    let http = Client::build(&ClientSettings::default()).unwrap();
    let slack = Slack::new(
        Arc::new(SlackClient::new(http, &fake.url, SecretString::from("xoxb-canary\nx"))),
        TimeZone::UTC,
        None,
    );
    let told = slack.send(&card_letter(None), &views::acting(), WITHIN).await;
    assert_eq!(told, Ok(Told::Failed { reason: "bad_request".to_owned() }));
    assert!(fake.kept().calls.is_empty());
}
