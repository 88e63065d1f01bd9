//! Whether people are really reached: a page that waits for its key, who was called and who is next, and what PagerDuty opened
//! by itself.

use super::{
    escalating::{ONE, paged, unasked},
    harness::Story,
    two_sources::{Word, of, said, story, takes, tells, web},
};
use crate::{
    decide::letters::DueLetter,
    http::api::trace,
    model::{
        alert::Status,
        event::Event,
        input::{Command, Input},
        letter::{LetterKey, Note, PageState, Slot, Told},
        peer::PeerEvent,
        time::Span,
    },
};

fn page(story: &Story) -> Option<DueLetter> {
    story.state.letters_due(100).into_iter().find(|letter| letter.key.is_page())
}

fn refuses(story: &mut Story) -> Vec<Event> {
    let letter = page(story).unwrap();
    let result = Told::Waits { reason: "bad_routing_key: no such key".into() };
    story.input(Input::Told { letter: letter.key, up_to: letter.want, result })
}

fn why(story: &Story) -> String {
    let view = story.state.incident_view(&story.policy, ONE, story.now).unwrap();
    trace::incident(&view, &story.policy.zone, false)
}

#[test]
fn a_page_whose_key_is_refused_wakes_people_in_slack_and_waits_for_another_key() {
    let mut story = story();
    web(&mut story, Status::Firing);
    story.observes();
    story.after(Span::minutes(31));
    let events = refuses(&mut story);
    let is_page = |event: &&Event| match event {
        Event::Tell { letter: LetterKey { receiver, .. }, note: Some(Note { page, mentions, text, .. }) } => {
            let says = text.contains("no such key") && text.contains("It is sent once that is set right.");
            *page && says && !mentions.is_empty() && receiver.word() == "slack"
        }
        _ => false,
    };
    assert_eq!(events.iter().filter(is_page).count(), 1, "{events:?}");
    assert!(why(&story).contains("PagerDuty refuses it until that is set right: bad_routing_key"), "{}", why(&story));
    // It is tried again and again: that is said, and written down, once.
    story.after(Span::seconds(30));
    assert_eq!(refuses(&mut story), []);
    story.crashes();
    assert_eq!(refuses(&mut story), []);
    assert_eq!(page(&story).unwrap().page.unwrap().wants, Some(PageState::Triggered));
    takes(&mut story);
    assert_eq!(page(&story), None);
    assert!(why(&story).contains("default, paged at 2026-02-02 03:10:00 UTC: triggered"), "{}", why(&story));
}

#[test]
fn a_page_that_nobody_wants_any_more_wakes_nobody_once_its_key_is_right() {
    let mut story = story();
    web(&mut story, Status::Firing);
    story.observes();
    story.after(Span::minutes(31));
    refuses(&mut story);
    web(&mut story, Status::Resolved);
    assert_eq!(refuses(&mut story), []);
    assert_eq!(page(&story).unwrap().page.unwrap().wants, Some(PageState::Resolved));
}

#[test]
fn whoever_asks_reads_who_was_called_and_who_is_next() {
    let mut story = paged(unasked);
    let at_once = why(&story);
    let page = "called      platform (level 1 of 3), in Slack, #incidents at 2026-02-02 02:42:00 UTC\n";
    assert!(at_once.contains(page), "{at_once}");
    let lead =
        "next        lead (level 2 of 3), in Slack, #incidents at 2026-02-02 02:47:00 UTC, unless somebody has it\n";
    assert!(at_once.contains(lead), "{at_once}");
    story.after(Span::minutes(5));
    let later = why(&story);
    assert!(
        later.contains("called      lead (level 2 of 3), in Slack, #incidents at 2026-02-02 02:47:00 UTC\n"),
        "{later}"
    );
    assert!(
        later.contains("next        cto (level 3 of 3), in Slack, #incidents at 2026-02-02 02:57:00 UTC"),
        "{later}"
    );
    story.command("local:ann", Command::Acknowledge { incident: ONE });
    let taken = why(&story);
    assert!(taken.contains("acknowledged  by local:ann at 2026-02-02 02:47:00 UTC\n"), "{taken}");
    assert!(!taken.contains("next  "), "{taken}");
}

/// One that PagerDuty opened by itself, and notes may be written there.
fn opened_there() -> Story {
    let mut story = story();
    story.reloads(|spec| spec.pagerduty.notes = true);
    tells(&mut story, Word { key: "0a1b", ..of(PeerEvent::Triggered, "P1") });
    story
}

fn taken_there(story: &Story) -> Vec<String> {
    let owed = story.state.letters_due(100).into_iter().filter(|letter| letter.key.receiver.word() == "pagerduty");
    owed.filter_map(|letter| letter.note).filter(|note| note.takes).map(|note| note.text).collect()
}

#[test]
fn what_somebody_takes_here_is_taken_there_also_where_it_came_from_there() {
    let mut story = opened_there();
    assert_eq!(taken_there(&story), Vec::<String>::new(), "nobody has it");
    story.command("ann", Command::Acknowledge { incident: ONE });
    assert_eq!(taken_there(&story), ["ann has it."]);
    story.mails();
    tells(&mut story, Word { key: "0a1b", ..of(PeerEvent::Escalated { to: "Ben".into() }, "P1") });
    story.after(Span::hours(1));
    assert_eq!(taken_there(&story), Vec::<String>::new(), "it is told once");
}

#[test]
fn what_was_taken_there_is_not_told_there() {
    let mut story = opened_there();
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    assert!(said(&story, "pagerduty:Ana has it"));
    assert_eq!(taken_there(&story), Vec::<String>::new());
    // Without a user in whose name it could be, it can't be.
    let mut story = super::two_sources::story();
    tells(&mut story, Word { key: "0a1b", ..of(PeerEvent::Triggered, "P1") });
    story.command("ann", Command::Acknowledge { incident: ONE });
    assert_eq!(taken_there(&story), Vec::<String>::new());
}

#[test]
fn what_pagerduty_has_by_itself_is_noted_while_a_page_waits_for_its_key() {
    let mut story = story();
    story.reloads(|spec| spec.pagerduty.notes = true);
    web(&mut story, Status::Firing);
    story.observes();
    story.after(Span::minutes(31));
    refuses(&mut story);
    let told = Input::Wake;
    let letter = LetterKey { receiver: page(&story).unwrap().key.receiver, incident: ONE, slot: Slot::Post(99) };
    let note = Note::plain(story.now, "Step 1.1: helped.".into());
    let noted = Event::Tell { letter: letter.clone(), note: Some(note) };
    let is_due = |story: &Story| {
        let mut state = story.state.clone();
        state.apply(story.now, &told, &noted).unwrap();
        state.letters_due(100).iter().any(|due| due.key == letter)
    };
    assert!(!is_due(&story), "it has nothing to be written on");
    let key = page(&story).unwrap().page.unwrap().dedup_key.to_string();
    tells(&mut story, Word { key: &key, ..of(PeerEvent::Triggered, "P1") });
    assert!(is_due(&story));
    story.mails();
    story.command("ann", Command::Acknowledge { incident: ONE });
    assert!(!is_due(&story), "a page that is on its way goes first");
}
