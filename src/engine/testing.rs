//! What the engine's and the driver's tests stand on: a small policy, alerts, a world that stands still, an engine run
//! beside the test on a clock that only the test moves.

use super::{Clock, Engine, EngineHandle, FakeClock, Fatal, NoObserver, PauseFlag, StartOptions, start};
use crate::{
    decide::{
        Policy,
        policy::{Choice, PolicySpec, Rule, RungSpec, Severity, TargetSpec},
    },
    journal::{self, Answer, AppendError, Extent, Hash, Head, InboxItem, Journal, Lead, Row, Snapshot, memory::Memory},
    model::{
        alert::{Alert, Source, Status},
        id::Fingerprint,
        input::{Command, Input, Via},
        matcher::Matcher,
        mode::Mode,
        rung::{IfIneffective, Verify},
        target::Object,
        time::{Micros, Span},
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::{sync::watch, task::JoinSet};

/// A moment in 2026.
pub(crate) const MORNING: Micros = Micros(1_772_334_000_000_000);

pub(crate) fn rule(name: &str, mode: Mode, action: Option<&str>) -> Rule {
    let remediate = action.map(|action| RungSpec {
        action: action.to_owned(),
        target: "web".to_owned(),
        with: serde_json::json!({}),
        mode: None,
        verify: Verify { settle: Span::seconds(30), resolved_within: Span::minutes(5), query: None },
        if_ineffective: IfIneffective::Keep,
        chooses_by: None,
        evidence: Vec::new(),
    });
    Rule {
        name: name.to_owned(),
        matchers: Vec::<Matcher>::new(),
        severity: None,
        service: None,
        runbook: None,
        impact: None,
        security: false,
        group_by: vec!["alertname".to_owned()],
        fires_for: Span::ZERO,
        mode,
        limits: Vec::new(),
        cooldown: Span::minutes(10),
        quiet: Span::minutes(10),
        flapping: None,
        canary: 0,
        undo_within: Span::hours(1),
        evidence: Vec::new(),
        remediate: remediate.into_iter().collect(),
        slack_channel: None,
        statuspage: None,
    }
}

pub(crate) fn policy(rules: Vec<Rule>) -> Arc<Policy> {
    let severity = Severity {
        name: "P1".to_owned(),
        title: "urgent".to_owned(),
        aliases: vec!["critical".to_owned()],
        mentions: Vec::new(),
        respond_within: None,
        update_every: None,
    };
    let target = TargetSpec { choice: Choice::One { object: Object::Nothing }, bounds: None };
    let spec = PolicySpec {
        mode: Mode::Auto,
        severities: vec![severity],
        targets: BTreeMap::from([("web".to_owned(), target)]),
        rules,
        max_concurrent: 1,
        limits_namespace: Vec::new(),
        limits_all: Vec::new(),
        freezes: Vec::new(),
        brake: None,
        unclean_starts: 0,
        settle_after_start: Span::seconds(60),
        lost_after: Span::minutes(30),
        timezone: "UTC".to_owned(),
        asks_alertmanager: true,
        asks_prometheus: false,
        slack_channel: Some("#incidents".to_owned()),
        people: BTreeMap::new(),
        escalations: Vec::new(),
        incident_channels: Vec::new(),
        security_channel: None,
        approvers: BTreeMap::new(),
        statuspage: None,
        pagerduty: Default::default(),
    };
    Arc::new(Policy::new(spec).unwrap())
}

pub(crate) fn telling() -> Arc<Policy> {
    policy(vec![rule("everything", Mode::Shadow, None)])
}

pub(crate) fn firing(name: &str, at: Micros) -> Input {
    let labels = BTreeMap::from([("alertname".to_owned(), name.to_owned())]);
    Input::Alert(Box::new(Alert {
        source: Source::Alertmanager,
        sender: "test".to_owned(),
        fingerprint: Fingerprint::new(name),
        status: Status::Firing,
        starts_at: MORNING,
        ends_at: None,
        labels,
        annotations: BTreeMap::new(),
        url: String::new(),
        group_key: String::new(),
        received_at: at,
    }))
}

pub(crate) fn resolved(name: &str, at: Micros) -> Input {
    match firing(name, at) {
        Input::Alert(mut alert) => {
            alert.status = Status::Resolved;
            alert.ends_at = Some(at);
            Input::Alert(alert)
        }
        other => other,
    }
}

pub(crate) fn command(command: Command) -> Input {
    Input::Command { by: "ana".to_owned(), via: Via::Api, command }
}

pub(crate) fn options(journal: journal::Handle, clock: &FakeClock, policy: Arc<Policy>) -> StartOptions {
    StartOptions {
        journal,
        clock: Arc::new(clock.clone()),
        observer: Arc::new(NoObserver),
        policy,
        holder: "one".to_owned(),
        version: "0.0.0".to_owned(),
        damage: None,
        pause: PauseFlag::default(),
    }
}

/// An engine beside the test.
pub(crate) struct Bench {
    pub clock: FakeClock,
    pub journal: Memory,
    pub handle: EngineHandle,
    pub engine: JoinSet<Result<(), Fatal>>,
}

impl Bench {
    pub async fn with(policy: Arc<Policy>) -> Bench {
        Bench::on(Memory::new(), FakeClock::at(MORNING), policy).await
    }

    pub async fn on(journal: Memory, clock: FakeClock, policy: Arc<Policy>) -> Bench {
        let (engine, handle) = start(options(Arc::new(journal.clone()), &clock, policy)).await.unwrap();
        let mut bench = Bench { clock, journal, handle, engine: JoinSet::new() };
        bench.run(engine);
        bench
    }

    pub fn run(&mut self, engine: Engine) {
        self.engine.spawn(engine.run());
    }

    /// Stops it; how it ended.
    pub async fn stop(&mut self) -> Result<(), Fatal> {
        self.handle.stop();
        self.engine.join_next().await.unwrap().unwrap()
    }

    pub async fn rows(&self) -> Vec<Row> {
        self.journal.rows(1, journal::PAGE_ROWS).await.unwrap()
    }

    pub async fn causes(&self) -> Vec<String> {
        self.rows().await.into_iter().map(|row| row.cause).collect()
    }
}

/// Lets everything that can run do so. Nothing here waits for real time.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Moves the clock from wait to wait until it is so.
pub(crate) async fn until(clock: &FakeClock, what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        settle().await;
        if is_so() {
            return;
        }
        if let Some(at) = clock.next_wait() {
            let now = clock.now();
            clock.advance(at - now);
        }
    }
    panic!("it never came to be that {what}");
}

/// A journal whose appends wait until they are let through.
#[derive(Clone)]
pub(crate) struct Gated {
    pub inner: Memory,
    pub open: watch::Sender<bool>,
    pub appends: Arc<Mutex<Vec<usize>>>,
}

impl Gated {
    pub fn new(inner: Memory) -> Gated {
        Gated { inner, open: watch::Sender::new(true), appends: Arc::default() }
    }
}

impl Journal for Gated {
    fn append<'a>(&'a self, rows: &'a [Row], inbox_ids: &'a [u64]) -> Answer<'a, (), AppendError> {
        Box::pin(async move {
            self.appends.lock().unwrap().push(rows.len());
            self.open.subscribe().wait_for(|open| *open).await.unwrap();
            self.inner.append(rows, inbox_ids).await
        })
    }

    fn head(&self) -> Answer<'_, Head> {
        self.inner.head()
    }

    fn extent(&self) -> Answer<'_, Option<Extent>> {
        self.inner.extent()
    }

    fn row(&self, seq: u64) -> Answer<'_, Option<Row>> {
        self.inner.row(seq)
    }

    fn rows(&self, from_seq: u64, limit: u64) -> Answer<'_, Vec<Row>> {
        self.inner.rows(from_seq, limit)
    }

    fn rows_of_incident(&self, incident: u64, from_seq: u64, limit: u64) -> Answer<'_, Vec<Row>> {
        self.inner.rows_of_incident(incident, from_seq, limit)
    }

    fn put_policy<'a>(&'a self, hash: Hash, text: &'a str) -> Answer<'a, ()> {
        self.inner.put_policy(hash, text)
    }

    fn policy(&self, hash: Hash) -> Answer<'_, Option<String>> {
        self.inner.policy(hash)
    }

    fn put_snapshot<'a>(&'a self, snapshot: &'a Snapshot) -> Answer<'a, ()> {
        self.inner.put_snapshot(snapshot)
    }

    fn latest_snapshot(&self, version: u64) -> Answer<'_, Option<Snapshot>> {
        self.inner.latest_snapshot(version)
    }

    fn snapshot(&self, seq: u64) -> Answer<'_, Option<Snapshot>> {
        self.inner.snapshot(seq)
    }

    fn snapshots(&self) -> Answer<'_, Vec<u64>> {
        self.inner.snapshots()
    }

    fn drop_snapshot(&self, seq: u64) -> Answer<'_, bool> {
        self.inner.drop_snapshot(seq)
    }

    fn put_evidence<'a>(&'a self, digest: Hash, body: &'a [u8], until: i64) -> Answer<'a, ()> {
        self.inner.put_evidence(digest, body, until)
    }

    fn evidence(&self, digest: Hash) -> Answer<'_, Option<Vec<u8>>> {
        self.inner.evidence(digest)
    }

    fn prune_evidence(&self, now: i64) -> Answer<'_, u64> {
        self.inner.prune_evidence(now)
    }

    fn push_inbox<'a>(&'a self, at: i64, body: &'a str) -> Answer<'a, u64> {
        self.inner.push_inbox(at, body)
    }

    fn inbox(&self, limit: u64) -> Answer<'_, Vec<InboxItem>> {
        self.inner.inbox(limit)
    }

    fn take_lead<'a>(&'a self, holder: &'a str, now: i64, until: i64) -> Answer<'a, Lead> {
        self.inner.take_lead(holder, now, until)
    }

    fn renew_lead<'a>(&'a self, holder: &'a str, epoch: u64, until: i64) -> Answer<'a, bool> {
        self.inner.renew_lead(holder, epoch, until)
    }

    fn release_lead<'a>(&'a self, holder: &'a str, epoch: u64) -> Answer<'a, ()> {
        self.inner.release_lead(holder, epoch)
    }

    fn prune(&self, up_to: u64) -> Answer<'_, u64> {
        self.inner.prune(up_to)
    }
}
