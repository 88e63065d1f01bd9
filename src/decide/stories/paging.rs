use super::harness::{Story, rule};
use crate::decide::policy::PolicySpec;
use crate::model::{
    alert::{HOLD_LABEL, Status},
    event::Event,
    id::{Fingerprint, IncidentId},
    input::{Command, Input},
    letter::{External, LetterKey, Note, PageState, Paged, Told},
    mode::Mode,
    page::{DedupKey, dedup_key},
    time::Span,
};

const WEB: &str = "{}/{nightshift_hold=\"true\"}:{alertname=\"WebIsSlow\", pod=\"p1\"}";

/// PagerDuty is configured; the rule for `WebIsSlow` asks, so that an approval that nobody gives pages.
fn story() -> Story {
    Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.rules[0].mode = Mode::Ask;
        spec.rules[0].quiet = Span::minutes(10);
    })
}

/// A firing or a resolve of one pod, in the group of this key.
fn pod(story: &mut Story, pod: &str, status: Status, group_key: &str) -> Vec<Event> {
    let print = Fingerprint::new(&format!("WebIsSlow-{pod}"));
    let starts_at = match status {
        Status::Firing => story.now,
        Status::Resolved => story.state.alerts[&print].starts_at,
    };
    let mut alert = story.alert("WebIsSlow", pod, status, starts_at);
    alert.group_key = group_key.to_owned();
    story.input(Input::Alert(Box::new(alert)))
}

/// An incident that has woken people.
fn paged() -> Story {
    let mut story = story();
    pod(&mut story, "p1", Status::Firing, WEB);
    story.observes();
    story.after(Span::minutes(31));
    assert_eq!(story.pages(), 1);
    story
}

/// The pages that are owed now: key and wanted state.
fn owed(story: &Story) -> Vec<(DedupKey, PageState)> {
    let due = story.state.letters_due(100).into_iter();
    due.filter_map(|letter| letter.page).filter_map(|page| Some((page.dedup_key, page.wants?))).collect()
}

/// PagerDuty takes every page as it is wanted now.
fn takes(story: &mut Story) {
    let due: Vec<_> = story.state.letters_due(100).into_iter().filter(|letter| letter.key.is_page()).collect();
    for letter in due {
        let page = letter.page.unwrap();
        let external = page
            .wants
            .map(|page_state| External::Paged(Paged { dedup_key: page.dedup_key.to_string(), page: page_state }));
        story.input(Input::Told { letter: letter.key, up_to: letter.want, result: Told::Sent { external } });
    }
}

#[test]
fn a_page_has_the_key_that_alertmanager_will_use() {
    let story = paged();
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Triggered)]);
}

#[test]
fn an_incident_that_pages_nobody_is_unknown_to_pagerduty() {
    let mut story = story();
    pod(&mut story, "p1", Status::Firing, WEB);
    story.observes();
    story.after(Span::minutes(1));
    pod(&mut story, "p1", Status::Resolved, WEB);
    story.after(Span::minutes(30));
    assert!(story.events().all(|event| !matches!(event, Event::PageOwed { .. })));
    assert_eq!(owed(&story), []);
}

#[test]
fn without_pagerduty_nothing_is_owed_to_it() {
    let mut story = Story::with(|spec| spec.rules[0].mode = Mode::Ask);
    pod(&mut story, "p1", Status::Firing, WEB);
    story.observes();
    story.after(Span::minutes(31));
    assert_eq!((story.pages(), owed(&story)), (1, vec![]));
}

#[test]
fn it_is_acknowledged_with_its_incident_and_resolved_at_once_when_nothing_of_its_group_fires() {
    let mut story = paged();
    takes(&mut story);
    assert_eq!(owed(&story), []);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Acknowledged)]);
    takes(&mut story);
    pod(&mut story, "p1", Status::Resolved, WEB);
    assert_eq!(story.incident_state(1), "monitoring");
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Resolved)]);
    takes(&mut story);
    assert_eq!(owed(&story), []);
    story.mails();
    story.after(Span::hours(24)).mails();
    story.after(Span::hours(49));
    assert!(story.state.pages.is_empty(), "it goes with its incident");
}

#[test]
fn the_newest_wish_is_sent_however_long_pagerduty_was_away() {
    let mut story = paged();
    let before = story.state.letters_due(100).into_iter().find(|letter| letter.key.is_page()).unwrap();
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    pod(&mut story, "p1", Status::Resolved, WEB);
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Resolved)]);
    // The answer to what was sent before all that.
    let external = External::Paged(Paged { dedup_key: dedup_key(WEB).to_string(), page: PageState::Triggered });
    let result = Told::Sent { external: Some(external) };
    story.input(Input::Told { letter: before.key, up_to: before.want, result });
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Resolved)], "it is still owed");
}

#[test]
fn a_group_that_goes_on_firing_keeps_its_page_also_in_another_incident() {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.rules[0].mode = Mode::Ask;
        spec.rules[0].group_by = vec!["pod".into()];
    });
    pod(&mut story, "p1", Status::Firing, WEB);
    pod(&mut story, "p2", Status::Firing, WEB);
    story.observes();
    story.after(Span::minutes(31));
    takes(&mut story);
    pod(&mut story, "p1", Status::Resolved, WEB);
    assert_eq!(owed(&story), [], "p2 fires in incident 2");
    pod(&mut story, "p2", Status::Resolved, WEB);
    assert_eq!(owed(&story).last(), Some(&(dedup_key(WEB), PageState::Resolved)));
}

#[test]
fn what_still_fires_in_another_group_and_nobody_has_is_paged_under_that_groups_key() {
    let other = WEB.replace("p1", "p2");
    let mut story = paged();
    pod(&mut story, "p2", Status::Firing, &other);
    takes(&mut story);
    pod(&mut story, "p1", Status::Resolved, WEB);
    let both = owed(&story);
    assert_eq!(both.len(), 1, "one at a time for an incident: {both:?}");
    takes(&mut story);
    assert_eq!(
        [both, owed(&story)].concat(),
        [(dedup_key(WEB), PageState::Resolved), (dedup_key(&other), PageState::Triggered)]
    );
}

#[test]
fn what_somebody_has_is_not_paged_again_for_another_group() {
    let other = WEB.replace("p1", "p2");
    let mut story = paged();
    pod(&mut story, "p2", Status::Firing, &other);
    takes(&mut story);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    takes(&mut story);
    pod(&mut story, "p1", Status::Resolved, WEB);
    takes(&mut story);
    assert_eq!(owed(&story), []);
}

#[test]
fn a_lost_alert_closes_no_page_and_a_person_does() {
    let mut story = paged();
    takes(&mut story);
    story.after(Span::hours(2));
    story.input(Input::Confirmed {
        fingerprint: Fingerprint::new("WebIsSlow-p1"),
        delivered: None,
        answer: story.answer(|_| crate::model::firing::Firing::Absent),
    });
    assert_eq!(story.state.incidents[&IncidentId(1)].lost, 1);
    assert_eq!(owed(&story), [], "lost is not over");
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Resolved)]);
}

#[test]
fn what_fires_again_and_pages_again_is_triggered_again() {
    let mut story = paged();
    takes(&mut story);
    pod(&mut story, "p1", Status::Resolved, WEB);
    takes(&mut story);
    story.after(Span::minutes(11));
    pod(&mut story, "p1", Status::Firing, WEB);
    story.observes();
    story.after(Span::minutes(31));
    assert_eq!(story.pages(), 2);
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Triggered)]);
}

#[test]
fn an_older_incidents_resolve_never_closes_a_newer_page_of_the_same_key() {
    let mut story = paged();
    takes(&mut story);
    pod(&mut story, "p1", Status::Resolved, WEB);
    // PagerDuty is away: that it is over is still owed.
    story.after(Span::minutes(11));
    pod(&mut story, "p1", Status::Firing, WEB);
    story.observes();
    story.after(Span::minutes(31));
    assert_eq!(story.pages(), 2);
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Triggered)]);
    takes(&mut story);
    assert_eq!(owed(&story), []);
}

/// A firing or a resolve of an alert that asks to hold its page, in the group of `WEB`.
fn asks(story: &mut Story, name: &str, pod: &str, status: Status) -> Vec<Event> {
    let held = story.state.alerts.get(&Fingerprint::new(&format!("{name}-{pod}")));
    let starts_at = held.filter(|_| status == Status::Resolved).map_or(story.now, |held| held.starts_at);
    let mut alert = story.alert(name, pod, status, starts_at);
    alert.labels.insert(HOLD_LABEL.into(), "true".into());
    alert.group_key = WEB.to_owned();
    story.input(Input::Alert(Box::new(alert)))
}

#[test]
fn what_fires_again_under_a_key_that_another_incident_had_since_is_triggered_again() {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.rules[0].group_by = vec!["pod".into()];
    });
    for status in [Status::Firing, Status::Resolved] {
        asks(&mut story, "WebIsSlow", "p1", status);
        asks(&mut story, "WebIsSlow", "p2", status);
        takes(&mut story);
        story.after(Span::minutes(1));
    }
    assert_eq!((story.pages(), owed(&story)), (2, vec![]));
    asks(&mut story, "WebIsSlow", "p1", Status::Firing);
    assert_eq!((story.incident_state(1), story.pages()), ("open", 3));
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Triggered)]);
}

#[test]
fn the_page_is_of_the_group_that_alertmanager_holds_back() {
    let mut story = story();
    pod(&mut story, "p1", Status::Firing, &WEB.replace("p1", "p3"));
    story.after(Span::minutes(1));
    asks(&mut story, "WebIsSlow", "p2", Status::Firing);
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Triggered)], "the other group it pages by itself");
}

#[test]
fn what_no_rule_takes_is_triggered_again_under_a_key_that_an_incident_had_since() {
    let mut story = story();
    asks(&mut story, "Unheard", "p1", Status::Firing);
    asks(&mut story, "WebIsSlow", "p2", Status::Firing);
    takes(&mut story);
    story.after(Span::minutes(1));
    for (name, pod) in [("Unheard", "p1"), ("WebIsSlow", "p2")] {
        asks(&mut story, name, pod, Status::Resolved);
    }
    assert_eq!((story.pages(), owed(&story)), (2, vec![(dedup_key(WEB), PageState::Resolved)]));
    // PagerDuty is away.
    asks(&mut story, "Unheard", "p1", Status::Firing);
    assert_eq!(story.pages(), 3);
    // What a later page of the key says is not said before it.
    assert_eq!(owed(&story), []);
    takes(&mut story);
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Triggered)]);
}

#[test]
fn an_alert_without_a_group_is_paged_under_a_key_of_its_incident() {
    let mut story = story();
    pod(&mut story, "p1", Status::Firing, "");
    story.observes();
    story.after(Span::minutes(31));
    let keys: Vec<_> = owed(&story);
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].1, PageState::Triggered);
    takes(&mut story);
    pod(&mut story, "p1", Status::Resolved, "");
    assert_eq!(owed(&story), [(keys[0].0, PageState::Resolved)]);
}

/// Two incidents of one group: somebody has the page of the first, and the second has woken people.
fn beside_what_somebody_has(change: impl FnOnce(&mut PolicySpec)) -> Story {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.rules[0].mode = Mode::Ask;
        spec.rules[0].group_by = vec!["pod".into()];
        change(spec);
    });
    pod(&mut story, "p1", Status::Firing, WEB);
    story.observes();
    story.after(Span::minutes(31));
    takes(&mut story);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    takes(&mut story);
    pod(&mut story, "p2", Status::Firing, WEB);
    story.observes();
    story.after(Span::minutes(31));
    story
}

#[test]
fn where_somebody_has_the_groups_page_another_incident_of_it_gets_a_page_of_its_own() {
    let mut story = beside_what_somebody_has(|_| ());
    let fresh = owed(&story);
    assert_eq!((story.pages(), fresh.len(), fresh[0].1), (2, 1, PageState::Triggered));
    assert_ne!(fresh[0].0, dedup_key(WEB), "under an acknowledged key it would wake nobody");
    takes(&mut story);
    pod(&mut story, "p1", Status::Resolved, WEB);
    assert_eq!(owed(&story), [], "the group still fires");
    pod(&mut story, "p2", Status::Resolved, WEB);
    let mut over = owed(&story);
    takes(&mut story);
    over.extend(owed(&story));
    over.sort();
    let mut both = vec![(dedup_key(WEB), PageState::Resolved), (fresh[0].0, PageState::Resolved)];
    both.sort();
    assert_eq!(over, both);
}

#[test]
fn a_page_that_pagerduty_refuses_wakes_people_in_slack() {
    let mut story = paged();
    let letter = story.state.letters_due(100).into_iter().find(|letter| letter.key.is_page()).unwrap();
    let result = Told::Failed { reason: "invalid_routing_key".into() };
    let events = story.input(Input::Told { letter: letter.key, up_to: letter.want, result });
    let is_page = |event: &&Event| match event {
        Event::Tell { letter: LetterKey { receiver, .. }, note: Some(Note { page, mentions, text, .. }) } => {
            *page && !mentions.is_empty() && receiver.word() == "slack" && text.contains("invalid_routing_key")
        }
        _ => false,
    };
    assert_eq!(events.iter().filter(is_page).count(), 1, "{events:?}");
}

#[test]
fn nightshifts_own_trouble_is_paged_under_one_key_and_left_to_people() {
    let mut story = story();
    story.input(Input::Poisoned { digest: "ab".into(), cause: "alert".into(), message: "m".into(), text: "".into() });
    let first = owed(&story);
    takes(&mut story);
    story.input(Input::Poisoned { digest: "cd".into(), cause: "alert".into(), message: "m".into(), text: "".into() });
    assert_eq!(owed(&story), first);
    assert_eq!(first[0].1, PageState::Triggered);
    takes(&mut story);
    assert!(story.state.pages.is_empty());
    story.crashes();
    story.input(Input::Poisoned { digest: "ef".into(), cause: "alert".into(), message: "m".into(), text: "".into() });
    assert_eq!(owed(&story), first, "the same after a crash");
}

#[test]
fn pages_are_owed_to_pagerduty_however_many_rules_there_are() {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages_to = [("P1".to_owned(), "platform".to_owned())].into();
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web"]);
        spec.rules[0].mode = Mode::Ask;
    });
    pod(&mut story, "p1", Status::Firing, WEB);
    story.observes();
    story.after(Span::minutes(31));
    let services: Vec<String> = story
        .state
        .letters_due(9)
        .into_iter()
        .filter(|it| it.key.is_page())
        .map(|it| it.key.receiver.to_string())
        .collect();
    assert_eq!(services, ["pagerduty:platform"]);
}

#[test]
fn what_was_closed_in_pagerduty_and_fires_again_rings_again_while_nobody_has_it() {
    let mut story = paged();
    takes(&mut story);
    pod(&mut story, "p1", Status::Resolved, WEB);
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Resolved)]);
    takes(&mut story);
    story.after(Span::minutes(3));
    pod(&mut story, "p1", Status::Firing, WEB);
    assert_eq!(story.incident_state(1), "open");
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Triggered)], "it is closed there, fires, and nobody has it");
}

#[test]
fn whoever_takes_a_story_takes_the_pages_of_its_children_too() {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.rules.iter_mut().for_each(|rule| {
            rule.service = Some("shop".into());
            rule.mode = Mode::Ask;
        });
    });
    let api = WEB.replace("Web", "Api");
    pod(&mut story, "p1", Status::Firing, WEB);
    let mut child = story.alert("ApiIsSlow", "p1", Status::Firing, story.now);
    child.group_key.clone_from(&api);
    story.input(Input::Alert(Box::new(child)));
    story.observes();
    story.after(Span::minutes(31));
    assert_eq!(story.pages(), 2);
    takes(&mut story);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    let mut wanted = [(dedup_key(WEB), PageState::Acknowledged), (dedup_key(&api), PageState::Acknowledged)];
    wanted.sort();
    let mut told = owed(&story);
    told.sort();
    assert_eq!(told, wanted);
}

#[test]
fn what_has_a_page_of_its_own_is_paged_again_under_that_one() {
    let mut story = beside_what_somebody_has(|spec| spec.rules[0].severity = None);
    let own = owed(&story);
    assert_eq!((own.len(), story.pages()), (1, 2));
    takes(&mut story);
    let mut worse = story.alert("WebIsSlow", "p2", Status::Firing, story.now);
    worse.fingerprint = Fingerprint::new("WebIsSlow-p2-worse");
    worse.labels.insert("severity".into(), "critical".into());
    worse.group_key = WEB.into();
    story.input(Input::Alert(Box::new(worse)));
    assert_eq!((owed(&story), story.pages()), (own, 3), "one page in PagerDuty for one incident");
}

#[test]
fn nightshifts_own_trouble_owes_one_page_however_much_there_is_of_it_while_pagerduty_is_away() {
    let mut story = story();
    for number in 0..300 {
        let digest = format!("{number:04}");
        story.input(Input::Poisoned { digest, cause: "alert".into(), message: "m".into(), text: "".into() });
    }
    assert_eq!(story.state.pages.len(), 1);
    assert_eq!(owed(&story).len(), 1);
}
