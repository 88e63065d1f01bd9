//! Driver and courier beside the real engine, on the memory journal, in a model world that records every call.

use super::{
    Context, Driver, Recorded, courier,
    perform::{LastLook, last_look},
    run,
    tasks::End,
    world::{Sight, World},
};
use crate::{
    action::Boxed,
    decide::{
        Policy,
        policy::{CollectorSpec, Rule},
        state::DueLetter,
        work::{AskedAlert, Intent, Observe, Work, WorkKey},
    },
    engine::{
        Clock, PauseFlag,
        testing::{Bench, MORNING, command, firing, policy, resolved, rule, settle, until},
    },
    model::{
        event::Event,
        firing::{Firing, FiringAnswer},
        id::{Fingerprint, IncidentId},
        input::{Command, Gathered, Input},
        letter::{External, LetterKey, Posted, Receiver, Slot, Told},
        mode::Mode,
        observation::{DryRun, Facts, Outcome, Proposed, QueryReading, RuleReading, TargetReading},
        plan::{Effect, Plan, Proposal},
        rung::{Collector, Rung},
        time::{Micros, Span},
        view::IncidentView,
    },
    notify::{Notifier, Notifiers, Transient},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// How the model world answers.
#[derive(Default)]
struct Model {
    calls: Mutex<Vec<String>>,
    /// Set when Alertmanager is asked, before the step starts.
    pauses: Option<PauseFlag>,
    /// Told to stop when it is asked whether the alerts still fire.
    stops: Option<watch::Sender<bool>>,
    /// The call never answers.
    apply_hangs: bool,
    /// The first so many observations panic.
    panics: Mutex<u32>,
    destroys: bool,
    /// Nothing fires any more.
    quiet: watch::Sender<bool>,
}

impl Model {
    fn call(&self, what: &str) {
        self.calls.lock().unwrap().push(what.to_owned());
    }

    fn count(&self, what: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| *call == what).count()
    }
}

fn now<'a, T: Send + 'a>(value: T) -> Boxed<'a, T> {
    Box::pin(std::future::ready(value))
}

impl World for Model {
    fn observe<'a>(&'a self, _: &'a Observe, at: Micros, _: Duration) -> Boxed<'a, Result<Sight, String>> {
        self.call("observe");
        let mut panics = self.panics.lock().unwrap();
        if *panics > 0 {
            *panics -= 1;
            drop(panics);
            panic!("a broken action");
        }
        let proposal = Proposal {
            uid: "u1".to_owned(),
            generation: 1,
            from: serde_json::json!(4),
            to: serde_json::json!(6),
            undo: serde_json::json!(4),
            precondition: serde_json::json!({}),
            effect: Effect { replicas: None, min_ready_after: None, touches: Vec::new(), destroys: false, runs: None },
            summary: "4 → 6".to_owned(),
            undo_summary: None,
        };
        now(Ok(Sight { facts: Facts::of_nothing(at), proposal: Proposed::Made(Box::new(proposal)), holds: None }))
    }

    fn may_destroy(&self, _: &Rung) -> bool {
        self.destroys
    }

    fn dry_run<'a>(&'a self, _: &'a Rung, _: &'a Proposal, _: Duration) -> Boxed<'a, Result<DryRun, String>> {
        self.call("dry_run");
        now(Ok(DryRun::Accepted))
    }

    fn firing<'a>(&'a self, alerts: &'a [AskedAlert], at: Micros, _: Duration) -> Boxed<'a, FiringAnswer> {
        self.call("firing");
        if let Some(flag) = &self.pauses {
            flag.set();
        }
        if let Some(stop) = &self.stops {
            stop.send_replace(true);
        }
        let one = |alert: &AskedAlert| {
            let quiet = *self.quiet.borrow();
            let firing = if quiet { Firing::Absent } else { Firing::Active { starts_at: alert.starts_at } };
            (alert.fingerprint.clone(), firing)
        };
        now(FiringAnswer::Answered { at, alerts: alerts.iter().map(one).collect() })
    }

    fn peer_keys<'a>(&'a self, _: &'a str, _: Duration) -> Boxed<'a, Result<Vec<String>, String>> {
        Box::pin(std::future::ready(Err("there is no PagerDuty".to_owned())))
    }

    fn apply<'a>(&'a self, _: &'a Plan, _: Duration) -> Boxed<'a, Outcome> {
        self.call("apply");
        if self.apply_hangs { Box::pin(std::future::pending()) } else { now(Outcome::Applied) }
    }

    fn read_back<'a>(&'a self, _: &'a Plan, _: Duration) -> Boxed<'a, Outcome> {
        self.call("read_back");
        now(Outcome::Applied)
    }

    fn target<'a>(&'a self, _: &'a Plan, _: &'a Facts, _: Duration) -> Boxed<'a, TargetReading> {
        self.call("measure");
        now(TargetReading::Well { says: "6 of 6".to_owned() })
    }

    fn rules<'a>(&'a self, _: &'a [String], _: Duration) -> Boxed<'a, RuleReading> {
        now(RuleReading::NotAsked)
    }

    fn query<'a>(&'a self, _: &'a str, _: Duration) -> Boxed<'a, QueryReading> {
        now(QueryReading::NotAsked)
    }

    fn gather<'a>(&'a self, _: &'a Collector, _: Micros, _: Duration) -> Boxed<'a, Result<Gathered, String>> {
        self.call("gather");
        now(Ok(Gathered { digest: "00".repeat(32), bytes: 1, summary: "one line".to_owned() }))
    }
}

fn acting() -> Arc<Policy> {
    policy(vec![rule("act", Mode::Auto, Some("noop"))])
}

/// A driver beside the engine.
fn drive(bench: &Bench, world: &Arc<Model>) -> (JoinSet<()>, watch::Sender<bool>) {
    let stop = world.stops.clone().unwrap_or_else(|| watch::Sender::new(false));
    let mut stopped = stop.subscribe();
    let context = Context { engine: bench.handle.clone(), world: Arc::<Model>::clone(world) };
    let mut tasks = JoinSet::new();
    tasks.spawn(run(context, async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    (tasks, stop)
}

async fn causes_and_events(bench: &Bench) -> Vec<Event> {
    let rows = bench.rows().await;
    rows.iter().flat_map(|row| crate::engine::entry::open(row).unwrap().events).collect()
}

#[tokio::test]
async fn a_step_is_observed_acted_on_once_and_measured_until_it_helped() {
    let bench = Bench::with(acting()).await;
    let world = Arc::new(Model::default());
    let (_tasks, _stop) = drive(&bench, &world);
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    until(&bench.clock, "it was measured three times", || world.count("measure") >= 3).await;
    assert_eq!(world.count("apply"), 1);
    let since = bench.clock.now() - MORNING;
    assert!(since >= Span::seconds(40) && since < Span::seconds(60), "settled, then every 5 s: {since}");
    let before = bench.rows().await.len();
    until(&bench.clock, "it was measured six times", || world.count("measure") >= 6).await;
    assert_eq!(bench.rows().await.len(), before, "measurements that change nothing are not written");
    world.quiet.send_replace(true);
    bench.handle.intake(vec![resolved("A", bench.clock.now())]).await.unwrap();
    until(&bench.clock, "it helped", || bench.handle.published().work().borrow().is_empty()).await;
    let events = causes_and_events(&bench).await;
    let helped =
        |event: &Event| matches!(event, Event::StepVerified { answer: crate::model::step::Answer::Helped, .. });
    assert!(events.iter().any(helped), "{events:?}");
    assert_eq!((world.count("apply"), world.count("read_back")), (1, 0));
}

#[tokio::test]
async fn the_kill_switch_stops_what_was_decided_before_it_is_journalled() {
    let bench = Bench::with(acting()).await;
    let world = Arc::new(Model { pauses: Some(bench.handle.pause_flag().clone()), ..Model::default() });
    let (_tasks, _stop) = drive(&bench, &world);
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    settle().await;
    let events = causes_and_events(&bench).await;
    assert!(events.iter().any(|event| matches!(event, Event::StepStarted { .. })), "it was let through");
    assert!(events.iter().any(|event| matches!(event, Event::StepFailed { .. })), "and is known not to have run");
    assert_eq!(world.count("apply"), 0);
}

#[tokio::test]
async fn what_is_observed_when_the_stop_comes_starts_nothing() {
    let bench = Bench::with(acting()).await;
    let world = Arc::new(Model { stops: Some(watch::Sender::new(false)), ..Model::default() });
    let (mut tasks, _stop) = drive(&bench, &world);
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    settle().await;
    assert_eq!(world.count("firing"), 1, "the observation was on its way");
    let events = causes_and_events(&bench).await;
    let started = events.iter().filter(|event| matches!(event, Event::StepStarted { .. })).count();
    let applied = events.iter().filter(|event| matches!(event, Event::StepApplied { .. })).count();
    assert_eq!((started, applied, world.count("apply")), (0, 0, 0), "{events:?}");
    assert!(tasks.try_join_next().is_some(), "and the driver ends");
}

#[tokio::test]
async fn after_a_crash_in_mid_call_it_is_read_back_and_not_repeated() {
    let bench = Bench::with(acting()).await;
    let world = Arc::new(Model { apply_hangs: true, ..Model::default() });
    let (tasks, _stop) = drive(&bench, &world);
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    settle().await;
    assert_eq!(world.count("apply"), 1);
    let survives = bench.journal.crash();
    drop((tasks, bench));
    let next = Bench::on(survives, crate::engine::FakeClock::at(MORNING + Span::seconds(2)), acting()).await;
    let later = Arc::new(Model::default());
    let (_tasks, _stop) = drive(&next, &later);
    settle().await;
    assert_eq!(later.count("read_back"), 0, "the call may still be on its way");
    until(&next.clock, "it was read back", || later.count("read_back") == 1).await;
    settle().await;
    assert_eq!(later.count("apply"), 0);
    let events = causes_and_events(&next).await;
    assert!(events.iter().any(|event| matches!(event, Event::StepApplied { .. })));
}

/// What is to be done while a step's call hangs: to perform it.
async fn work_of_a_started_step(bench: &Bench) -> (Arc<Vec<Work>>, Intent) {
    let world = Arc::new(Model { apply_hangs: true, ..Model::default() });
    let (_tasks, _stop) = drive(bench, &world);
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    settle().await;
    let work = Arc::clone(&bench.handle.published().work().borrow());
    let intent =
        work.iter().find_map(|piece| if let Work::Apply(intent) = piece { Some(intent.clone()) } else { None });
    (work, intent.expect("it was started"))
}

#[tokio::test]
async fn a_call_is_made_once_however_long_it_is_listed() {
    let bench = Bench::with(acting()).await;
    let (work, _) = work_of_a_started_step(&bench).await;
    let world = Arc::new(Model::default());
    let mut driver = Driver::new(Context::new(bench.handle.clone(), Arc::<Model>::clone(&world)));
    let start = bench.clock.now();
    driver.begin_all(&work, start);
    let (key, end) = driver.tasks.next_end().await;
    driver.ended(key, &end, start);
    driver.begin_all(&work, start + Span::seconds(5));
    driver.begin_started(&work);
    while !driver.tasks.is_empty() {
        let (key, end) = driver.tasks.next_end().await;
        driver.ended(key, &end, start);
    }
    assert_eq!(world.count("apply"), 1);
}

#[tokio::test]
async fn what_cannot_be_decided_is_tried_ever_more_rarely() {
    let bench = Bench::with(acting()).await;
    let mut driver = Driver::new(Context::new(bench.handle.clone(), Arc::new(Model::default())));
    let key = WorkKey::Confirm(Fingerprint::new("A"));
    let mut rest_after = |end: End<Recorded>| {
        driver.ended(key.clone(), &end, MORNING);
        driver.rests[&key] - MORNING
    };
    let poison = || End::Done(Recorded::AsPoison);
    assert_eq!([rest_after(poison()), rest_after(poison()), rest_after(poison())], [30, 60, 120].map(Span::seconds));
    for _ in 0..20 {
        rest_after(poison());
    }
    assert!(rest_after(poison()) > Span::hours(8));
    assert_eq!(rest_after(End::Done(Recorded::AsItIs)), Span::seconds(1));
    assert_eq!(rest_after(poison()), Span::seconds(30));
}

#[tokio::test]
async fn the_last_look_before_the_write_stops_what_is_late_paused_or_anothers() {
    let bench = Bench::with(acting()).await;
    let (_, intent) = work_of_a_started_step(&bench).await;
    let (epoch, late) = (intent.epoch(), intent.perform_by());
    let before = late - Span::seconds(1);
    assert_eq!(last_look(&intent, epoch, false, before), LastLook::Go(Duration::from_secs(1)));
    assert!(matches!(last_look(&intent, epoch, false, late), LastLook::NotNow(_)));
    assert!(matches!(last_look(&intent, epoch, true, before), LastLook::NotNow(_)));
    assert_eq!(last_look(&intent, epoch + 1, false, before), LastLook::NotOurs);
}

#[tokio::test]
async fn a_panic_in_one_piece_of_work_is_tried_again_later() {
    let bench = Bench::with(acting()).await;
    let world = Arc::new(Model { panics: Mutex::new(1), ..Model::default() });
    let (tasks, _stop) = drive(&bench, &world);
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    settle().await;
    assert_eq!(world.count("observe"), 1, "not at once");
    until(&bench.clock, "it acted", || world.count("apply") == 1).await;
    assert!(bench.clock.now() >= MORNING + Span::seconds(30));
    assert_eq!(tasks.len(), 1, "the driver lives");
}

#[tokio::test]
async fn what_a_step_destroys_is_collected_and_recorded_before_it_is_observed() {
    let mut acts: Rule = rule("act", Mode::Auto, Some("noop"));
    let logs = CollectorSpec { collect: "kubernetes/logs".into(), target: "web".into(), with: serde_json::json!({}) };
    acts.remediate[0].evidence = vec![logs];
    let bench = Bench::with(policy(vec![acts])).await;
    let world = Arc::new(Model { destroys: true, ..Model::default() });
    let (_tasks, _stop) = drive(&bench, &world);
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    until(&bench.clock, "it acted", || world.count("apply") == 1).await;
    assert_eq!(world.calls.lock().unwrap()[..4], ["gather", "observe", "firing", "apply"]);
    let causes = bench.causes().await;
    assert_eq!(causes[..4], ["started", "alert", "gathered", "observed"]);
}

#[test]
fn evidence_for_one_step_is_not_collected_over_and_over() {
    let collected = super::observe::Collected::default();
    let id = |number| crate::model::id::StepId { incident: crate::model::id::IncidentId(1), number };
    assert!(collected.is_wanted(id(1), MORNING));
    assert!(!collected.is_wanted(id(1), MORNING + Span::minutes(1)));
    assert!(collected.is_wanted(id(2), MORNING), "another step");
    assert!(collected.is_wanted(id(1), MORNING + Span::minutes(5)), "it is old by now");
}

#[tokio::test]
async fn a_driver_that_stops_begins_nothing_more() {
    let bench = Bench::with(acting()).await;
    let world = Arc::new(Model::default());
    let (mut tasks, stop) = drive(&bench, &world);
    stop.send_replace(true);
    tasks.join_next().await.unwrap().unwrap();
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    settle().await;
    assert_eq!(world.calls.lock().unwrap().len(), 0);
}

/// Records what it is sent. Fails for one channel while told to, and always for one incident.
#[derive(Default)]
struct Post {
    sent: Mutex<Vec<(LetterKey, Option<String>, String)>>,
    down: watch::Sender<Option<String>>,
    refuses: Option<IncidentId>,
    tries: Mutex<Vec<Micros>>,
    clock: Option<crate::engine::FakeClock>,
}

impl Notifier for Post {
    fn send<'a>(
        &'a self,
        letter: &'a DueLetter,
        view: &'a IncidentView,
        _: Duration,
    ) -> Boxed<'a, Result<Told, Transient>> {
        let channel = match &letter.key.receiver {
            Receiver::Slack { channel } => channel.clone(),
            other => other.to_string(),
        };
        if self.down.borrow().as_ref() == Some(&channel) || self.refuses == Some(letter.key.incident) {
            self.tries.lock().unwrap().extend(self.clock.as_ref().map(Clock::now));
            return now(Err(Transient { reason: "unreachable", retry_after: None }));
        }
        let note = view.note.as_ref().map(|note| note.text.clone());
        self.sent.lock().unwrap().push((letter.key.clone(), note, view.title.clone()));
        let ts = format!("{}", self.sent.lock().unwrap().len());
        now(Ok(Told::Sent { external: Some(External::Posted(Posted { channel, ts })) }))
    }
}

fn deliver(bench: &Bench, post: &Arc<Post>) -> JoinSet<()> {
    let mut notifiers = Notifiers::default();
    notifiers.add("slack", Arc::<Post>::clone(post));
    notifiers.add("pagerduty", Arc::<Post>::clone(post));
    let mut tasks = JoinSet::new();
    tasks.spawn(courier::run(bench.handle.clone(), notifiers, std::future::pending()));
    tasks
}

fn in_channel(name: &str, channel: &str) -> Rule {
    let mut one = rule(name, Mode::Shadow, None);
    one.matchers = crate::model::matcher::parse_list(&format!("{{alertname=\"{name}\"}}")).unwrap();
    one.slack_channel = Some(channel.to_owned());
    one
}

#[tokio::test]
async fn an_incidents_card_goes_before_its_posts_and_each_wish_is_told_once() {
    let bench = Bench::with(policy(vec![in_channel("A", "#a")])).await;
    let post = Arc::new(Post::default());
    let _tasks = deliver(&bench, &post);
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    let sent_so_far = || post.sent.lock().unwrap().len();
    until(&bench.clock, "the card is sent", || sent_so_far() > 0).await;
    settle().await;
    let owed = bench.handle.read(|seen| seen.state.counts().letters_owed).await;
    assert_eq!(owed, Ok(0));
    let sent = post.sent.lock().unwrap().clone();
    assert_eq!(sent[0].0.slot, Slot::Card);
    assert_eq!(sent[0].1, None, "a card has no note");
    let again: Vec<&LetterKey> = sent.iter().map(|(key, ..)| key).filter(|key| key.slot != Slot::Card).collect();
    let mut in_order = again.clone();
    in_order.sort();
    in_order.dedup();
    assert_eq!(again, in_order, "posts in order, each once");
    let before = sent.len();
    let incident = IncidentId(1);
    bench.handle.command(command(Command::Acknowledge { incident })).await.unwrap();
    until(&bench.clock, "what changed is told", || sent_so_far() > before).await;
}

#[tokio::test]
async fn a_receiver_that_is_down_is_tried_ever_more_rarely_and_delays_nobody_else() {
    let bench = Bench::with(policy(vec![in_channel("A", "#a"), in_channel("B", "#b")])).await;
    let post = Arc::new(Post { clock: Some(bench.clock.clone()), ..Post::default() });
    post.down.send_replace(Some("#a".to_owned()));
    let _tasks = deliver(&bench, &post);
    bench.handle.intake(vec![firing("A", MORNING), firing("B", MORNING)]).await.unwrap();
    let other = || post.sent.lock().unwrap().iter().any(|(_, _, title)| title.contains('B'));
    until(&bench.clock, "the other is told", other).await;
    assert!(bench.clock.now() - MORNING < Span::seconds(1), "at once");
    let tries = || post.tries.lock().unwrap().len();
    until(&bench.clock, "it was tried eight times", || tries() >= 8).await;
    let times = post.tries.lock().unwrap().clone();
    let waits: Vec<Span> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] >= Span::seconds(1) && waits[0] <= Span::millis(1250), "{waits:?}");
    assert!(waits.windows(2).take(5).all(|pair| pair[0] < pair[1]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= Span::seconds(75)), "{waits:?}");
    post.down.send_replace(None);
    let told = || post.sent.lock().unwrap().iter().any(|(_, _, title)| title.contains('A'));
    until(&bench.clock, "it is told once it is back", told).await;
}

#[tokio::test]
async fn a_letter_that_is_never_taken_keeps_no_other_of_its_receiver() {
    let rules = ["A", "B", "C", "D"].map(|name| in_channel(name, "#a"));
    let bench = Bench::with(policy(rules.into())).await;
    let refuses = Some(IncidentId(1));
    let post = Arc::new(Post { clock: Some(bench.clock.clone()), refuses, ..Post::default() });
    let _tasks = deliver(&bench, &post);
    let told = |name: char| post.sent.lock().unwrap().iter().any(|(_, _, title)| title.contains(name));
    let tries = || post.tries.lock().unwrap().len();
    bench.handle.intake(vec![firing("A", MORNING)]).await.unwrap();
    until(&bench.clock, "it was tried often", || tries() >= 8).await;
    // The receiver may be down, for all that is known: one at a time finds out, and not always the same.
    bench.handle.intake(vec![firing("B", MORNING)]).await.unwrap();
    until(&bench.clock, "another is told", || told('B')).await;
    // It is up: from now on nobody waits for the one that it does not take.
    let since = bench.clock.now();
    bench.handle.intake(vec![firing("C", MORNING)]).await.unwrap();
    until(&bench.clock, "a third is told", || told('C')).await;
    let before = tries();
    until(&bench.clock, "it is still tried", || tries() >= before + 6).await;
    let began = bench.clock.now();
    bench.handle.intake(vec![firing("D", MORNING)]).await.unwrap();
    until(&bench.clock, "a fourth is told", || told('D')).await;
    assert!(bench.clock.now() - began < Span::seconds(2), "{}", bench.clock.now() - began);
    assert!(tries() < 40 && bench.clock.now() - since > Span::minutes(1), "and that one ever more rarely: {}", tries());
}

#[tokio::test]
async fn a_page_that_is_never_taken_keeps_no_other_page() {
    let mut spec = policy(vec![rule("everything", Mode::Shadow, None)]).spec.clone();
    spec.pagerduty.pages = true;
    let bench = Bench::with(Arc::new(Policy::new(spec).unwrap())).await;
    let refuses = Some(IncidentId(1));
    let post = Arc::new(Post { clock: Some(bench.clock.clone()), refuses, ..Post::default() });
    let _tasks = deliver(&bench, &post);
    // Its page is asked to wait, and nothing is being done about it: it pages at once.
    let pages = |name: &str| match firing(name, MORNING) {
        Input::Alert(mut alert) => {
            alert.labels.insert("nightshift_hold".to_owned(), "true".to_owned());
            alert.group_key = format!("{{}}:{{alertname=\"{name}\"}}");
            Input::Alert(alert)
        }
        other => other,
    };
    bench.handle.intake(vec![pages("A")]).await.unwrap();
    until(&bench.clock, "it was tried often", || post.tries.lock().unwrap().len() >= 8).await;
    bench.handle.intake(vec![pages("B")]).await.unwrap();
    let is_paged = || post.sent.lock().unwrap().iter().any(|(key, ..)| key.is_page() && key.incident == IncidentId(2));
    until(&bench.clock, "the other is paged", is_paged).await;
}
