//! One incident, told to three services of which one is not well: what is acted on and what the other two are told does not
//! change, and the one that was away has everything afterwards, in order and once.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::row::{Row, Told, posts, shared};
use crate::stage::SOON;
use crate::story::story;
use crate::support::peers::Alertmanager;
use crate::support::{pagerduty, slack, statuspage, wait_until};

/// A call of ours is given up after 15 seconds.
const TOO_SLOW: Duration = Duration::from_secs(17);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Slack,
    PagerDuty,
    Statuspage,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Limited,
    Error,
    Slow,
    Hangs,
    Resets,
    /// `ok: false`, as Slack says most things.
    Says(&'static str),
    /// A status that no second try makes better.
    Refuses(u16),
}

/// From when until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    /// Until somebody has taken it.
    FromTheStart,
    /// Until it is over.
    FromThePage,
}

type Case = (Service, Trouble, Window);

impl Service {
    fn is(self, row: &Row, trouble: Trouble) {
        match self {
            Service::Slack => row.slack.behave(match trouble {
                Trouble::None => slack::Behaviour::Ok,
                Trouble::Limited => slack::Behaviour::RateLimited(2),
                Trouble::Error => slack::Behaviour::Status(500),
                Trouble::Slow => slack::Behaviour::Slow(TOO_SLOW),
                Trouble::Hangs => slack::Behaviour::Hang,
                Trouble::Resets => slack::Behaviour::Reset,
                Trouble::Says(error) => slack::Behaviour::Error(error),
                Trouble::Refuses(status) => slack::Behaviour::Status(status),
            }),
            Service::PagerDuty => {
                let behaviour = match trouble {
                    Trouble::None => pagerduty::Behaviour::Ok,
                    Trouble::Limited => pagerduty::Behaviour::RateLimited(2),
                    Trouble::Slow => pagerduty::Behaviour::Slow(TOO_SLOW),
                    Trouble::Hangs => pagerduty::Behaviour::Hang,
                    Trouble::Resets => pagerduty::Behaviour::Reset,
                    Trouble::Error | Trouble::Says(_) => pagerduty::Behaviour::Status(500),
                    Trouble::Refuses(status) => pagerduty::Behaviour::Status(status),
                };
                row.pagerduty.events(behaviour.clone());
                row.pagerduty.rest(behaviour);
            }
            Service::Statuspage => row.page.behave(match trouble {
                Trouble::None => statuspage::Behaviour::Ok,
                Trouble::Limited => statuspage::Behaviour::Limited(429, 2),
                Trouble::Slow => statuspage::Behaviour::Slow(TOO_SLOW),
                Trouble::Hangs => statuspage::Behaviour::Hang,
                Trouble::Resets => statuspage::Behaviour::Reset,
                Trouble::Error | Trouble::Says(_) => statuspage::Behaviour::Status(500),
                Trouble::Refuses(status) => statuspage::Behaviour::Error(status, "no"),
            }),
        }
    }

    /// Calls that it got so far.
    fn asked(self, row: &Row) -> usize {
        match self {
            Service::Slack => row.slack.calls().len(),
            Service::PagerDuty => row.pagerduty.calls().len(),
            Service::Statuspage => row.page.calls().len(),
        }
    }

    fn has_all(self, told: &Told) -> bool {
        match self {
            Service::Slack => told.cards == ["🟢 P1 resolved: claims are slow"] && of_the_story(told) == STORY,
            Service::PagerDuty => {
                told.pages.iter().all(|(status, _)| status == "resolved")
                    && told.events.last().is_some_and(|last| last == "resolve")
                    && !told.notes.is_empty()
            }
            Service::Statuspage => told.public.last() == PUBLIC.last().map(|last| (*last).to_owned()).as_ref(),
        }
    }
}

const ALL: [Service; 3] = [Service::Slack, Service::PagerDuty, Service::Statuspage];

/// What the thread says but for what the status page and PagerDuty do meanwhile.
const STORY: [&str; 8] = [
    "Page: rule slow does not hold its page. This needs a person.",
    "Step 1.1 waits for an approval until T UTC: nothing is changed on nothing/nothing. Approve with: nightshift approve 1.1",
    "ana has it. A running step is verified; a new one needs an approval.",
    "ana approved step 1.1.",
    "Step 1.1 started on nothing/nothing: nothing is changed.",
    "Step T helped, verified.",
    "Resolved: nothing of it fired for its quiet time.",
    "Its post-mortem is due by T T UTC. What happened: nightshift why 1",
];
const EVENTS: [&str; 3] = ["trigger", "acknowledge", "resolve"];
const PUBLIC: [&str; 4] = ["We look for the cause.", "We repair it.", "We watch it.", "It works."];

fn of_the_story(told: &Told) -> Vec<&str> {
    let aside = |said: &&String| !said.starts_with("Status page") && !said.starts_with("PagerDuty");
    // A page that comes late says how it stands by then.
    let without_headline =
        |said: &'_ str| said.split_once(" · ").map_or(said.len(), |(head, _)| head.len() + " · ".len());
    let cut = |said: &'_ String| if said.starts_with('📟') { without_headline(said) } else { 0 };
    told.thread.iter().filter(aside).map(|said| &said[cut(said)..]).collect()
}

/// In this order, none twice; what was superseded may be left out, the last may not.
fn assert_folded(told: &[String], all: &[&str]) {
    let mut rest = all.iter();
    let is_in_order = told.iter().all(|one| rest.any(|known| known == one));
    assert!(is_in_order && told.last().map(String::as_str) == all.last().copied(), "{told:#?}");
}

fn assert_told_once(told: &Told) {
    assert_eq!(of_the_story(told), STORY);
    let mut once = told.thread.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), told.thread.len(), "said twice: {told:#?}");
    assert!(told.thread.iter().any(|said| said.contains("resolved, published")), "{told:#?}");
    assert_eq!(told.pages, [("resolved".to_owned(), 1)], "{told:#?}");
    assert_folded(&told.events, &EVENTS);
    assert_folded(&told.public, &PUBLIC);
    assert_eq!((told.notes.len(), told.component.as_str()), (1, "operational"), "{told:#?}");
}

/// Plays the incident with that trouble in that window.
async fn plays(case: Option<Case>, row: &Row, alertmanager: &Alertmanager, number: usize) {
    let off = |window: Window| case.filter(|(_, _, at)| *at == window).map(|(service, trouble, _)| (service, trouble));
    if let Some((service, trouble)) = off(Window::FromTheStart) {
        service.is(row, trouble);
    }
    posts(alertmanager, number, false).await;
    row.night.until_step("asking").await;
    if off(Window::FromTheStart).is_none() {
        row.until("everybody knows that it began", has_begun).await;
    }
    let mut asked = 0;
    if let Some((service, trouble)) = off(Window::FromThePage) {
        asked = service.asked(row);
        service.is(row, trouble);
    }
    row.acknowledges().await;
    if let Some((service, _)) = off(Window::FromTheStart) {
        is_tried(service, row, 0).await;
        service.is(row, Trouble::None);
        row.until("it knows now what the others know", |told| {
            !told.cards.is_empty() && !told.pages.is_empty() && !told.public.is_empty()
        })
        .await;
    }
    row.approves().await;
    posts(alertmanager, number, true).await;
    row.until_over().await;
    if let Some((service, _)) = off(Window::FromThePage) {
        let others = |told: &Told| ALL.into_iter().all(|other| other == service || other.has_all(told));
        row.until("the other two have all of it meanwhile", others).await;
        is_tried(service, row, asked).await;
        assert!(!service.has_all(&row.told()), "{}: it was away: {:#?}", row.name, row.told());
        service.is(row, Trouble::None);
    }
    let has_all = |told: &Told| ALL.into_iter().all(|service| service.has_all(told));
    row.until("each of them has all of it", has_all).await;
    row.until("the thread says what customers read", |told| {
        told.thread.iter().any(|said| said.contains("resolved, published"))
    })
    .await;
}

async fn is_tried(service: Service, row: &Row, before: usize) {
    row.until("it is tried", |_| service.asked(row) > before).await;
}

fn has_begun(told: &Told) -> bool {
    told.thread.iter().any(|said| said.contains("PagerDuty has it"))
        && told.thread.iter().any(|said| said.contains("investigating, published"))
        && told.cards.iter().any(|card| card.contains("firing"))
}

/// All of them at once, each with a nightshift of its own.
async fn play_all(cases: &[Option<Case>]) {
    let (alertmanager, ports) = shared(cases.len()).await;
    let alertmanager = &alertmanager;
    let address = alertmanager.server().address();
    let all = cases.iter().zip(ports).enumerate().map(async |(number, (case, ports))| {
        let name = case.map_or("all well".to_owned(), |case| format!("{case:?}"));
        let one = async {
            let row = Row::start(&name, address, ports).await;
            plays(*case, &row, alertmanager, number).await;
            assert_told_once(&row.told());
            row.stop().await;
        };
        AssertUnwindSafe(one).catch_unwind().await.map_err(|_| name.clone())
    });
    let ended: Vec<Result<(), String>> = join_all(all).await;
    let failed: Vec<&String> = ended.iter().filter_map(|end| end.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn table(window: Window) -> Vec<Option<Case>> {
    use Trouble::{Error, Hangs, Limited, Resets, Says, Slow};
    let each = ALL.into_iter().flat_map(|service| {
        [Limited, Error, Slow, Hangs, Resets].into_iter().map(move |trouble| Some((service, trouble, window)))
    });
    let words = ["ratelimited", "service_unavailable", "internal_error", "channel_not_found", "token_revoked"];
    let says = words.into_iter().map(|word| Some((Service::Slack, Says(word), window)));
    each.chain(says).chain([None]).collect()
}

const TROUBLES: [&str; 4] =
    ["page: a person is needed", "a letter was not taken", "Slack refuses channel", "Slack refuses the bot token"];

#[test]
fn whichever_is_away_the_others_hear_all_of_it_and_it_catches_up_in_order() {
    story(&TROUBLES, async || {
        use Trouble::{Hangs, Limited, Says};
        let window = Window::FromThePage;
        let cases = [
            (Service::Slack, Hangs, window),
            (Service::Slack, Says("channel_not_found"), window),
            (Service::PagerDuty, Hangs, window),
            (Service::Statuspage, Limited, window),
        ];
        play_all(&cases.map(Some)).await;
    });
}

#[test]
#[ignore = "five minutes: every trouble of every service"]
fn long_every_trouble_of_every_service_in_the_midst_of_it() {
    story(&TROUBLES, async || play_all(&table(Window::FromThePage)).await);
}

#[test]
#[ignore = "five minutes: every trouble of every service"]
fn long_every_trouble_of_every_service_when_it_begins() {
    story(&TROUBLES, async || play_all(&table(Window::FromTheStart)).await);
}

/// What no second try makes better: what is refused, and where that is to be seen at once.
struct Refusal {
    service: Service,
    trouble: Trouble,
    window: Window,
    metric: &'static str,
    status: &'static str,
    /// In Slack, if Slack is not the one that refuses.
    thread: Option<&'static str>,
}

const REFUSALS: [Refusal; 5] = [
    Refusal {
        service: Service::Slack,
        trouble: Trouble::Says("invalid_blocks"),
        window: Window::FromThePage,
        metric: "nightshift_letters_failed_total{receiver=\"slack\",reason=\"refused\"}",
        status: "slack:#incidents refused a letter of incident 1 for good (invalid_blocks)",
        thread: None,
    },
    Refusal {
        service: Service::Slack,
        trouble: Trouble::Says("channel_not_found"),
        window: Window::FromThePage,
        metric: "nightshift_receiver_refuses{receiver=\"slack\"} 1",
        status: "Slack refuses channel #incidents (channel_not_found)",
        thread: None,
    },
    Refusal {
        service: Service::PagerDuty,
        trouble: Trouble::Refuses(400),
        window: Window::FromTheStart,
        metric: "nightshift_letters_failed_total{receiver=\"pagerduty\",reason=\"refused\"}",
        status: "pagerduty:default refused a page of incident 1 for good (rejected",
        thread: Some("PagerDuty did not take the page (rejected"),
    },
    Refusal {
        service: Service::PagerDuty,
        trouble: Trouble::Refuses(400),
        window: Window::FromThePage,
        metric: "nightshift_letters_failed_total{receiver=\"pagerduty\",reason=\"refused\"}",
        status: "pagerduty:default refused a page of incident 1 for good (rejected",
        thread: Some("PagerDuty did not take that somebody has it (rejected"),
    },
    Refusal {
        service: Service::Statuspage,
        trouble: Trouble::Refuses(422),
        window: Window::FromTheStart,
        metric: "nightshift_letters_failed_total{receiver=\"statuspage\",reason=\"refused\"}",
        status: "statuspage:claims refused a letter of incident 1 for good (",
        thread: Some("Status page, claims: customers were not told: "),
    },
];

async fn is_refused(refusal: &Refusal, row: &Row, alertmanager: &Alertmanager, number: usize) {
    let Refusal { service, trouble, window, .. } = *refusal;
    if window == Window::FromTheStart {
        service.is(row, trouble);
    }
    posts(alertmanager, number, false).await;
    row.night.until_step("asking").await;
    if window == Window::FromThePage {
        row.until("everybody knows that it began", has_begun).await;
        service.is(row, trouble);
    }
    row.acknowledges().await;
    row.until("Slack says so", |told| {
        refusal.thread.is_none_or(|words| told.thread.iter().any(|said| said.contains(words)))
    })
    .await;
    wait_until(&format!("{}: it is counted", row.name), SOON, async || {
        let text = row.night.app.metrics.encode();
        let shown: String = text.lines().filter(|line| line.contains("refuse")).collect();
        let line = text.lines().find(|line| line.starts_with(refusal.metric));
        if line.is_some_and(|line| !line.ends_with(" 0")) { Ok(()) } else { Err(shown) }
    })
    .await;
    let attention = row.attention().await;
    assert!(attention.contains(refusal.status), "{}: the status shows {attention:?}", row.name);
    // Whatever they refuse, it is acted on.
    row.approves().await;
    posts(alertmanager, number, true).await;
    row.until_over().await;
    row.until("the others have all of it", |told| {
        let pages = service == Service::PagerDuty || Service::PagerDuty.has_all(told);
        let public = service == Service::Statuspage || Service::Statuspage.has_all(told);
        pages && public
    })
    .await;
}

#[test]
fn what_is_refused_for_good_is_counted_shown_and_said_at_once() {
    let refused = [
        "page: a person is needed",
        "a letter was not taken",
        "a letter was refused for good",
        "Slack refuses channel",
        "PagerDuty refused a page for good",
        "customers were not told",
    ];
    story(&refused, async || {
        let (alertmanager, ports) = shared(REFUSALS.len()).await;
        let alertmanager = &alertmanager;
        let address = alertmanager.server().address();
        let all = REFUSALS.iter().zip(ports).enumerate().map(async |(number, (refusal, ports))| {
            let name = format!("{:?} {:?} {:?}", refusal.service, refusal.trouble, refusal.window);
            let row = Row::start(&name, address, ports).await;
            is_refused(refusal, &row, alertmanager, number).await;
            row.stop().await;
        });
        join_all(all).await;
    });
}
