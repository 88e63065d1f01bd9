//! What nightshift sends to Statuspage, and what becomes of it when Statuspage is not well: the notifier with its client
//! against the strict stand-in, over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use nightshift::{
    decide::state::DueLetter,
    http::client::{Client, ClientSettings, install_crypto},
    model::{
        id::{Fingerprint, IncidentId},
        letter::{External, LetterKey, PublicStatus, Published, Receiver, Slot, Told},
        public::{ComponentStatus, LeftAlone, PublicView},
        time::Micros,
        view::{AlertView, IncidentView},
    },
    notify::{Notifier, Transient, statuspage::Statuspage as Notified},
    peer::statuspage::client::StatuspageClient,
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use support::statuspage::{Behaviour, KEY, PAGE, Statuspage};

const WITHIN: Duration = Duration::from_secs(15);
const CLAIMS: &str = "claimsid0001";
const PORTAL: &str = "portalid0001";

/// What would be dreadful on a status page.
const HOSTILE: [&str; 8] = [
    "<!channel> <https://evil.example|click>",
    "{{ secret }} ${HOME} {% if %}",
    "\u{202e}gnp.exe\u{202c}\u{200b}",
    "\u{1b}[31mred\u{1b}[0m",
    "*bold* _it_ ~no~ `code` [link](http://evil.example)",
    "<script>alert(1)</script>",
    "@here @everyone",
    "line\r\nbreak\0",
];

struct Stage {
    page: Statuspage,
    notifier: Notified,
}

impl Stage {
    fn set() -> Stage {
        Stage::notifying(false)
    }

    fn notifying(notifies: bool) -> Stage {
        install_crypto();
        let page = Statuspage::start(&[CLAIMS, PORTAL]);
        let notifier = notifier(&page, notifies);
        Stage { page, notifier }
    }

    async fn tells(&self, public: &PublicView, last: Option<&Published>) -> Result<Told, Transient> {
        tells(&self.notifier, public, last, WITHIN).await
    }

    /// It is taken, and customers read something.
    async fn published(&self, public: &PublicView, last: Option<&Published>) -> Published {
        match self.tells(public, last).await {
            Ok(Told::Sent { external: Some(External::Published(published)) }) => published,
            other => panic!("{other:?}"),
        }
    }

    fn status_and_updates(&self) -> (String, Vec<String>) {
        let incidents = self.page.incidents();
        assert_eq!(incidents.len(), 1, "{incidents:#?}");
        (incidents[0].status.clone(), incidents[0].updates.iter().map(|(status, _, _)| status.clone()).collect())
    }
}

fn notifier(page: &Statuspage, notifies: bool) -> Notified {
    let http = Client::build(&ClientSettings::default()).unwrap();
    let client = StatuspageClient::new(http, &page.url(), PAGE, KEY.to_owned().into());
    let ids = [("claims", CLAIMS), ("portal", PORTAL), ("gone", "gone0001")];
    let ids = ids.into_iter().map(|(name, id)| (name.to_owned(), id.to_owned())).collect();
    Notified::new(Arc::new(client), ids, notifies)
}

fn public(component: &str, status: PublicStatus, shows: ComponentStatus) -> PublicView {
    PublicView {
        component: component.to_owned(),
        incident: IncidentId(7),
        status,
        shows,
        waits: false,
        published_by: None,
        told: None,
        title: format!("{component}: the owner's title"),
        sentence: format!("The owner's sentence for {}.", status.word()),
    }
}

fn claims(status: PublicStatus) -> PublicView {
    public("claims", status, ComponentStatus::PartialOutage)
}

/// Everything around the owner's words is as bad as it can be.
fn view(public: &PublicView) -> IncidentView {
    let bad = HOSTILE.join(" ");
    let long = bad.repeat(200);
    let labels = HOSTILE.iter().map(|word| ((*word).to_owned(), (*word).to_owned())).collect();
    IncidentView {
        id: public.incident,
        rule: bad.clone(),
        title: long.clone(),
        severity: bad.clone(),
        rank: 1,
        ranks: 4,
        service: Some(bad.clone()),
        runbook: Some(bad.clone()),
        state: "open".to_owned(),
        opened_at: Micros(1_770_000_000_000_000),
        resolved_at: None,
        quiet_until: None,
        acknowledged_by: Some(bad.clone()),
        acknowledged_at: None,
        lost_contact: false,
        firing: 1,
        resolved: 0,
        lost: 0,
        alerts: vec![AlertView {
            fingerprint: Fingerprint::new("00"),
            state: "firing".to_owned(),
            doubtful: false,
            starts_at: Micros(1_770_000_000_000_000),
            rule: Some(bad.clone()),
            incident: Some(public.incident),
            labels,
            annotations: [("summary".to_owned(), long)].into(),
            url: bad.clone(),
        }],
        ladder: bad,
        steps: Vec::new(),
        evidence: Vec::new(),
        pages: 0,
        calls: Vec::new(),
        next_call: None,
        pagerduty_pages: Vec::new(),
        pagerduty: Vec::new(),
        page_keys: Vec::new(),
        page_held_until: None,
        posted: None,
        public: Some(public.clone()),
        parent: None,
        children: Vec::new(),
        more_children: 0,
        impact: None,
        team: None,
        channel: None,
        update_every: None,
        note: None,
    }
}

async fn tells(
    notifier: &Notified,
    public: &PublicView,
    last: Option<&Published>,
    within: Duration,
) -> Result<Told, Transient> {
    let receiver = Receiver::Statuspage { component: public.component.clone() };
    let external = last.cloned().map(External::Published);
    let letter = DueLetter {
        key: LetterKey { receiver, incident: public.incident, slot: Slot::Card },
        want: 1,
        note: None,
        external: external.clone(),
        card: external,
        page: None,
    };
    notifier.send(&letter, &view(public), within).await
}

use PublicStatus::{Identified, Investigating, Monitoring, Resolved};

#[tokio::test]
async fn a_whole_life_is_one_incident_in_the_owners_words_alone() {
    let stage = Stage::notifying(true);
    let mut last = None;
    for status in PublicStatus::ALL {
        last = Some(stage.published(&claims(status), last.as_ref()).await);
        let component = if status == Resolved { "operational" } else { "partial_outage" };
        assert_eq!(stage.page.component(CLAIMS), component);
        let again = stage.page.calls().len();
        stage.published(&claims(status), last.as_ref()).await;
        assert_eq!(stage.page.calls().len(), again, "what was told is not asked for again");
    }
    let incidents = stage.page.incidents();
    assert_eq!(incidents.len(), 1);
    let incident = &incidents[0];
    assert_eq!(
        (incident.name.as_str(), incident.impact_override.as_deref()),
        ("claims: the owner's title", Some("major"))
    );
    let said: Vec<(String, String, bool)> = PublicStatus::ALL
        .into_iter()
        .map(|status| {
            let mailed = matches!(status, Investigating | Resolved);
            (status.word().to_owned(), format!("The owner's sentence for {}.", status.word()), mailed)
        })
        .collect();
    assert_eq!(incident.updates, said, "mailed when it begins and when it is over");
    stage.page.assert_nothing_broken();
}

/// Every text in it, keys too.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            into.push(name.clone());
            texts(value, into);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[tokio::test]
async fn not_one_byte_of_an_alert_reaches_customers() {
    let stage = Stage::set();
    let first = stage.published(&claims(Investigating), None).await;
    stage.published(&claims(Resolved), Some(&first)).await;
    let mut said = Vec::new();
    stage.page.writes().iter().for_each(|call| texts(&call.body, &mut said));
    let allowed = [
        "incident",
        "name",
        "status",
        "body",
        "impact_override",
        "components",
        "component_ids",
        "deliver_notifications",
        "metadata",
        "nightshift",
        "opened_at",
        "component",
        "7",
        "1770000000000000",
        CLAIMS,
        "major",
        "partial_outage",
        "operational",
        "investigating",
        "resolved",
        "claims: the owner's title",
        "The owner's sentence for investigating.",
        "The owner's sentence for resolved.",
    ];
    let other: Vec<&String> = said.iter().filter(|text| !allowed.contains(&text.as_str())).collect();
    assert!(said.len() > 20 && other.is_empty(), "{other:#?}");
    stage.page.assert_nothing_broken();
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_incident_and_no_second_sentence() {
    let stage = Stage::set();
    for behaviour in [Behaviour::Ok, Behaviour::Ok, Behaviour::LoseAnswer] {
        stage.page.next(behaviour);
    }
    let lost = stage.tells(&claims(Investigating), None).await;
    assert!(matches!(lost, Err(Transient { .. })), "{lost:?}");
    assert_eq!(stage.page.incidents().len(), 1, "it was opened");
    let found = stage.published(&claims(Investigating), None).await;
    assert_eq!(found.component, Some(ComponentStatus::PartialOutage), "it knows what it had set");
    stage.page.next(Behaviour::Ok);
    stage.page.next(Behaviour::LoseAnswer);
    assert!(stage.tells(&claims(Identified), Some(&found)).await.is_err());
    let last = stage.published(&claims(Identified), Some(&found)).await;
    assert_eq!(last.status, Identified);
    assert_eq!(stage.status_and_updates().1, ["investigating", "identified"]);
    stage.page.assert_nothing_broken();
}

#[tokio::test]
async fn another_process_that_knows_nothing_finds_its_own_among_many() {
    let stage = Stage::set();
    stage.published(&claims(Investigating), None).await;
    // Newer ones are listed first: ours is on the second page.
    (0..120).for_each(|number| drop(stage.page.opens_by_hand(&format!("by hand {number}"))));
    let after_a_crash = notifier(&stage.page, false);
    let told = tells(&after_a_crash, &claims(Monitoring), None, WITHIN).await;
    assert!(matches!(told, Ok(Told::Sent { external: Some(_) })), "{told:?}");
    let incidents = stage.page.incidents();
    assert_eq!((incidents.len(), incidents[0].status.as_str()), (121, "monitoring"));
    // The same number of another journal is another incident.
    let mut other = claims(Investigating);
    other.incident = IncidentId(8);
    tells(&after_a_crash, &other, None, WITHIN).await.unwrap();
    assert_eq!(stage.page.incidents().len(), 122);
    stage.page.assert_nothing_broken();
}

#[tokio::test]
async fn what_is_over_before_anybody_read_of_it_is_not_told() {
    let stage = Stage::set();
    assert_eq!(stage.tells(&claims(Resolved), None).await, Ok(Told::Sent { external: None }));
    assert!(stage.page.writes().is_empty());
}

#[tokio::test]
async fn trouble_that_passes_is_tried_again_and_what_was_asked_for_is_waited_for() {
    let stage = Stage::set();
    for (behaviour, reason) in [
        (Behaviour::Status(500), "status_5xx"),
        (Behaviour::Status(503), "status_5xx"),
        (Behaviour::Reset, "connection_broke"),
        (Behaviour::Status(200), "bad_answer"),
    ] {
        stage.page.next(behaviour);
        let told = stage.tells(&claims(Investigating), None).await;
        assert_eq!(told, Err(Transient { reason, retry_after: None }), "{behaviour:?}");
    }
    for status in [420, 429] {
        stage.page.next(Behaviour::Limited(status, 3));
        let told = stage.tells(&claims(Investigating), None).await;
        let wait = Some(Duration::from_secs(3));
        assert_eq!(told, Err(Transient { reason: "rate_limited", retry_after: wait }));
        let calls = stage.page.calls().len();
        // Whatever it asks, and of whatever component.
        let at_once = tells(
            &stage.notifier,
            &public("portal", Investigating, ComponentStatus::MajorOutage),
            None,
            // Longer than the pace, shorter than what was asked for.
            Duration::from_secs(2),
        )
        .await;
        assert!(matches!(at_once, Err(Transient { reason: "paced", retry_after: Some(_) })), "{at_once:?}");
        assert_eq!(stage.page.calls().len(), calls);
    }
    stage.published(&claims(Investigating), None).await;
    stage.page.assert_nothing_broken();
}

#[tokio::test]
async fn a_page_that_never_answers_costs_its_deadline_and_no_more() {
    let stage = Stage::set();
    stage.page.behave(Behaviour::Hang);
    let begun = tokio::time::Instant::now();
    let told = tells(&stage.notifier, &claims(Investigating), None, Duration::from_secs(3)).await;
    assert!(matches!(told, Err(Transient { reason: "timeout", .. })), "{told:?}");
    assert!(begun.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn a_refusal_is_told_at_once_in_its_own_words_of_either_shape() {
    let stage = Stage::set();
    for (behaviour, reason) in [
        (Behaviour::Error(422, "name is too long"), "refused: name is too long"),
        (Behaviour::Message(400, "\u{202e}odd\u{1b}[31m"), "refused: odd"),
        (Behaviour::Status(302), "redirect"),
        (Behaviour::Status(422), "refused"),
    ] {
        stage.page.next(behaviour);
        match stage.tells(&claims(Investigating), None).await {
            Ok(Told::Failed { reason: said }) => assert!(said.starts_with(reason.split(':').next().unwrap()), "{said}"),
            other => panic!("{behaviour:?}: {other:?}"),
        }
    }
    let told = stage.tells(&public("unheard-of", Investigating, ComponentStatus::MajorOutage), None).await;
    assert_eq!(told, Ok(Told::Failed { reason: "no_such_component".to_owned() }));
    let mut bare = claims(Investigating);
    bare.sentence.clear();
    assert_eq!(stage.tells(&bare, None).await, Ok(Told::Failed { reason: "no_sentences".to_owned() }));
    assert!(stage.page.incidents().is_empty());
    let first = stage.published(&claims(Investigating), None).await;
    stage.page.deletes(&first.status_incident);
    let told = stage.tells(&claims(Identified), Some(&first)).await;
    assert_eq!(told, Ok(Told::Failed { reason: "not_found: no such incident".to_owned() }));
    stage.page.assert_nothing_broken();
}

#[tokio::test]
async fn what_somebody_must_set_right_waits_for_that_and_is_said_until_then() {
    let stage = Stage::set();
    let said = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&said);
    let notifier = notifier(&stage.page, false).watched_by(move |lines| told.lock().unwrap().push(lines));
    let within = Duration::from_secs(20);
    for (behaviour, reason) in [
        (Behaviour::Error(401, "Could not authenticate"), "not_authorized"),
        (Behaviour::Error(401, "Could not authenticate"), "not_authorized"),
        (Behaviour::Message(404, "Page not found"), "not_found"),
    ] {
        stage.page.next(behaviour);
        let told = tells(&notifier, &claims(Investigating), None, within).await;
        assert_eq!(told, Err(Transient { reason, retry_after: Some(Duration::from_secs(30)) }), "it is not given up");
    }
    let gone = public("gone", Investigating, ComponentStatus::MajorOutage);
    let told = tells(&notifier, &gone, None, within).await;
    assert!(matches!(told, Err(Transient { reason: "not_found", .. })), "{told:?}");
    let told = tells(&notifier, &claims(Investigating), None, within).await;
    assert!(matches!(told, Ok(Told::Sent { external: Some(_) })), "{told:?}");
    let said = said.lock().unwrap().clone();
    let key = "Statuspage refuses the API key (Could not authenticate): what customers are to read waits. Put a valid one into \
               statuspage.api_key_file, and reload";
    assert_eq!(said[0], [key], "{said:?}");
    let claims = |lines: &[String]| {
        lines.len() == 1 && lines[0].contains("(Page not found)") && lines[0].contains("read of claims")
    };
    assert!(said[1].is_empty() && claims(&said[2]), "it takes the key: {said:?}");
    let last = said.last().unwrap();
    assert!(
        last.len() == 1 && last[0].contains("no such component") && last[0].contains("components.gone.id"),
        "{last:?}"
    );
}

#[tokio::test]
async fn what_is_set_up_wrong_is_found_out_by_asking_and_nothing_is_written() {
    let stage = Stage::set();
    let said = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&said);
    let notifier = notifier(&stage.page, false).watched_by(move |lines| *told.lock().unwrap() = lines);
    let ask = || notifier.ask(tokio::time::Instant::now() + Duration::from_secs(20));
    for (behaviour, words) in [
        (Behaviour::Error(401, "Could not authenticate"), "refuses the API key (Could not authenticate)"),
        (Behaviour::Message(404, "Page not found"), "knows no such page (Page not found)"),
    ] {
        stage.page.next_ask(behaviour);
        assert!(!ask().await);
        let lines = said.lock().unwrap().clone();
        assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    }
    // Nobody answers: that is no word about the key.
    stage.page.next_ask(Behaviour::Status(503));
    assert!(!ask().await);
    assert!(said.lock().unwrap()[0].contains("knows no such page"));
    assert!(!ask().await, "one component is not there");
    let lines = said.lock().unwrap().clone();
    assert!(lines.len() == 1 && lines[0].contains("what customers are to read of gone waits"), "{lines:?}");
    assert!(stage.page.writes().is_empty());
    stage.page.assert_nothing_broken();
}

#[tokio::test]
async fn what_people_changed_there_is_left_alone_and_said() {
    let stage = Stage::set();
    stage.page.sets_component(PORTAL, "under_maintenance");
    let portal = |status| public("portal", status, ComponentStatus::MajorOutage);
    let first = stage.published(&portal(Investigating), None).await;
    let left = LeftAlone::Component { is: ComponentStatus::UnderMaintenance };
    assert_eq!((first.component, &first.left_alone), (None, &vec![left]));
    stage.published(&portal(Resolved), Some(&first)).await;
    assert_eq!(stage.page.component(PORTAL), "under_maintenance");

    let first = stage.published(&claims(Investigating), None).await;
    stage.page.sets_component(CLAIMS, "major_outage");
    stage.page.sets_status(&first.status_incident, "monitoring");
    let kept = stage.published(&claims(Identified), Some(&first)).await;
    assert_eq!((kept.status, kept.left_alone), (Investigating, vec![LeftAlone::Incident { is: Monitoring }]));
    let over = stage.published(&claims(Resolved), Some(&first)).await;
    let left = LeftAlone::Component { is: ComponentStatus::MajorOutage };
    assert_eq!((over.status, over.left_alone), (Resolved, vec![left]));
    assert_eq!(stage.page.component(CLAIMS), "major_outage");
    stage.page.assert_nothing_broken();
}

#[tokio::test]
async fn one_request_a_second_however_many_letters_there_are() {
    let stage = Stage::set();
    let claims = claims(Investigating);
    let mut portal = public("portal", Investigating, ComponentStatus::MajorOutage);
    portal.incident = IncidentId(8);
    let (one, other) = tokio::join!(stage.tells(&claims, None), stage.tells(&portal, None));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    let calls = stage.page.calls();
    assert_eq!(calls.len(), 6);
    assert!(calls.windows(2).all(|two| two[1].at - two[0].at >= Duration::from_secs(1)), "{calls:#?}");
    stage.page.assert_nothing_broken();
}

/// One request a second: what is begun is brought to its end, or of many at once none would be.
#[tokio::test]
async fn of_many_components_that_fail_at_once_some_are_told_at_once() {
    install_crypto();
    let names: Vec<String> = (0..6).map(|number| format!("component{number:04}")).collect();
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    let page = Statuspage::start(&ids);
    let http = Client::build(&ClientSettings::default()).unwrap();
    let client = StatuspageClient::new(http, &page.url(), PAGE, KEY.to_owned().into());
    let own = names.iter().map(|name| (name.clone(), name.clone())).collect();
    let notifier = Notified::new(Arc::new(client), own, false);
    let tell = async |number: usize| {
        let mut public = public(&names[number], PublicStatus::Investigating, ComponentStatus::PartialOutage);
        public.incident = IncidentId(number as u64 + 1);
        tells(&notifier, &public, None, Duration::from_secs(9)).await
    };
    let told = tokio::join!(tell(0), tell(1), tell(2), tell(3), tell(4), tell(5));
    let told = [told.0, told.1, told.2, told.3, told.4, told.5];
    let done = told.iter().filter(|told| matches!(told, Ok(Told::Sent { .. }))).count();
    assert!(done >= 2 && page.incidents().len() == done, "{told:?}");
    // The others have done nothing yet, and are to come again.
    let waits = |told: &Result<Told, Transient>| matches!(told, Ok(_) | Err(Transient { reason: "paced", .. }));
    assert!(told.iter().all(waits), "{told:?}");
    page.assert_nothing_broken();
}
