//! A page that nobody takes: level after level, until somebody has it, and never for what is over.

use super::harness::{Story, rule};
use crate::{
    decide::{
        policy::{Escalation, Level, Person, PolicySpec},
        work::Work,
    },
    model::{
        event::Event,
        firing::{Firing, FiringAnswer},
        id::{Fingerprint, IncidentId},
        input::{Command, Input, Via},
        letter::{LetterKey, Note, Receiver, Slot, Told},
        mode::Mode,
        person::SlackPerson,
        time::{Micros, Span},
    },
};

pub const ONE: IncidentId = IncidentId(1);

/// The platform team with the page, the lead after 5 minutes, the CTO after 15; for P0 the CTO at once.
pub fn levels(spec: &mut PolicySpec) {
    let people = [("platform", "S0PLATFORM"), ("lead", "U0LEAD001"), ("cto", "U0CTO0001"), ("war-room", "C0WARROOM")];
    let person = |id: &str| Person { slack: Some(id.into()), pagerduty: false };
    spec.people = people.map(|(name, id)| (name.to_owned(), person(id))).into();
    let escalation = |name: &str, severity: &str, levels: &[(i64, &str)]| Escalation {
        name: name.into(),
        severities: vec![severity.into()],
        levels: levels.iter().map(|(after, to)| Level { after: Span::minutes(*after), to: (*to).into() }).collect(),
    };
    spec.escalations = vec![
        escalation("worst", "P0", &[(0, "cto"), (10, "war-room")]),
        escalation("urgent", "P1", &[(0, "platform"), (5, "lead"), (15, "cto")]),
    ];
}

/// Nobody is asked, so that levels are called at their time.
pub fn unasked(spec: &mut PolicySpec) {
    levels(spec);
    spec.asks_alertmanager = false;
}

/// An incident whose step is refused: people are paged at once.
pub fn paged(change: impl FnOnce(&mut PolicySpec)) -> Story {
    let mut story = Story::with(change);
    story.after(Span::minutes(2));
    story.refuses = Some("somebody forbids it".into());
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.pages(), 1);
    story
}

/// Who was called, and how long after `from`.
pub fn called(story: &Story, from: Micros) -> Vec<(u32, String, Span)> {
    let of = |(at, _, _, events): &(Micros, String, Input, Vec<Event>)| {
        let called = events.iter().filter_map(|event| match event {
            Event::Escalated { level, to, .. } => Some((*level, to.clone(), *at - from)),
            _ => None,
        });
        called.collect::<Vec<_>>()
    };
    story.entries.iter().flat_map(of).collect()
}

fn whom(story: &Story) -> Vec<String> {
    called(story, story.now).into_iter().map(|(_, to, _)| to).collect()
}

/// Every note that was owed, with where.
pub fn notes(story: &Story) -> Vec<(&LetterKey, &Note)> {
    let notes = story.events().filter_map(|event| match event {
        Event::Tell { letter, note: Some(note) } => Some((letter, note)),
        _ => None,
    });
    notes.collect()
}

pub fn acknowledge(story: &mut Story, user: Option<&str>) -> Vec<Event> {
    let via = match user {
        None => Via::Api,
        Some(user) => Via::Slack(Box::new(SlackPerson {
            user: user.into(),
            groups: Vec::new(),
            asked_at: story.now,
            once: format!("{user} {}", story.now.0),
        })),
    };
    story.input(Input::Command { by: "ann".into(), via, command: Command::Acknowledge { incident: ONE } })
}

/// What Alertmanager says of every alert that is asked about.
fn answers(story: &mut Story, says: impl Fn(Micros) -> Firing) -> Vec<Event> {
    let asked: Vec<Fingerprint> = story
        .state
        .work()
        .into_iter()
        .filter_map(|work| if let Work::Confirm { alert } = work { Some(alert.fingerprint) } else { None })
        .collect();
    let mut events = Vec::new();
    for fingerprint in asked {
        let answer = story.answer(&says);
        events.extend(story.input(Input::Confirmed { fingerprint, delivered: None, answer }));
    }
    events
}

fn silenced(_: Micros) -> Firing {
    Firing::Suppressed { by: vec!["a silence".into()] }
}

#[test]
fn each_level_has_its_time_counted_from_the_page_and_the_last_one_ends_it() {
    let mut story = paged(unasked);
    let page = story.now;
    story.after(Span::hours(3));
    let wanted = [(1, "lead".to_owned(), Span::minutes(5)), (2, "cto".to_owned(), Span::minutes(15))];
    assert_eq!(called(&story, page), wanted);
    let thread = Receiver::Slack { channel: "#incidents".into() };
    let shown: Vec<(&LetterKey, &Note)> =
        notes(&story).into_iter().filter(|(_, note)| note.text.starts_with("Nobody has ack")).collect();
    assert!(shown.iter().all(|(key, note)| key.receiver == thread && key.incident == ONE && note.page));
    assert_eq!(shown[0].1.mentions, ["U0LEAD001"]);
    assert_eq!(shown[0].1.text, "Nobody has acknowledged it for 5m: lead is called (level 2 of 3).");
    assert_eq!(
        shown[1].1.text,
        "Nobody has acknowledged it for 15m: cto is called (level 3 of 3). It is the last level."
    );
    assert!(!story.state.due.contains_key(&crate::decide::state::Timer::Escalate(ONE)));
}

#[test]
fn nothing_escalates_before_the_page_nor_of_a_severity_without_levels() {
    let mut story = Story::with(|spec| {
        unasked(spec);
        spec.asks_alertmanager = true;
    });
    story.after(Span::minutes(2));
    story.acts_on("WebIsSlow");
    story.after(Span::seconds(90));
    assert_eq!(story.pages(), 0);
    assert!(story.state.incidents[&ONE].paged_at.is_none());
    let mut story = paged(|spec| {
        unasked(spec);
        spec.rules[0].severity = Some("P2".into());
    });
    story.after(Span::hours(2));
    assert!(whom(&story).is_empty());
}

#[test]
fn an_acknowledge_ends_it_and_whoever_has_it_is_reminded_until_it_is_resolved() {
    let mut story = paged(|spec| {
        unasked(spec);
        spec.severities[1].update_every = Some(Span::minutes(20));
    });
    story.after(Span::minutes(6));
    acknowledge(&mut story, Some("U0ANA0001"));
    let taken = story.now;
    story.after(Span::minutes(45));
    assert_eq!(whom(&story), ["lead"], "nobody else is called");
    let reminders = |story: &Story| -> Vec<Note> {
        let updates = notes(story).into_iter().filter(|(key, _)| key.slot == Slot::Update);
        updates.map(|(_, note)| note.clone()).collect()
    };
    let told = reminders(&story);
    assert_eq!(told.iter().map(|note| note.at - taken).collect::<Vec<_>>(), [Span::minutes(20), Span::minutes(40)]);
    assert!(told.iter().all(|note| note.mentions == ["U0ANA0001"]));
    assert!(told[0].text.starts_with("ann has it, and it is not over. P1 since "), "{}", told[0].text);
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::hours(5));
    assert_eq!(reminders(&story).len(), 2, "nothing fires, then it is over");
}

#[test]
fn without_update_every_whoever_has_it_is_reminded_every_hour() {
    let mut story = paged(unasked);
    acknowledge(&mut story, None);
    let taken = story.now;
    story.after(Span::minutes(150));
    let updates = notes(&story).into_iter().filter(|(key, _)| key.slot == Slot::Update);
    let told: Vec<(Span, usize)> = updates.map(|(_, note)| (note.at - taken, note.mentions.len())).collect();
    assert_eq!(told, [(Span::hours(1), 0), (Span::hours(2), 0)]);
}

#[test]
fn reminders_that_slack_did_not_take_are_one() {
    let mut story = paged(unasked);
    acknowledge(&mut story, None);
    story.mails();
    story.after(Span::hours(6));
    let owed = story.state.letters_due(100);
    let updates: Vec<_> = owed.iter().filter(|letter| letter.key.slot == Slot::Update).collect();
    assert_eq!((owed.len(), updates.len()), (1, 1));
    assert_eq!(updates[0].note.as_ref().unwrap().at, story.now, "it is the newest");
}

#[test]
fn a_reminder_that_slack_did_not_take_before_it_was_over_is_left_unsaid() {
    let mut story = paged(unasked);
    acknowledge(&mut story, Some("U0ANA0001"));
    story.mails();
    story.after(Span::hours(1));
    let reminder = |story: &Story| story.state.letters_due(100).into_iter().find(|it| it.key.slot == Slot::Update);
    let in_flight = reminder(&story).unwrap();
    story.resolves("WebIsSlow");
    story.after(Span::minutes(10));
    assert_eq!(story.incident_state(1), "resolved");
    assert!(story.state.owed.iter().all(|key| key.slot != Slot::Update), "{:?}", story.state.owed);
    story.mails();
    // Its answer may come now.
    let result = Told::Sent { external: None };
    story.input(Input::Told { letter: in_flight.key, up_to: in_flight.want, result });
    assert_eq!(story.state.letters_due(100), []);
}

#[test]
fn it_rests_while_nothing_fires_and_goes_on_where_it_was() {
    let mut story = paged(unasked);
    let page = story.now;
    story.after(Span::minutes(3)).resolves("WebIsSlow");
    story.after(Span::minutes(8));
    assert!(whom(&story).is_empty());
    story.fires("WebIsSlow");
    story.after(Span::minutes(30));
    let wanted = [(1, "lead".to_owned(), Span::minutes(13)), (2, "cto".to_owned(), Span::minutes(23))];
    assert_eq!(called(&story, page), wanted, "the 8 minutes do not count");
}

#[test]
fn nobody_is_called_for_what_is_resolved_by_its_quiet_time_or_by_a_person() {
    let mut story = paged(unasked);
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::hours(2));
    assert_eq!((story.incident_state(1), whom(&story).len()), ("resolved", 0));
    let mut story = paged(unasked);
    story.command("ann", Command::Resolve { incident: ONE });
    story.after(Span::hours(2));
    assert!(whom(&story).is_empty());
}

#[test]
fn what_a_person_closed_calls_and_reminds_nobody_when_it_is_heard_of_again() {
    for somebody_has_it in [false, true] {
        let mut story = paged(unasked);
        if somebody_has_it {
            acknowledge(&mut story, None);
        }
        let print = Fingerprint::new("WebIsSlow-p1");
        let began = story.state.alerts[&print].starts_at;
        story.after(Span::minutes(1)).command("ann", Command::Resolve { incident: ONE });
        story.after(Span::minutes(31));
        let answer = FiringAnswer::Unreachable { problem: "down".into() };
        story.input(Input::Confirmed { fingerprint: print.clone(), delivered: None, answer });
        assert_eq!(story.state.alerts[&print].held, crate::decide::state::Held::Lost);
        story.fires_since("WebIsSlow", began);
        assert_eq!(story.state.alerts[&print].incident, Some(ONE), "it is still the closed one");
        story.after(Span::hours(3));
        assert!(whom(&story).is_empty());
        assert!(story.events().all(|event| !matches!(event, Event::UpdateDue { .. })));
    }
}

#[test]
fn no_freeze_pause_or_mode_stops_it() {
    let mut story = paged(unasked);
    story.command("ann", Command::Pause { reason: "storm".into() });
    let window = crate::model::freeze::Window::Dates { from: story.now, to: story.now + Span::hours(9) };
    story.reloads(|spec| {
        spec.mode = Mode::Shadow;
        spec.freezes = vec![crate::model::freeze::Freeze { name: "f".into(), window, except: Vec::new() }];
    });
    story.after(Span::minutes(20));
    assert_eq!(whom(&story), ["lead", "cto"]);
}

#[test]
fn lost_contact_ends_it_until_it_is_heard_of_again() {
    let mut story = paged(|spec| {
        unasked(spec);
        spec.escalations[1].levels[1].after = Span::minutes(40);
        spec.escalations[1].levels[2].after = Span::hours(9);
    });
    let page = story.now;
    story.after(Span::minutes(30));
    // Nobody delivers it any more, and no peer answers.
    let answer = FiringAnswer::Unreachable { problem: "down".into() };
    story.input(Input::Confirmed { fingerprint: Fingerprint::new("WebIsSlow-p1"), delivered: None, answer });
    assert!(story.state.incidents[&ONE].lost_contact, "{:?}", story.posts());
    story.after(Span::hours(5));
    assert!(whom(&story).is_empty());
    let began = story.state.alerts[&Fingerprint::new("WebIsSlow-p1")].starts_at;
    story.fires_since("WebIsSlow", began);
    story.after(Span::minutes(15));
    assert_eq!(called(&story, page), [(1, "lead".to_owned(), Span::minutes(340))]);
}

#[test]
fn while_all_of_it_is_silenced_nobody_is_called_and_after_the_silence_they_are() {
    let mut story = paged(levels);
    let page = story.now;
    story.after(Span::minutes(5));
    answers(&mut story, silenced);
    story.after(Span::minutes(40));
    assert!(whom(&story).is_empty());
    assert!(story.posts().iter().any(|text| text.starts_with("What fires of it is silenced")), "{:?}", story.posts());
    // The silence is over: Alertmanager delivers it once more.
    let began = story.state.alerts[&Fingerprint::new("WebIsSlow-p1")].starts_at;
    story.fires_since("WebIsSlow", began);
    story.after(Span::ZERO);
    answers(&mut story, |starts_at| Firing::Active { starts_at });
    assert_eq!(called(&story, page), [(1, "lead".to_owned(), Span::minutes(45))]);
}

#[test]
fn one_alert_that_is_not_silenced_is_enough_to_go_on() {
    let mut story = paged(levels);
    let page = story.now;
    let other = story.alert("WebIsSlow", "p2", crate::model::alert::Status::Firing, story.now);
    story.input(Input::Alert(Box::new(other)));
    story.after(Span::minutes(5));
    let answer = story.answer(silenced);
    let fingerprint = Fingerprint::new("WebIsSlow-p1");
    story.input(Input::Confirmed { fingerprint, delivered: None, answer });
    assert!(whom(&story).is_empty(), "of the other one nobody knows yet");
    answers(&mut story, |starts_at| Firing::Active { starts_at });
    assert_eq!(called(&story, page), [(1, "lead".to_owned(), Span::minutes(5))]);
}

#[test]
fn an_alertmanager_that_does_not_answer_delays_nobody_for_longer_than_half_a_minute() {
    let mut story = paged(levels);
    let page = story.now;
    story.after(Span::minutes(7));
    assert_eq!(called(&story, page), [(1, "lead".to_owned(), Span::seconds(330))]);
}

#[test]
fn asking_before_a_level_calls_no_young_alert_lost() {
    let mut story = paged(levels);
    story.after(Span::minutes(5));
    answers(&mut story, |_| Firing::Absent);
    let alert = &story.state.alerts[&Fingerprint::new("WebIsSlow-p1")];
    assert_eq!(alert.held, crate::decide::state::Held::Firing);
    assert_eq!(whom(&story), ["lead"], "absent is not resolved");
}

#[test]
fn after_hours_of_downtime_one_level_is_called_and_only_once_it_is_known_to_fire() {
    let mut story = paged(levels);
    story.now = story.now + Span::hours(4);
    story.starts();
    let back = story.now;
    story.after(Span::minutes(5));
    assert!(whom(&story).is_empty(), "nobody knows whether it is still so");
    answers(&mut story, |starts_at| Firing::Active { starts_at });
    story.after(Span::hours(2));
    let wanted = [(2, "cto".to_owned(), Span::minutes(5))];
    assert_eq!(called(&story, back), wanted, "one catch-up, and not the levels between");
    assert!(story.posts().iter().any(|text| text.contains("nightshift was not running when that was due")));
}

#[test]
fn what_was_over_when_it_came_back_calls_nobody() {
    let mut story = paged(levels);
    story.now = story.now + Span::hours(4);
    story.starts();
    story.resolves("WebIsSlow");
    story.after(Span::hours(1));
    assert!(whom(&story).is_empty());
}

#[test]
fn a_level_that_comes_late_by_minutes_leaves_the_next_one_its_time() {
    let mut story = paged(unasked);
    let page = story.now;
    story.now = story.now + Span::minutes(14);
    story.crashes().after(Span::minutes(30));
    let wanted = [(1, "lead".to_owned(), Span::minutes(14)), (2, "cto".to_owned(), Span::minutes(24))];
    assert_eq!(called(&story, page), wanted);
}

#[test]
fn a_clock_that_went_forward_shortens_no_level() {
    let mut story = paged(unasked);
    let page = story.now;
    story.now = story.now + Span::hours(2);
    story.input(Input::ClockStepped { by: Span::hours(2) });
    story.after(Span::minutes(6));
    assert_eq!(called(&story, page), [(1, "lead".to_owned(), Span::minutes(125))]);
}

#[test]
fn a_severity_that_rises_begins_that_severitys_levels() {
    let mut story = paged(|spec| {
        unasked(spec);
        spec.rules[0].severity = None;
        spec.severities[0].mentions = vec!["U0CTO0001".into()];
        spec.rules[0].matchers = rule("x", "WebIsSlow", &[]).matchers;
        for severity in &mut spec.severities {
            severity.aliases.clear();
        }
        spec.severities.retain(|severity| matches!(severity.name.as_str(), "P0" | "P1"));
    });
    story.after(Span::minutes(7));
    assert_eq!(whom(&story), ["lead"]);
    let mut worse = story.alert("WebIsSlow", "p2", crate::model::alert::Status::Firing, story.now);
    worse.labels.insert("severity".into(), "P0".into());
    story.input(Input::Alert(Box::new(worse)));
    let raised = story.now;
    assert_eq!(story.pages(), 2, "its people are woken");
    let (_, note) = notes(&story).into_iter().rfind(|(_, note)| note.page).unwrap();
    assert_eq!(note.mentions, ["U0CTO0001"]);
    story.after(Span::minutes(30));
    assert_eq!(called(&story, raised).pop(), Some((1, "war-room".to_owned(), Span::minutes(10))));
    assert!(!whom(&story).contains(&"cto".to_owned()), "the other severity's levels are over");
}

#[test]
fn who_is_a_channel_gets_a_post_there_beside_the_one_in_the_thread() {
    let mut story = paged(|spec| {
        unasked(spec);
        spec.rules[0].severity = Some("P0".into());
    });
    story.after(Span::minutes(11));
    let text = "Nobody has acknowledged it for 10m: war-room is called (level 2 of 2). It is the last level.";
    let told: Vec<&LetterKey> =
        notes(&story).into_iter().filter(|(_, note)| note.text == text).map(|(key, _)| key).collect();
    let channels: Vec<String> = told.iter().map(|key| key.receiver.to_string()).collect();
    assert_eq!(channels, ["slack:#incidents", "slack:C0WARROOM"]);
}

#[test]
fn a_reload_that_takes_the_levels_away_ends_it() {
    let mut story = paged(unasked);
    story.reloads(|spec| spec.escalations.clear());
    story.after(Span::hours(2));
    assert!(whom(&story).is_empty());
    assert_eq!(story.events().filter(|event| matches!(event, Event::EscalationEnded { .. })).count(), 1);
}

#[test]
fn a_storms_page_that_nobody_takes_escalates_though_no_alert_is_its_own() {
    let mut story = super::braking::fleet(unasked);
    for number in 1..=3 {
        super::braking::fires(&mut story, number);
    }
    let page = story.now;
    assert_eq!(story.pages(), 1);
    story.after(Span::minutes(6));
    assert_eq!(called(&story, page), [(1, "lead".to_owned(), Span::minutes(5))]);
}
