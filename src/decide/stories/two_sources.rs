use super::harness::{Story, rule};
use crate::model::{
    alert::{Alert, Source, Status},
    event::{Event, LadderEnd},
    firing::{Firing, FiringAnswer},
    id::{Fingerprint, IncidentId},
    input::{Command, Input},
    letter::{External, PageState, Paged, Receiver, Told},
    matcher::Matcher,
    mode::Mode,
    page::{DedupKey, dedup_key},
    peer::{PeerEvent, PeerIncident, PeerNews},
    time::{Micros, Span},
};

pub(super) const WEB: &str = "{}:{alertname=\"WebIsSlow\", pod=\"p1\"}";

/// PagerDuty pages, and a rule takes its own alerts.
pub(super) fn story() -> Story {
    Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.rules[0].mode = Mode::Ask;
        let mut theirs = rule("pagerduty", "unused", &["api"]);
        theirs.matchers = vec![Matcher::parse("source=\"pagerduty\"").unwrap()];
        theirs.group_by = vec!["title".into()];
        theirs.severity = None;
        let mut urgent = theirs.clone();
        urgent.name = "pagerduty-p1".into();
        urgent.matchers.push(Matcher::parse("priority=\"P1\"").unwrap());
        urgent.severity = Some("P0".into());
        spec.rules.extend([urgent, theirs]);
    })
}

/// What PagerDuty tells of one of its incidents.
pub(super) struct Word<'a> {
    pub(super) event: PeerEvent,
    pub(super) peer: &'a str,
    pub(super) key: &'a str,
    pub(super) by: Option<&'a str>,
    pub(super) ago: Span,
    pub(super) priority: &'a str,
}

pub(super) fn of(event: PeerEvent, peer: &str) -> Word<'_> {
    Word { event, peer, key: "", by: None, ago: Span::ZERO, priority: "P3" }
}

pub(super) fn news(story: &Story, told: &Word<'_>) -> PeerNews {
    let occurred_at = story.now - told.ago;
    let resolved = told.event == PeerEvent::Resolved;
    let labels = [("source", "pagerduty"), ("title", told.peer), ("priority", told.priority)];
    let alert = Alert {
        source: Source::PagerDuty,
        sender: "test".into(),
        fingerprint: Fingerprint::new(told.peer),
        status: if resolved { Status::Resolved } else { Status::Firing },
        starts_at: if told.event == PeerEvent::Reopened {
            occurred_at
        } else {
            Micros(1_770_000_000_000_000) - Span::seconds(1)
        },
        ends_at: resolved.then_some(occurred_at),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        annotations: [("summary".to_owned(), told.peer.to_owned())].into(),
        url: String::new(),
        group_key: String::new(),
        received_at: occurred_at,
    };
    let is_note = matches!(told.event, PeerEvent::Annotated { .. });
    PeerNews {
        ids: vec![format!("event {} {} {}", told.peer, told.event.word(), occurred_at.0)],
        event: told.event.clone(),
        occurred_at,
        received_at: story.now,
        by: told.by.map(str::to_owned),
        incident: PeerIncident {
            id: told.peer.to_owned(),
            number: Some(12),
            url: "https://acme.pagerduty.com/incidents/P1".into(),
            keys: if told.key.is_empty() { vec![] } else { vec![told.key.to_owned()] },
            acknowledged: false,
        },
        alert: (!is_note).then(|| Box::new(alert)),
        asked: None,
    }
}

pub(super) fn tells(story: &mut Story, told: Word<'_>) -> Vec<Event> {
    let news = news(story, &told);
    story.input(Input::Peer(Box::new(news)))
}

pub(super) fn key() -> String {
    dedup_key(WEB).to_string()
}

pub(super) fn web(story: &mut Story, status: Status) -> Vec<Event> {
    let print = Fingerprint::new("WebIsSlow-p1");
    let starts_at = story.state.alerts.get(&print).map_or(story.now, |held| held.starts_at);
    let starts_at = if status == Status::Firing { story.now } else { starts_at };
    let mut alert = story.alert("WebIsSlow", "p1", status, starts_at);
    alert.group_key = WEB.into();
    story.input(Input::Alert(Box::new(alert)))
}

/// An incident that has woken people through PagerDuty, which has taken the page.
pub(super) fn paged() -> Story {
    let mut story = story();
    web(&mut story, Status::Firing);
    story.observes();
    story.after(Span::minutes(31));
    takes(&mut story);
    story
}

pub(super) fn owed(story: &Story) -> Vec<(DedupKey, PageState, bool)> {
    let due = story.state.letters_due(100).into_iter();
    due.filter_map(|letter| letter.page).filter_map(|page| Some((page.dedup_key, page.wants?, page.ours))).collect()
}

pub(super) fn takes(story: &mut Story) {
    let due: Vec<_> = story.state.letters_due(100).into_iter().filter(|letter| letter.key.is_page()).collect();
    for letter in due {
        let page = letter.page.unwrap();
        let external =
            page.wants.map(|wants| External::Paged(Paged { dedup_key: page.dedup_key.to_string(), page: wants }));
        story.input(Input::Told { letter: letter.key, up_to: letter.want, result: Told::Sent { external } });
    }
}

pub(super) fn incidents(story: &Story) -> usize {
    story.state.incidents.len()
}

pub(super) fn acknowledged_by(story: &Story, id: u64) -> Option<&str> {
    story.state.incidents[&IncidentId(id)].acknowledged_by.as_deref()
}

pub(super) fn said(story: &Story, words: &str) -> bool {
    story.posts().iter().any(|post| post.contains(words))
}

#[test]
fn our_own_page_coming_back_is_the_same_incident() {
    let mut story = paged();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    assert_eq!(incidents(&story), 1);
    assert!(said(&story, "PagerDuty has it as incident #12."));
    let view = story.state.incident_view(&story.policy, IncidentId(1), story.now).unwrap();
    assert_eq!(view.pagerduty.len(), 1);
    // What follows need not tell its key again.
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    assert_eq!((incidents(&story), acknowledged_by(&story, 1)), (1, Some("pagerduty:Ana")));
}

#[test]
fn what_alertmanager_paged_itself_is_joined_by_the_group_that_fires() {
    let mut story = story();
    web(&mut story, Status::Firing);
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    assert_eq!(incidents(&story), 1);
    assert_eq!(owed(&story), [], "nobody was paged by us");
}

#[test]
fn what_nobody_here_knows_is_an_alert_of_its_own_that_rules_match() {
    let mut story = story();
    tells(&mut story, Word { key: "0a1b", ..of(PeerEvent::Triggered, "P1") });
    let incident = &story.state.incidents[&IncidentId(1)];
    assert_eq!((incident.rule.as_str(), incident.title.as_str()), ("pagerduty", "P1"));
}

/// The driver has asked for keys, or waited.
pub(super) fn waits(story: &mut Story, most: Span) {
    let end = story.now + most;
    for _ in 0..20 {
        let due = story.state.work().into_iter().find_map(|work| match work {
            crate::decide::work::Work::AskPeer { news, from } => Some((news, from.unwrap_or(story.now))),
            _ => None,
        });
        let Some((mut news, from)) = due.filter(|(_, from)| *from <= end) else { break };
        story.after((from - story.now).max(Span::ZERO));
        news.asked.get_or_insert(Ok(()));
        story.input(Input::Peer(news));
    }
    story.after((end - story.now).max(Span::ZERO));
}

#[test]
fn alertmanagers_page_that_comes_before_its_alert_waits_for_it() {
    let mut story = story();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    waits(&mut story, Span::seconds(5));
    assert_eq!(incidents(&story), 0);
    web(&mut story, Status::Firing);
    waits(&mut story, Span::ZERO);
    assert_eq!(incidents(&story), 1);
    assert!(said(&story, "PagerDuty has it as incident #12."));
}

#[test]
fn a_page_whose_alert_never_comes_is_an_alert_of_its_own() {
    let mut story = story();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    waits(&mut story, Span::seconds(9));
    story.crashes();
    assert_eq!(incidents(&story), 0);
    waits(&mut story, Span::seconds(2));
    assert_eq!((incidents(&story), acknowledged_by(&story, 1)), (1, Some("pagerduty:Ana")));
}

#[test]
fn its_own_alert_is_not_paged_to_pagerduty_once_more() {
    let mut story = story();
    tells(&mut story, of(PeerEvent::Triggered, "P1"));
    story.alertmanager = Some(FiringAnswer::NotAsked);
    story.observes();
    assert_eq!((story.pages(), owed(&story)), (1, vec![]));
}

#[test]
fn without_a_word_whether_it_still_fires_nothing_acts_on_it() {
    let mut story = story();
    tells(&mut story, of(PeerEvent::Triggered, "P1"));
    story.alertmanager = Some(FiringAnswer::NotAsked);
    story.observes();
    assert_eq!(story.starts_count(), 0);
    let mut story = self::story();
    tells(&mut story, of(PeerEvent::Triggered, "P1"));
    story.observes();
    assert_eq!(story.starts_count(), 1, "PagerDuty lists it as open");
}

#[test]
fn an_acknowledge_there_counts_as_ours_and_is_not_told_back() {
    let mut story = paged();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    assert_eq!(acknowledged_by(&story, 1), Some("pagerduty:Ana"));
    let letter = story.state.letters_due(9).into_iter().find(|letter| letter.key.is_page());
    let told = letter.and_then(|letter| letter.external);
    assert!(matches!(told, Some(External::Paged(Paged { page: PageState::Acknowledged, .. }))), "{told:?}");
}

#[test]
fn our_own_acknowledge_coming_back_is_not_a_second_one() {
    let mut story = paged();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    takes(&mut story);
    let posts = story.posts().len();
    // By a service: it was an event of ours. By a user: they were the one whom the API token belongs to.
    for by in [None, Some("Nightshift Bot")] {
        tells(
            &mut story,
            Word { by, ago: Span::seconds(i64::from(by.is_some())), ..of(PeerEvent::Acknowledged, "P1") },
        );
    }
    assert_eq!((acknowledged_by(&story, 1), story.posts().len()), (Some("ann"), posts));
    assert_eq!(owed(&story), []);
}

#[test]
fn what_somebody_takes_here_is_acknowledged_there_also_where_alertmanager_opened_it() {
    let mut story = story();
    web(&mut story, Status::Firing);
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Acknowledged, false)]);
    takes(&mut story);
    story.after(Span::minutes(1));
    web(&mut story, Status::Resolved);
    assert_eq!(story.incident_state(1), "monitoring");
    assert_eq!(owed(&story), [], "we did not open it, and do not close it");
}

#[test]
fn what_alertmanager_opened_and_somebody_takes_there_is_not_told_back() {
    let mut story = story();
    web(&mut story, Status::Firing);
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    assert_eq!((acknowledged_by(&story, 1), owed(&story)), (Some("pagerduty:Ana"), vec![]));
}

#[test]
fn a_page_that_joins_what_somebody_has_is_acknowledged() {
    let mut story = story();
    web(&mut story, Status::Firing);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Acknowledged, false)]);
}

#[test]
fn a_resolve_there_by_a_person_while_it_fires_is_a_persons_resolve() {
    let mut story = paged();
    let began = story.state.alerts[&Fingerprint::new("WebIsSlow-p1")].starts_at;
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Resolved, "P1") });
    assert_eq!(story.incident_state(1), "resolved");
    assert!(said(&story, "pagerduty:Ana resolved it."));
    let mut again = story.alert("WebIsSlow", "p1", Status::Firing, began);
    again.group_key = WEB.into();
    story.input(Input::Alert(Box::new(again)));
    assert_eq!(incidents(&story), 1, "closed until it has resolved and fires anew");
}

#[test]
fn a_resolve_there_by_a_service_says_nothing_new() {
    let mut story = paged();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, of(PeerEvent::Resolved, "P1"));
    assert_eq!(story.incident_state(1), "open");
}

#[test]
fn a_resolve_of_one_page_leaves_what_fires_in_other_groups() {
    let mut story = paged();
    let mut other = story.alert("WebIsSlow", "p2", Status::Firing, story.now);
    other.group_key = WEB.replace("p1", "p2");
    story.input(Input::Alert(Box::new(other)));
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Resolved, "P1") });
    assert_eq!(story.incident_state(1), "open");
    assert!(said(&story, "pagerduty:Ana resolved #12 in PagerDuty; another alert goes on."));
}

#[test]
fn a_resolve_of_the_parents_page_leaves_its_children() {
    let mut story = story();
    story.reloads(|spec| spec.rules[0].service = Some("shop".into()));
    story.reloads(|spec| spec.rules[2].service = Some("shop".into()));
    web(&mut story, Status::Firing);
    story.fires("ApiIsSlow");
    assert_eq!(story.state.incidents[&IncidentId(2)].parent, Some(IncidentId(1)));
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    story.after(Span::minutes(1));
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Resolved, "P1") });
    assert_eq!((story.incident_state(1), story.incident_state(2)), ("open", "open"));
    assert!(said(&story, "pagerduty:Ana resolved #12 in PagerDuty; other incidents of this service go on."));
}

#[test]
fn its_own_alert_resolves_with_it_and_fires_anew_when_it_is_reopened() {
    let mut story = story();
    tells(&mut story, of(PeerEvent::Triggered, "P1"));
    story.after(Span::minutes(1));
    tells(&mut story, of(PeerEvent::Resolved, "P1"));
    assert_eq!(story.incident_state(1), "monitoring", "by a service: it may come again");
    story.after(Span::minutes(1));
    tells(&mut story, of(PeerEvent::Reopened, "P1"));
    assert_eq!((story.incident_state(1), incidents(&story)), ("open", 1));
    story.after(Span::minutes(1));
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Resolved, "P1") });
    assert_eq!(story.incident_state(1), "resolved");
}

#[test]
fn heard_twice_is_decided_once_and_forgotten_after_two_days() {
    let mut story = story();
    let mut first = news(&story, &of(PeerEvent::Triggered, "P1"));
    first.ids.push("webhook w1".into());
    assert!(!story.input(Input::Peer(Box::new(first.clone()))).is_empty());
    for ids in [vec!["webhook w1".to_owned()], vec![first.ids[0].clone(), "webhook w2".to_owned()]] {
        assert!(story.input(Input::Peer(Box::new(PeerNews { ids, ..first.clone() }))).is_empty());
    }
    story.after(Span::hours(48));
    tells(&mut story, of(PeerEvent::Triggered, "P2"));
    assert!(story.input(Input::Peer(Box::new(first.clone()))).is_empty(), "PagerDuty tries for two days");
    story.crashes();
    assert!(story.input(Input::Peer(Box::new(first.clone()))).is_empty(), "also after a crash");
    story.after(Span::hours(2));
    tells(&mut story, of(PeerEvent::Triggered, "P3"));
    assert!(!story.state.peers.has_heard(&first));
}

#[test]
fn old_news_only_inform() {
    let mut story = paged();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    let late = Span::minutes(11);
    tells(&mut story, Word { by: Some("Ana"), ago: late, ..of(PeerEvent::Acknowledged, "P1") });
    tells(&mut story, Word { by: Some("Ana"), ago: late, ..of(PeerEvent::Resolved, "P1") });
    assert_eq!((acknowledged_by(&story, 1), story.incident_state(1)), (None, "open"));
    assert!(said(&story, "pagerduty:Ana acknowledged it, 11m ago: this came too late to count."));
    assert!(said(&story, "pagerduty:Ana resolved it, 11m ago: this came too late to count."));
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    let letter = story.state.letters_due(9).into_iter().find(|letter| letter.key.is_page()).unwrap();
    let told = letter.external.as_ref().and_then(External::paged).map(|paged| paged.page);
    assert_eq!(told, Some(PageState::Triggered), "PagerDuty may have it otherwise by now: it is told who has it");
}

#[test]
fn an_old_alert_is_acted_on_only_where_pagerduty_confirms_it() {
    for (answer, starts) in [(Firing::Absent, 0), (Firing::Active { starts_at: Micros(0) }, 1)] {
        let mut story = story();
        story.after(Span::hours(7));
        tells(&mut story, Word { ago: Span::hours(6), ..of(PeerEvent::Triggered, "P1") });
        assert_eq!(incidents(&story), 1, "people are told");
        story.alertmanager = Some(story.answer(|_| answer.clone()));
        story.observes();
        assert_eq!(story.starts_count(), starts, "{answer:?}");
    }
}

#[test]
fn what_people_do_in_pagerduty_is_told_in_the_thread() {
    let mut story = paged();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    for (event, words) in [
        (PeerEvent::Reassigned { to: "Ben".into() }, "pagerduty:Ana reassigned #12 to Ben."),
        (PeerEvent::Escalated { to: "Eve".into() }, "pagerduty:Ana escalated #12 to Eve."),
        (PeerEvent::Delegated { to: "Database".into() }, "pagerduty:Ana delegated #12 to Database."),
        (PeerEvent::Annotated { text: "looking".into() }, "pagerduty:Ana noted on #12: looking"),
        (PeerEvent::PriorityUpdated { to: "P1".into() }, "pagerduty:Ana set the priority of #12 to P1."),
        (PeerEvent::PriorityUpdated { to: String::new() }, "pagerduty:Ana took the priority off #12."),
        (PeerEvent::Reopened, "pagerduty:Ana reopened #12."),
        (PeerEvent::Unacknowledged, "In PagerDuty nobody has #12 any more."),
    ] {
        story.after(Span::seconds(1));
        tells(&mut story, Word { by: Some("Ana"), ..of(event, "P1") });
        assert!(said(&story, words), "{words}: {:#?}", story.posts());
    }
    let posts = story.posts().len();
    tells(&mut story, of(PeerEvent::Annotated { text: "[nightshift 1/3] Step 1.1: helped.".into() }, "P1"));
    assert_eq!(story.posts().len(), posts, "our own note coming back");
    assert_eq!(incidents(&story), 1);
}

#[test]
fn an_acknowledge_that_ran_out_there_is_no_longer_good_here_where_it_came_from_there() {
    let mut story = paged();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    story.after(Span::minutes(30));
    tells(&mut story, of(PeerEvent::Unacknowledged, "P1"));
    assert_eq!(acknowledged_by(&story, 1), None);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    story.after(Span::minutes(30));
    tells(&mut story, of(PeerEvent::Unacknowledged, "P1"));
    assert_eq!(acknowledged_by(&story, 1), Some("ann"));
}

#[test]
fn a_higher_priority_makes_its_own_alert_more_severe() {
    let mut story = story();
    tells(&mut story, of(PeerEvent::Triggered, "P9"));
    assert_eq!(story.state.incidents[&IncidentId(1)].severity, "P3");
    let raised = Word { by: Some("Ana"), priority: "P1", ..of(PeerEvent::PriorityUpdated { to: "P1".into() }, "P9") };
    tells(&mut story, raised);
    assert_eq!(story.state.incidents[&IncidentId(1)].severity, "P0");
}

#[test]
fn what_was_missed_is_caught_up_with() {
    let mut story = story();
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    assert_eq!((incidents(&story), acknowledged_by(&story, 1)), (1, Some("pagerduty:Ana")));
    tells(&mut story, of(PeerEvent::Resolved, "P2"));
    assert_eq!(incidents(&story), 1, "the end of what was never heard of");
}

/// PagerDuty can be asked for keys.
fn asking() -> Story {
    let mut story = paged();
    story.reloads(|spec| spec.pagerduty.asks = true);
    story
}

fn answered(story: &mut Story, keys: Result<Vec<String>, String>) -> Vec<Event> {
    let asked = story.state.work().into_iter().find_map(|work| match work {
        crate::decide::work::Work::AskPeer { news, .. } => Some(news),
        _ => None,
    });
    let mut news = asked.expect("something is asked");
    news.asked = Some(keys.as_ref().map(|_| ()).map_err(Clone::clone));
    news.incident.keys = keys.unwrap_or_default();
    story.input(Input::Peer(news))
}

#[test]
fn a_key_that_the_webhook_lacks_is_asked_for_and_what_comes_meanwhile_waits() {
    let mut story = asking();
    tells(&mut story, of(PeerEvent::Triggered, "P1"));
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    assert_eq!((incidents(&story), acknowledged_by(&story, 1)), (1, None));
    story.crashes();
    answered(&mut story, Ok(vec![key()]));
    assert!(said(&story, "PagerDuty has it as incident #12."));
    answered(&mut story, Ok(vec![key()]));
    assert_eq!((incidents(&story), acknowledged_by(&story, 1)), (1, Some("pagerduty:Ana")));
    assert!(story.state.work().iter().all(|work| !matches!(work, crate::decide::work::Work::AskPeer { .. })));
    // Known now: nothing is asked any more.
    story.after(Span::minutes(1));
    tells(&mut story, of(PeerEvent::Unacknowledged, "P1"));
    assert_eq!(acknowledged_by(&story, 1), None);
}

#[test]
fn where_pagerduty_cannot_say_it_is_an_alert_of_its_own() {
    let mut story = asking();
    tells(&mut story, of(PeerEvent::Triggered, "P1"));
    assert_eq!(incidents(&story), 1);
    answered(&mut story, Err("it does not answer".into()));
    assert_eq!(incidents(&story), 2);
    assert!(story.state.knows(
        &story.policy,
        &Input::Peer(Box::new(PeerNews { asked: Some(Ok(())), ..news(&story, &of(PeerEvent::Triggered, "P1")) }))
    ));
}

fn notes_there(story: &Story) -> Vec<String> {
    let notes = story.events().filter_map(|event| match event {
        Event::Tell { letter, note: Some(note) } if matches!(letter.receiver, Receiver::PagerDuty { .. }) => {
            Some(note.text.clone())
        }
        _ => None,
    });
    notes.collect()
}

#[test]
fn what_a_page_says_itself_is_not_noted_beside_it() {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.pagerduty.notes = true;
    });
    web(&mut story, Status::Firing);
    story.observes();
    story.performs();
    let reading = story.after(Span::minutes(5)).reading();
    story.measures(reading);
    assert_eq!((story.pages(), notes_there(&story)), (1, vec![]));
}

#[test]
fn what_was_done_is_noted_where_pagerduty_has_the_incident() {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.pagerduty.notes = true;
    });
    web(&mut story, Status::Firing);
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    story.observes();
    story.performs();
    let reading = story.after(Span::minutes(5)).reading();
    story.measures(reading);
    assert_eq!(story.ladder(1), Some(LadderEnd::Exhausted));
    assert_eq!(
        notes_there(&story),
        [
            "Step 1.1 (kubernetes/scale on production/Deployment/web: replicas 4 → 6): did not help: the alert still fires. \
         nightshift stops here: every step was tried: over to people."
        ]
    );
    assert_eq!(story.pages(), 1);
    // The page that this released goes before the note.
    let due = story.state.letters_due(100);
    assert_eq!(due.iter().filter(|letter| matches!(letter.key.receiver, Receiver::PagerDuty { .. })).count(), 1);
}

#[test]
fn nightshifts_own_trouble_coming_back_is_no_incident() {
    let mut story = story();
    story.input(Input::Poisoned { digest: "ab".into(), cause: "alert".into(), message: "m".into(), text: "".into() });
    let own = owed(&story)[0].0.to_string();
    takes(&mut story);
    tells(&mut story, Word { key: &own, ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, Word { key: &own, by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    waits(&mut story, Span::minutes(1));
    assert_eq!(incidents(&story), 0);
}

#[path = "two_sources_bounds.rs"]
mod bounds;
