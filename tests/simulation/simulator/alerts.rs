//! Alerts of the model world: when they fire and end, and how Alertmanager tells of it: late, twice, or never.

use super::{
    model::{Happening, Model},
    policies,
};
use nightshift::model::{
    alert::{Alert, HOLD_LABEL, Source, Status},
    id::Fingerprint,
    time::{Micros, Span},
};
use std::collections::BTreeMap;

/// How often Alertmanager repeats itself.
pub const REPEAT: Span = Span::minutes(5);

/// One alert's truth.
pub struct Signal {
    pub rule: usize,
    /// Which pod, and which member of the set, it is about.
    pub place: u64,
    /// It asks to hold its page.
    pub asks: bool,
    pub firing_since: Option<Micros>,
    pub last_start: Micros,
    pub last_end: Micros,
    pub silenced_until: Micros,
    pub has_fired: bool,
}

impl Signal {
    pub fn new(rule: usize, place: u64, asks: bool) -> Signal {
        let zero = Micros(0);
        Signal {
            rule,
            place,
            asks,
            firing_since: None,
            last_start: zero,
            last_end: zero,
            silenced_until: zero,
            has_fired: false,
        }
    }

    fn pod(&self) -> String {
        format!("p{}", self.place)
    }

    pub fn print(&self) -> String {
        format!("a{}-{}", self.rule, self.pod())
    }

    /// Whether a fingerprint is its own, without a new text for every question.
    pub fn is(&self, print: &str) -> bool {
        let numbers = print.strip_prefix('a').and_then(|rest| rest.split_once("-p"));
        numbers.is_some_and(|(rule, place)| rule.parse() == Ok(self.rule) && place.parse() == Ok(self.place))
    }
}

pub fn alert_of(model: &Model, signal: usize, status: Status) -> Box<Alert> {
    let signal = &model.signals[signal];
    let member = policies::member(signal.place);
    let labels = [("alertname", format!("A{}", signal.rule)), ("pod", signal.pod()), ("member", member)];
    let asks = signal.asks.then(|| (HOLD_LABEL.to_owned(), "true".to_owned()));
    Box::new(Alert {
        source: Source::Alertmanager,
        sender: "alertmanager".to_owned(),
        fingerprint: Fingerprint::new(&signal.print()),
        status,
        starts_at: signal.last_start,
        ends_at: (status == Status::Resolved).then_some(signal.last_end),
        labels: labels.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(asks).collect(),
        annotations: BTreeMap::new(),
        url: String::new(),
        group_key: group_key(signal.rule),
        received_at: model.now(),
    })
}

/// One group for all pods of an alert; of some alerts nobody says which group they came in.
fn group_key(rule: usize) -> String {
    if rule % 3 == 2 { String::new() } else { format!("{{}}:{{alertname=\"A{rule}\"}}") }
}

pub fn fires(model: &mut Model, signal: usize, same_start: bool) {
    if model.is_calm || model.signals[signal].firing_since.is_some() {
        return;
    }
    let lag = model.random.seconds(0, 10);
    let fresh = Micros((model.now() - lag).0 / 1000 * 1000).max(model.signals[signal].last_end + Span::millis(1));
    let known = &mut model.signals[signal];
    let starts_at = if same_start && known.has_fired { known.last_start } else { fresh };
    known.has_fired = true;
    known.firing_since = Some(starts_at);
    known.last_start = starts_at;
    sends(model, signal, Status::Firing);
    model.later(REPEAT, Happening::Repeats { signal, starts_at });
}

pub fn ends(model: &mut Model, signal: usize) {
    let now = model.now();
    let known = &mut model.signals[signal];
    if known.firing_since.take().is_some() {
        known.last_end = Micros(now.0 / 1000 * 1000).max(known.last_start + Span::millis(1));
        sends(model, signal, Status::Resolved);
    }
}

/// From one Alertmanager or two, now and then late, and some resolves never.
fn sends(model: &mut Model, signal: usize, status: Status) {
    let alert = alert_of(model, signal, status);
    let never = !model.is_calm && model.random.chance(6);
    if !never {
        let after = model.random.seconds(0, 3);
        model.later(after, Happening::Delivers { alert: alert.clone(), tries: 0 });
    }
    if model.two_alertmanagers {
        let after = model.random.seconds(0, 10);
        model.later(after, Happening::Delivers { alert: alert.clone(), tries: 0 });
    }
    if !model.is_calm && model.random.chance(12) {
        let after = model.random.span(Span::seconds(1), Span::minutes(25));
        model.later(after, Happening::Delivers { alert, tries: 0 });
    }
}

/// Alertmanager says again what still fires.
pub fn repeats(model: &mut Model, signal: usize, starts_at: Micros) {
    if model.signals[signal].firing_since == Some(starts_at) {
        let alert = alert_of(model, signal, Status::Firing);
        model.later(Span::ZERO, Happening::Delivers { alert, tries: 0 });
        model.later(REPEAT, Happening::Repeats { signal, starts_at });
    }
}
