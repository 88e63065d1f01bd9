//! The numbers of `/metrics`: which there are, and the only ways to change them.
//!
//! Every series exists from the start, at zero, so that an alert on a rate sees the first event. Label values come
//! from closed lists ([`super::labels`], and those given to [`Metrics::new`]); a word outside of its list counts as
//! `other`. The numbers are for people and alerts about nightshift: no decision reads them.

use super::{
    closed::{Closed, Make, OTHER, open, plain_format},
    labels::{
        AlertOutcome, Answer, IncidentState, Lane, LetterFailure, Listener, Receiver, Restraint, SlackSocket, Source,
        StepOutcome, Verdict,
    },
};
use crate::model::time::{Micros, Span};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

/// What [`Metrics::encode`] writes: Prometheus' own text format, which `promtool check metrics` reads too.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// From half a millisecond (a commit to memory) to ten seconds (a call that timed out).
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Letters wait for rate limits and for peers that are down: from a tenth of a second to an hour.
const LAG_SECONDS: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0];
/// Inputs of one batch; the engine takes 256 at most.
const BATCH: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The lists that other modules own: their words become label values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Words {
    /// `kubernetes/scale`, ….
    pub actions: &'static [&'static str],
    /// The guards' names, as `why` shows them.
    pub guards: &'static [&'static str],
    /// The tags of `Input`.
    pub inputs: &'static [&'static str],
    /// The names of background tasks.
    pub tasks: &'static [&'static str],
}

type FloatGauge = Gauge<f64, AtomicU64>;

/// All of nightshift's metrics. A clone is the same metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    all: Arc<All>,
}

#[derive(Debug)]
struct All {
    registry: Registry,
    webhooks: Closed<Counter, 2>,
    alerts: Closed<Counter, 1>,
    truncated: Counter,
    lanes: Closed<Gauge, 1>,
    batch_inputs: Histogram,
    commit_seconds: Histogram,
    journal_up: Gauge,
    journal_head_seq: Gauge,
    journal_errors: Counter,
    inputs: Closed<Counter, 1>,
    /// Severities are the policy's names: this list changes with a reload, and only then.
    incidents: Family<Vec<(&'static str, String)>, Gauge>,
    severities: Mutex<Vec<String>>,
    steps: Closed<Counter, 2>,
    guards: Closed<Counter, 2>,
    sessions_killed: Counter,
    queries_cancelled: Counter,
    in_flight: Gauge,
    call_seconds: Closed<Histogram, 1>,
    approvals_waiting: Gauge,
    leases_active: Gauge,
    disarmed: Gauge,
    brakes_on: Gauge,
    paused: Gauge,
    settling: Gauge,
    may_act: Gauge,
    restraints: Closed<Gauge, 1>,
    pages: Counter,
    pages_spared: Counter,
    pages_held: Gauge,
    letters_owed: Closed<Gauge, 1>,
    letters_sent: Closed<Counter, 1>,
    letters_failed: Closed<Counter, 2>,
    letter_delivery_seconds: Closed<Histogram, 1>,
    letter_oldest_seconds: FloatGauge,
    receiver_refuses: Closed<Gauge, 1>,
    settings_waiting: Gauge,
    rules: Family<Vec<(&'static str, String)>, Gauge>,
    rules_loaded: Gauge,
    rules_reload_successful: Gauge,
    rules_reload_success_at: FloatGauge,
    panics: Closed<Counter, 1>,
    connections: Closed<Gauge, 1>,
    slack_socket: Closed<Gauge, 1>,
    heartbeat: FloatGauge,
}

impl Metrics {
    /// Registers everything and sets every series to zero. `started` is the process' start.
    #[must_use]
    pub fn new(version: &str, started: Micros, words: Words) -> Metrics {
        let mut make = Make { registry: Registry::with_prefix("nightshift") };
        let build: Family<Vec<(&'static str, String)>, Gauge> = Family::default();
        build.get_or_create(&vec![("version", version.to_owned())]).set(1);
        make.add("build_info", "The version of this process", build);
        let start: FloatGauge = make.plain("start_time_seconds", "When this process started, since 1970");
        start.set(seconds_since_1970(started));
        let incidents = Family::default();
        make.add("incidents", "Incidents that are not over, by severity and state", incidents.clone());
        let rules = Family::default();
        make.add("rules_info", "The rules in force", rules.clone());
        let all = All {
            webhooks: make.closed(
                "webhooks",
                "Webhooks by source and answer",
                [("source", Source::WORDS.to_vec()), ("answer", Answer::WORDS.to_vec())],
            ),
            alerts: make.closed(
                "alerts",
                "Alerts of accepted webhooks by what they turned out to be",
                [("outcome", AlertOutcome::WORDS.to_vec())],
            ),
            truncated: make.plain("alerts_truncated", "Alerts that webhooks left out because of `max_alerts`"),
            lanes: make.closed(
                "queue_depth",
                "Inputs that wait for the engine, by lane",
                [("lane", Lane::WORDS.to_vec())],
            ),
            batch_inputs: make.histogram("engine_batch_inputs", "Inputs of one batch", &BATCH),
            commit_seconds: make.histogram("journal_commit_seconds", "Time of one commit of the journal", &SECONDS),
            journal_up: make.plain("journal_up", "1 while the journal takes entries"),
            journal_head_seq: make.plain("journal_head_seq", "The seq of the journal's last entry"),
            journal_errors: make.plain("journal_errors", "Commits that failed"),
            inputs: make.closed("inputs", "Inputs that the engine decided, by kind", [("kind", open(words.inputs))]),
            incidents,
            severities: Mutex::new(Vec::new()),
            steps: make.closed(
                "steps",
                "Steps that ended, by action and outcome",
                [("action", open(words.actions)), ("outcome", StepOutcome::WORDS.to_vec())],
            ),
            sessions_killed: make.plain("sessions_killed", "Sessions of databases that steps ended"),
            queries_cancelled: make.plain("queries_cancelled", "Queries that steps cancelled in sessions that live on"),
            guards: make.closed(
                "guard_verdicts",
                "What guards said, by guard and verdict",
                [("guard", open(words.guards)), ("verdict", Verdict::WORDS.to_vec())],
            ),
            in_flight: make.plain("actions_in_flight", "Calls of actions that have not come back"),
            call_seconds: make.closed_with(
                "action_call_seconds",
                "Time of one call of an action",
                [("action", open(words.actions))],
                || Histogram::new(SECONDS),
            ),
            approvals_waiting: make.plain("approvals_waiting", "Steps that wait for an approval"),
            leases_active: make.plain("leases_active", "Leases that have not ended"),
            disarmed: make.plain("disarmed", "Rules, and rules for one target, that wait to be rearmed"),
            brakes_on: make.plain("brakes_on", "Sets on which the brake is on; everything counts as one"),
            paused: make.plain("paused", "1 while acting is paused"),
            settling: make.plain("settling", "1 while a start has not settled"),
            may_act: make.plain("may_act", "1 while steps may act"),
            restraints: make.closed(
                "restraint",
                "1 for each reason why steps may not act",
                [("reason", Restraint::WORDS.to_vec())],
            ),
            pages: make.plain("pages", "Times that people were paged"),
            pages_spared: make.plain("pages_spared", "Pages that were held and then not sent"),
            pages_held: make.plain("pages_held", "Pages that are held until nightshift knows whether it helped"),
            letters_owed: make.closed(
                "letters_owed",
                "Letters not yet delivered, by receiver",
                [("receiver", Receiver::WORDS.to_vec())],
            ),
            letters_sent: make.closed(
                "letters_sent",
                "Letters delivered, by receiver",
                [("receiver", Receiver::WORDS.to_vec())],
            ),
            receiver_refuses: make.closed(
                "receiver_refuses",
                "What a receiver refuses until somebody sets it right: a token, keys, channels",
                [("receiver", Receiver::WORDS.to_vec())],
            ),
            settings_waiting: make
                .plain("settings_waiting", "Keys of the settings that changed and wait for a restart"),
            letters_failed: make.closed(
                "letters_failed",
                "Deliveries that failed, by receiver and reason",
                [("receiver", Receiver::WORDS.to_vec()), ("reason", LetterFailure::WORDS.to_vec())],
            ),
            letter_delivery_seconds: make.closed_with(
                "letter_delivery_seconds",
                "Time from owing a letter to its delivery",
                [("receiver", Receiver::WORDS.to_vec())],
                || Histogram::new(LAG_SECONDS),
            ),
            letter_oldest_seconds: make.plain("letter_oldest_seconds", "Age of the oldest letter not yet delivered"),
            rules,
            rules_loaded: make.plain("rules_loaded", "Rules in force"),
            rules_reload_successful: make.plain("rules_last_reload_successful", "1 if the last reload was taken"),
            rules_reload_success_at: make
                .plain("rules_last_reload_success_timestamp_seconds", "When rules were last taken, since 1970"),
            panics: make.closed("panics", "Panics that were caught, by task", [("task", open(words.tasks))]),
            connections: make.closed(
                "http_connections",
                "Open connections, by listener",
                [("listener", Listener::WORDS.to_vec())],
            ),
            slack_socket: make.closed(
                "slack_socket",
                "1 for what Slack's Socket Mode is now",
                [("state", SlackSocket::WORDS.to_vec())],
            ),
            heartbeat: make.plain("engine_heartbeat_timestamp_seconds", "When the engine last went round, since 1970"),
            registry: make.registry,
        };
        let metrics = Metrics { all: Arc::new(all) };
        metrics.set_slack_socket(SlackSocket::Off);
        metrics
    }

    // Intake.

    pub fn webhook_answered(&self, source: Source, answer: Answer) {
        self.all.webhooks.of([source.word(), answer.word()]).inc();
    }
    pub fn alert_seen(&self, outcome: AlertOutcome) {
        self.all.alerts.of([outcome.word()]).inc();
    }
    /// A webhook said that it left out this many alerts: nothing is known about them.
    pub fn alerts_truncated(&self, alerts: u64) {
        self.all.truncated.inc_by(alerts);
    }
    pub fn set_connections(&self, listener: Listener, open: u64) {
        self.all.connections.of([listener.word()]).set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub fn set_slack_socket(&self, state: SlackSocket) {
        for word in SlackSocket::WORDS {
            self.all.slack_socket.of([word]).set(i64::from(*word == state.word()));
        }
    }

    // Engine and journal.

    pub fn set_queue_depth(&self, lane: Lane, inputs: usize) {
        self.all.lanes.of([lane.word()]).set(whole(inputs));
    }
    pub fn batch_committed(&self, inputs: usize, took: Span, head_seq: u64) {
        self.all.batch_inputs.observe(whole(inputs) as f64);
        self.all.commit_seconds.observe(seconds(took));
        self.all.journal_head_seq.set(i64::try_from(head_seq).unwrap_or(i64::MAX));
        self.all.journal_up.set(1);
    }
    pub fn commit_failed(&self) {
        self.all.journal_errors.inc();
        self.all.journal_up.set(0);
    }
    /// After opening the journal, before the first commit.
    pub fn journal_opened(&self, head_seq: u64) {
        self.all.journal_head_seq.set(i64::try_from(head_seq).unwrap_or(i64::MAX));
        self.all.journal_up.set(1);
    }
    pub fn input_decided(&self, kind: &'static str) {
        self.all.inputs.of([kind]).inc();
    }
    pub fn engine_alive(&self, now: Micros) {
        self.all.heartbeat.set(seconds_since_1970(now));
    }
    pub fn panic_caught(&self, task: &'static str) {
        self.all.panics.of([task]).inc();
    }

    // Incidents, steps, guards.

    /// Counts of incidents by severity name and state; what is not named is 0. A severity that the policy no longer
    /// has counts as `other`.
    pub fn set_incidents(&self, counts: &BTreeMap<(String, IncidentState), usize>) {
        let severities = self.all.severities.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums: BTreeMap<(&str, &'static str), usize> = BTreeMap::new();
        for severity in severities.iter().map(String::as_str).chain([OTHER]) {
            for state in IncidentState::WORDS {
                sums.insert((severity, state), 0);
            }
        }
        for ((severity, state), count) in counts {
            let name = severities.iter().find(|known| *known == severity).map_or(OTHER, String::as_str);
            *sums.entry((name, state.word())).or_default() += count;
        }
        for ((severity, state), count) in sums {
            let labels = vec![("severity", severity.to_owned()), ("state", state.to_owned())];
            self.all.incidents.get_or_create(&labels).set(whole(count));
        }
    }
    pub fn step_ended(&self, action: &'static str, outcome: StepOutcome) {
        self.all.steps.of([action, outcome.word()]).inc();
    }
    pub fn sessions_ended(&self, sessions: u32, queries: u32) {
        self.all.sessions_killed.inc_by(u64::from(sessions));
        self.all.queries_cancelled.inc_by(u64::from(queries));
    }
    pub fn guard_said(&self, guard: &'static str, verdict: Verdict) {
        self.all.guards.of([guard, verdict.word()]).inc();
    }
    pub fn call_began(&self) {
        self.all.in_flight.inc();
    }
    pub fn call_ended(&self, action: &'static str, took: Span) {
        self.all.in_flight.dec();
        self.all.call_seconds.of([action]).observe(seconds(took));
    }
    pub fn set_approvals_waiting(&self, steps: usize) {
        self.all.approvals_waiting.set(whole(steps));
    }
    pub fn set_disarmed(&self, disarmed: usize) {
        self.all.disarmed.set(whole(disarmed));
    }

    pub fn set_brakes_on(&self, brakes: usize) {
        self.all.brakes_on.set(whole(brakes));
    }

    pub fn set_leases_active(&self, leases: usize) {
        self.all.leases_active.set(whole(leases));
    }
    /// Why steps may not act now; empty: they may.
    pub fn set_restraints(&self, reasons: &[Restraint]) {
        let is = |reason: Restraint| i64::from(reasons.contains(&reason));
        self.all.may_act.set(i64::from(reasons.is_empty()));
        self.all.paused.set(is(Restraint::Paused));
        self.all.settling.set(is(Restraint::Settling));
        for word in Restraint::WORDS {
            let set = reasons.iter().any(|reason| reason.word() == *word);
            self.all.restraints.of([word]).set(i64::from(set));
        }
    }

    // People.

    pub fn paged(&self) {
        self.all.pages.inc();
    }
    pub fn page_spared(&self) {
        self.all.pages_spared.inc();
    }
    pub fn set_pages_held(&self, pages: usize) {
        self.all.pages_held.set(whole(pages));
    }
    pub fn set_letters_owed(&self, receiver: Receiver, letters: usize) {
        self.all.letters_owed.of([receiver.word()]).set(whole(letters));
    }
    pub fn set_receiver_refuses(&self, receiver: Receiver, refused: usize) {
        self.all.receiver_refuses.of([receiver.word()]).set(whole(refused));
    }
    pub fn set_settings_waiting(&self, keys: usize) {
        self.all.settings_waiting.set(whole(keys));
    }
    /// `None`: no letter is owed.
    pub fn set_oldest_letter(&self, age: Option<Span>) {
        self.all.letter_oldest_seconds.set(age.map_or(0.0, seconds));
    }
    pub fn letter_sent(&self, receiver: Receiver, lag: Span) {
        self.all.letters_sent.of([receiver.word()]).inc();
        self.all.letter_delivery_seconds.of([receiver.word()]).observe(seconds(lag));
    }
    pub fn letter_failed(&self, receiver: Receiver, reason: LetterFailure) {
        self.all.letters_failed.of([receiver.word(), reason.word()]).inc();
    }

    // Rules.

    /// Rules were taken: at start, or by a reload. `severities` are the policy's names, and the only ones that
    /// `nightshift_incidents` will have.
    pub fn rules_taken(&self, now: Micros, hash: &str, rules: usize, severities: &[String]) {
        self.all.rules.clear();
        self.all.rules.get_or_create(&vec![("hash", hash.to_owned())]).set(1);
        self.all.rules_loaded.set(whole(rules));
        self.all.rules_reload_successful.set(1);
        self.all.rules_reload_success_at.set(seconds_since_1970(now));
        let mut known = self.all.severities.lock().unwrap_or_else(PoisonError::into_inner);
        *known = severities.to_vec();
        drop(known);
        self.all.incidents.clear();
        self.set_incidents(&BTreeMap::new());
    }
    /// Rules were refused; the old ones stay in force.
    pub fn rules_refused(&self) {
        self.all.rules_reload_successful.set(0);
    }

    /// All of it in Prometheus' text format, of type [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut open_metrics = String::new();
        // Writing to a String does not fail; a metric that can't be written would be a bug seen by the tests.
        let _ = encode(&mut open_metrics, &self.all.registry);
        plain_format(&open_metrics)
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(span: Span) -> f64 {
    span.0.max(0) as f64 / 1_000_000.0
}

fn seconds_since_1970(at: Micros) -> f64 {
    at.0 as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    fn metrics() -> Metrics {
        let words = Words {
            actions: &["kubernetes/scale", "noop"],
            guards: &["mode", "cooldown"],
            inputs: &["alert", "wake"],
            tasks: &["driver"],
        };
        Metrics::new("0.1.0", Micros(1_700_000_000_000_000), words)
    }

    fn used() -> Metrics {
        let metrics = metrics();
        metrics.rules_taken(Micros(1_700_000_000_000_000), "abc123", 7, &["P0".to_owned(), "P1 \"odd\"".to_owned()]);
        metrics.webhook_answered(Source::Alertmanager, Answer::Accepted);
        metrics.batch_committed(17, Span::millis(3), 42);
        metrics.call_began();
        metrics.call_ended("noop", Span::seconds(2));
        metrics.letter_sent(Receiver::Slack, Span::seconds(4));
        metrics.set_restraints(&[Restraint::Paused]);
        metrics
    }

    fn value(text: &str, series: &str) -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn promtool_finds_nothing_to_say() {
        if std::env::vars().any(|(name, value)| name == "NIGHTSHIFT_TESTS" && value == "hermetic") {
            eprintln!("skipped: NIGHTSHIFT_TESTS=hermetic");
            return;
        }
        for metrics in [metrics(), used()] {
            let mut promtool = Command::new("promtool")
                .args(["check", "metrics"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("promtool (Debian's package prometheus) is needed for this test");
            promtool.stdin.take().unwrap().write_all(metrics.encode().as_bytes()).unwrap();
            let output = promtool.wait_with_output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
        }
    }

    #[test]
    fn every_series_is_there_from_the_start() {
        let text = metrics().encode();
        for series in [
            "nightshift_webhooks_total{source=\"alertmanager\",answer=\"overloaded\"}",
            "nightshift_steps_total{action=\"kubernetes/scale\",outcome=\"would_have\"}",
            "nightshift_steps_total{action=\"other\",outcome=\"failed\"}",
            "nightshift_guard_verdicts_total{guard=\"cooldown\",verdict=\"hold\"}",
            "nightshift_letters_failed_total{receiver=\"slack\",reason=\"rate_limited\"}",
            "nightshift_action_call_seconds_count{action=\"noop\"}",
            "nightshift_journal_errors_total",
            "nightshift_panics_total{task=\"driver\"}",
        ] {
            assert_eq!(value(&text, series), Some(0.0), "{series}\n{text}");
        }
        assert_eq!(value(&text, "nightshift_build_info{version=\"0.1.0\"}"), Some(1.0));
        assert_eq!(value(&text, "nightshift_start_time_seconds"), Some(1_700_000_000.0));
    }

    #[test]
    fn use_adds_no_series_but_those_of_the_policy() {
        let count = |metrics: &Metrics| metrics.encode().lines().filter(|line| !line.starts_with('#')).count();
        let metrics = metrics();
        metrics.rules_taken(Micros(0), "a", 1, &["P0".to_owned()]);
        let before = count(&metrics);
        metrics.step_ended("made/up", StepOutcome::Failed);
        metrics.input_decided("unheard");
        metrics.rules_taken(Micros(0), "b", 1, &["P1".to_owned()]);
        metrics.set_incidents(&BTreeMap::from([(("gone".to_owned(), IncidentState::Open), 3)]));
        assert_eq!(count(&metrics), before);
        let text = metrics.encode();
        assert_eq!(value(&text, "nightshift_steps_total{action=\"other\",outcome=\"failed\"}"), Some(1.0));
        assert_eq!(value(&text, "nightshift_incidents{severity=\"other\",state=\"open\"}"), Some(3.0));
        assert_eq!(value(&text, "nightshift_rules_info{hash=\"b\"}"), Some(1.0));
        assert!(!text.contains("severity=\"P0\""), "{text}");
    }

    #[test]
    fn a_pause_is_seen_in_all_three_places_and_ends_in_all_three() {
        let metrics = used();
        let text = metrics.encode();
        assert_eq!(value(&text, "nightshift_paused"), Some(1.0));
        assert_eq!(value(&text, "nightshift_may_act"), Some(0.0));
        assert_eq!(value(&text, "nightshift_restraint{reason=\"paused\"}"), Some(1.0));
        metrics.set_restraints(&[]);
        let text = metrics.encode();
        assert_eq!(value(&text, "nightshift_paused"), Some(0.0));
        assert_eq!(value(&text, "nightshift_may_act"), Some(1.0));
        assert_eq!(value(&text, "nightshift_restraint{reason=\"paused\"}"), Some(0.0));
    }

    #[test]
    fn slacks_socket_is_in_one_state_at_a_time() {
        let metrics = used();
        for (state, off, connected) in [(SlackSocket::Connected, 0.0, 1.0), (SlackSocket::Off, 1.0, 0.0)] {
            metrics.set_slack_socket(state);
            let text = metrics.encode();
            assert_eq!(value(&text, "nightshift_slack_socket{state=\"off\"}"), Some(off));
            assert_eq!(value(&text, "nightshift_slack_socket{state=\"connected\"}"), Some(connected));
        }
    }

    #[test]
    fn a_clone_counts_into_the_same_metrics() {
        let metrics = used();
        metrics.clone().paged();
        assert_eq!(value(&metrics.encode(), "nightshift_pages_total"), Some(1.0));
        assert_eq!(value(&metrics.encode(), "nightshift_journal_head_seq"), Some(42.0));
        assert_eq!(value(&metrics.encode(), "nightshift_actions_in_flight"), Some(0.0));
    }
}
