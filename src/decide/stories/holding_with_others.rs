//! A held page beside what else wakes people: storms, channels, escalations, other pages, parents.

use super::*;

#[test]
fn an_alert_that_no_rule_takes_and_that_asks_pages_at_once_and_closes_its_page() {
    let mut story = story();
    let group = dedup_key(&GROUP.replace("WebIsSlow", "Unheard"));
    asks(&mut story, "Unheard");
    assert_eq!(woken(&story), ["not_held"]);
    assert_eq!(owed(&story), [(group, PageState::Triggered)]);
    assert!(story.posts().iter().any(|post| post.contains("no rule takes the alert")), "{:?}", story.posts());
    story.mails();
    story.after(Span::minutes(1));
    asks(&mut story, "Unheard");
    story.after(Span::seconds(10));
    resolves(&mut story, "Unheard", "p1");
    assert_eq!(owed(&story), [(group, PageState::Resolved)]);
    story.mails();
    assert!(story.state.pages.is_empty(), "{:?}", story.state.pages);
    story.fires("Unlabelled");
    assert_eq!(owed(&story), []);
}

#[test]
fn in_a_storm_its_page_is_the_page_of_what_it_stops() {
    let mut story = with(|spec| {
        let all = Span::minutes(5);
        spec.brake = Some(Brake { share_percent: 20, at_least: 3, all: 1, within: all, cooldown: all });
        spec.max_concurrent = 5;
    });
    asks(&mut story, "WebIsSlow");
    asks(&mut story, "ApiIsSlow");
    assert_eq!(woken(&story), ["brake"], "one page for the storm");
    assert_eq!(spared(&story).len(), 2, "{:?}", spared(&story));
    assert!(spared(&story).iter().all(|how| matches!(how, Spared::Storm { .. })));
    story.after(Span::minutes(10));
    assert_eq!(woken(&story), ["brake"]);
}

#[test]
fn a_held_page_is_one_page_whatever_else_happens_to_the_incident() {
    let mut story = story();
    acts(&mut story);
    story.fires_since("WebIsSlow", story.now);
    story.mails();
    let reading = story.after(Span::seconds(151)).reading();
    story.measures(reading);
    assert_eq!(story.pages(), 1, "{:?}", woken(&story));
    assert!(matches!(
        story.events().find(|event| matches!(event, Event::PageReleased { .. })),
        Some(Event::PageReleased { reason: Reason::Exhausted | Reason::DidNotHelp, .. })
    ));
}

#[test]
fn the_incidents_channel_and_the_escalation_begin_with_the_page() {
    let begun = |story: &Story| {
        let begins = |event: &&Event| matches!(event, Event::ChannelOpened { .. } | Event::EscalationBegan { .. });
        story.events().filter(begins).count()
    };
    let mut story = with(|spec| spec.incident_channels = vec!["P1".into()]);
    acts(&mut story);
    assert_eq!(begun(&story), 0);
    story.after(Span::minutes(5));
    assert_eq!((woken(&story), begun(&story)), (vec!["hold_over"], 2));

    let mut story = with(|spec| spec.incident_channels = vec!["P1".into()]);
    acts(&mut story);
    story.after(Span::minutes(1));
    resolves(&mut story, "WebIsSlow", "p1");
    let reading = story.after(Span::seconds(1)).reading();
    story.measures(reading);
    story.after(Span::minutes(30));
    assert_eq!((spared(&story), begun(&story)), (vec![Spared::Helped], 0));

    let mut story = with(|spec| spec.incident_channels = vec!["P1".into()]);
    story.fires("WebIsSlow");
    assert_eq!(begun(&story), 1, "the channel of what did not ask opens at once");
}

#[test]
fn what_fires_again_in_an_incident_that_another_alert_keeps_open_pages_at_once() {
    let mut story = with(|spec| spec.rules[0].hold_page = None);
    story.fires("WebIsSlow");
    let begin = story.now;
    asks_since(&mut story, "WebIsSlow", "p2", begin);
    assert_eq!(woken(&story), ["not_held"]);
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    resolves(&mut story, "WebIsSlow", "p2");
    assert_eq!(story.incident_state(1), "monitoring");
    story.after(Span::minutes(1)).fires("WebIsSlow");
    assert_eq!((story.incident_state(1), woken(&story).len()), ("open", 1), "this one asks for no hold");
    let again = story.after(Span::seconds(10)).now;
    asks_since(&mut story, "WebIsSlow", "p2", again);
    assert_eq!(woken(&story), ["not_held", "not_held"], "not at whatever comes next");
}

#[test]
fn what_is_lost_while_it_is_verified_pages() {
    let mut story = with(|spec| spec.lost_after = Span::minutes(2));
    let step = acts(&mut story);
    story.after(Span::minutes(2));
    let answer = story.answer(|_| Firing::Absent);
    story.input(Input::Confirmed { fingerprint: Fingerprint::new("WebIsSlow-p1"), delivered: None, answer });
    assert_eq!((story.phase(step), woken(&story)), (Phase::Verifying, vec!["lost_contact"]));
}

/// PagerDuty says that it has the page of an alert that asked to hold it.
fn pagerduty_tells(story: &mut Story, event: PeerEvent, group: &str) -> Vec<Event> {
    let ids = vec![format!("{} {}", event.word(), story.now.0)];
    let key = dedup_key(group).to_string();
    let incident = PeerIncident {
        id: "PGR0VU2".into(),
        number: Some(12),
        url: String::new(),
        keys: vec![key],
        acknowledged: false,
    };
    let (occurred_at, received_at) = (story.now, story.now);
    let news = PeerNews { ids, event, occurred_at, received_at, by: None, incident, alert: None, asked: None };
    story.input(Input::Peer(Box::new(news)))
}

#[test]
fn a_fuse_that_burnt_down_early_has_woken_people() {
    let mut story = story();
    acts(&mut story);
    pagerduty_tells(&mut story, PeerEvent::Triggered, GROUP);
    assert_eq!((woken(&story), held_until(&story)), (vec!["not_held"], None));
    assert_eq!(owed(&story), [(dedup_key(GROUP), PageState::Triggered)], "the same page");
    pagerduty_tells(&mut story, PeerEvent::Escalated { to: "bob".into() }, GROUP);
    assert_eq!(story.pages(), 1);
}

#[test]
fn the_page_of_an_alert_that_no_rule_takes_is_known_when_it_comes_back() {
    let mut story = story();
    asks(&mut story, "Unheard");
    pagerduty_tells(&mut story, PeerEvent::Triggered, &GROUP.replace("WebIsSlow", "Unheard"));
    assert!(story.state.incident_ids().is_empty());
    assert_eq!(story.pages(), 1);
    assert!(story.events().all(|event| !matches!(event, Event::PeerJoined { .. })), "it belongs to no incident");
}

#[test]
fn a_child_whose_page_is_held_keeps_it_though_its_parent_was_paged() {
    let mut story = with(|spec| spec.max_concurrent = 2);
    story.acts_on("ApiIsSlow");
    asks(&mut story, "WebIsSlow");
    story.observes();
    assert_eq!(story.state.page_held_until(IncidentId(2)), Some(story.now + Span::minutes(5)));
    let reading = story.after(Span::seconds(151)).reading();
    story.measures(reading);
    assert_eq!(woken(&story)[0], "exhausted", "the parent");
}
