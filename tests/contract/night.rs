//! The real engine, journal and driver with the real actions, for one alert. The clock is the test's own: where nothing is
//! under way it runs ahead to the next thing that is waited for.

use crate::{stage::Stage, support::failing::Failing};
use nightshift::{
    action::{Action, Boxed},
    app::{open, policy, world, world::Abilities},
    config::Settings,
    decide::{
        Policy,
        work::{AskedAlert, Observe},
    },
    driver::{self, Context, RealWorld, World, world::Sight},
    engine::{
        Clock, EngineHandle, FakeClock, Fatal, NoObserver, PauseFlag, StartOptions,
        entry::{self, Entry},
        start,
    },
    http::client::{Client, ClientSettings},
    journal::{Journal, PAGE_ROWS, sql::Sql},
    model::{
        alert::{Alert, Labels, Source, Status},
        event::Event,
        firing::{Firing, FiringAnswer},
        id::Fingerprint,
        input::{Gathered, Input},
        observation::{DryRun, Facts, Outcome, QueryReading, RuleReading, TargetReading},
        plan::{Plan, Proposal},
        rung::{Collector, Rung},
        time::{Micros, Span},
        view::IncidentView,
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, task::JoinSet};

/// A whole step, with calls that hang.
const OVER_WITHIN: Duration = Duration::from_secs(150);
/// So long nothing is under way before the clock runs ahead.
const QUIET: Duration = Duration::from_millis(8);
/// The clock runs no further at a time: what renews itself every few seconds is not always waited for.
const STRIDE: Span = Span::seconds(5);

/// What the daemon would be told, and what it makes of it.
pub struct Setup {
    _folder: tempfile::TempDir,
    pub settings: Settings,
    pub abilities: Abilities,
    pub policy: Arc<Policy>,
    pub labels: Labels,
}

impl Setup {
    /// `chosen`: the alert's labels by which the action chooses.
    pub async fn of(stage: &Stage, action: &str, mode: &str, chosen: Labels) -> Setup {
        let folder = tempfile::Builder::new().prefix("nightshift-contract-").tempdir().unwrap();
        let written = stage.written(folder.path());
        let rules = format!(
            "settle_after_start: 0s\ntargets: {{it: {}}}\nrules:\n- name: contract\n  match: [alertname=Contract]\n  \
             mode: {mode}\n  remediate:\n  - action: {action}\n    target: it\n    with: {}\n    if_ineffective: keep\n    \
             verify: {}\n- {{name: rest, match: []}}\n",
            written.target, written.with, written.verify
        );
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(file("rules.yaml"), &rules).unwrap();
        let settings = format!(
            "mode: auto\nrules: '{}'\njournal: 'sqlite:{}'\nalertmanager: {{urls: ['http://127.0.0.1:9']}}\n{}",
            file("rules.yaml"),
            file("nightshift.db"),
            written.settings
        );
        let settings = Settings::from_layers(Some(("nightshift.yaml", &settings)), std::iter::empty());
        let (settings, _) = settings.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let abilities = Abilities::connect(&settings).await.unwrap();
        let policy = policy::load(&settings, &abilities);
        let policy = policy.unwrap_or_else(|problems| panic!("{problems:#?}\n{rules}")).policy;
        let mut labels = chosen;
        labels.insert("alertname".to_owned(), "Contract".to_owned());
        Setup { _folder: folder, settings, abilities, policy, labels }
    }

    pub fn action(&self) -> Arc<dyn Action> {
        Arc::clone(self.abilities.actions.get(&self.rung().action).unwrap())
    }

    pub fn rung(&self) -> Rung {
        let rule = self.policy.classify(&self.labels).unwrap();
        self.policy.ladder(rule, &self.labels).unwrap().remove(0)
    }
}

/// The plan of a restart is its second: no two of them have the same.
static LAST_RESTART: AtomicI64 = AtomicI64::new(0);

fn is_restart(action: &str) -> bool {
    action == "kubernetes/restart"
}

/// When the next plan of the action is made.
pub fn next_moment(action: &str) -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(since.as_micros()).unwrap();
    if !is_restart(action) {
        return Micros(now);
    }
    let next = |last: i64| now.max(last + Span::seconds(1).0);
    let last = LAST_RESTART.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last))).unwrap();
    Micros(next(last))
}

pub struct Night {
    setup: Setup,
    clock: FakeClock,
    engine: EngineHandle,
    world: Arc<Watched>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<Option<Result<(), Fatal>>>,
}

/// What the journal holds of it in the end.
pub struct Kept {
    pub entries: Vec<Entry>,
    /// Calls of actions that panicked.
    pub panics: usize,
    /// Calls until the first measurement was over, if it came so far.
    pub first_measured: usize,
}

impl Kept {
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().flat_map(|entry| &entry.events)
    }

    pub fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events().filter(|event| wanted(event)).count()
    }
}

impl Night {
    pub async fn begin(setup: Setup, failing: &Arc<Failing>) -> Night {
        let clock = FakeClock::at(next_moment(&setup.rung().action));
        let (journal, damage) = open::journal(&setup.settings).await.unwrap();
        let http = Client::build(&ClientSettings::default()).unwrap();
        let real = world::build(&setup.settings, &setup.abilities, &http.raw(), None, &journal);
        let options = StartOptions {
            journal,
            clock: Arc::new(clock.clone()),
            observer: Arc::new(NoObserver),
            policy: Arc::clone(&setup.policy),
            holder: "contract".to_owned(),
            version: "0".to_owned(),
            damage,
            pause: PauseFlag::default(),
        };
        let (engine, handle) = start(options).await.unwrap();
        let world = Arc::new(Watched {
            real,
            begun: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            panics: AtomicUsize::new(0),
            failing: Arc::clone(failing),
            first_measured: AtomicUsize::new(0),
        });
        let context = Context::new(handle.clone(), Arc::<Watched>::clone(&world));
        let stop = watch::Sender::new(false);
        let mut stopped = stop.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { Some(engine.run().await) });
        let ends = handle.clone();
        tasks.spawn(async move {
            driver::run(context, async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            })
            .await;
            ends.stop();
            None
        });
        Night { setup, clock, engine: handle, world, stop, tasks }
    }

    pub async fn fires(&self) {
        let now = self.clock.now();
        let alert = Alert {
            source: Source::Alertmanager,
            sender: "contract".to_owned(),
            fingerprint: Fingerprint::new("00000000000000aa"),
            status: Status::Firing,
            starts_at: now,
            ends_at: None,
            labels: self.setup.labels.clone(),
            annotations: Labels::new(),
            url: String::new(),
            group_key: String::new(),
            received_at: now,
        };
        self.engine.intake(vec![Input::Alert(Box::new(alert))]).await.unwrap();
    }

    /// Until no step can go on by itself.
    pub async fn until_over(&self) {
        let deadline = Instant::now() + OVER_WITHIN;
        let is_over = |incident: &IncidentView| {
            let ends = ["dropped", "failed", "unknown", "verified", "ineffective", "inconclusive", "asking"];
            !incident.steps.is_empty() && incident.steps.iter().all(|step| ends.contains(&step.phase.as_str()))
        };
        loop {
            let begun = self.world.begun.load(Ordering::SeqCst);
            // Answered between two batches: nothing that was told the engine is left to be decided.
            let view = self.engine.read(|seen| {
                let id = seen.state.incident_ids().into_iter().next();
                id.and_then(|id| seen.state.incident_view(seen.policy, id, seen.now))
            });
            let view = view.await.unwrap();
            if view.as_ref().is_some_and(is_over) {
                return;
            }
            assert!(Instant::now() < deadline, "it never ended: {view:#?}");
            tokio::time::sleep(QUIET).await;
            let is_quiet =
                self.world.begun.load(Ordering::SeqCst) == begun && self.world.ended.load(Ordering::SeqCst) == begun;
            if let Some(at) = self.clock.next_wait().filter(|_| is_quiet) {
                let ahead = (at - self.clock.now()).0.clamp(0, STRIDE.0);
                self.clock.advance(Span(ahead));
            }
        }
    }

    /// What is committed, read by another connection.
    pub async fn committed(&self) -> Vec<Entry> {
        let journal = Sql::open_read_only(&open::options(&self.setup.settings).unwrap()).await.unwrap();
        let rows = journal.rows(1, PAGE_ROWS).await.unwrap();
        journal.close().await;
        rows.iter().map(|row| entry::open(row).unwrap()).collect()
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub async fn end(mut self) -> (Setup, Kept) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Some(engine) = ended.unwrap() {
                engine.unwrap();
            }
        }
        if is_restart(&self.setup.rung().action) {
            LAST_RESTART.fetch_max(self.clock.now().0, Ordering::SeqCst);
        }
        let entries = self.committed().await;
        let panics = self.world.panics.load(Ordering::SeqCst);
        let first_measured = self.world.first_measured.load(Ordering::SeqCst);
        (self.setup, Kept { entries, panics, first_measured })
    }
}

/// The real world, but that the alert fires as long as it is asked about; with a count of what is under way.
struct Watched {
    real: RealWorld,
    begun: AtomicUsize,
    ended: AtomicUsize,
    panics: AtomicUsize,
    failing: Arc<Failing>,
    /// Calls until the first measurement was over; 0: not yet.
    first_measured: AtomicUsize,
}

struct UnderWay<'a>(&'a Watched);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
        if std::thread::panicking() {
            self.0.panics.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Watched {
    fn watch<'a, T: 'a>(&'a self, call: impl FnOnce(&'a RealWorld) -> Boxed<'a, T> + Send + 'a) -> Boxed<'a, T> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let under_way = UnderWay(self);
        Box::pin(async move {
            let _under_way = under_way;
            call(&self.real).await
        })
    }
}

impl World for Watched {
    fn observe<'a>(&'a self, work: &'a Observe, now: Micros, within: Duration) -> Boxed<'a, Result<Sight, String>> {
        self.watch(move |real| real.observe(work, now, within))
    }

    fn may_destroy(&self, rung: &Rung) -> bool {
        self.real.may_destroy(rung)
    }

    fn dry_run<'a>(
        &'a self,
        rung: &'a Rung,
        proposal: &'a Proposal,
        within: Duration,
    ) -> Boxed<'a, Result<DryRun, String>> {
        self.watch(move |real| real.dry_run(rung, proposal, within))
    }

    fn firing<'a>(&'a self, alerts: &'a [AskedAlert], now: Micros, _: Duration) -> Boxed<'a, FiringAnswer> {
        let active = |alert: &AskedAlert| (alert.fingerprint.clone(), Firing::Active { starts_at: alert.starts_at });
        let answer = FiringAnswer::Answered { at: now, alerts: alerts.iter().map(active).collect() };
        Box::pin(std::future::ready(answer))
    }

    fn peer_keys<'a>(&'a self, _: &'a str, _: Duration) -> Boxed<'a, Result<Vec<String>, String>> {
        Box::pin(std::future::ready(Err("there is no PagerDuty".to_owned())))
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        self.watch(move |real| real.apply(plan, within))
    }

    fn read_back<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        self.watch(move |real| real.read_back(plan, within))
    }

    fn target<'a>(&'a self, plan: &'a Plan, before: &'a Facts, within: Duration) -> Boxed<'a, TargetReading> {
        self.watch(move |real| {
            Box::pin(async move {
                let reading = real.target(plan, before, within).await;
                let calls = self.failing.calls();
                let _ = self.first_measured.compare_exchange(0, calls, Ordering::SeqCst, Ordering::SeqCst);
                reading
            })
        })
    }

    fn rules<'a>(&'a self, names: &'a [String], within: Duration) -> Boxed<'a, RuleReading> {
        self.watch(move |real| real.rules(names, within))
    }

    fn query<'a>(&'a self, query: &'a str, within: Duration) -> Boxed<'a, QueryReading> {
        self.watch(move |real| real.query(query, within))
    }

    fn gather<'a>(
        &'a self,
        collector: &'a Collector,
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Gathered, String>> {
        self.watch(move |real| real.gather(collector, now, within))
    }
}
