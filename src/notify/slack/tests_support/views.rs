//! Views as `decide::view` makes them, one for each state that people meet.

use crate::model::{
    id::{Fingerprint, IncidentId, StepId},
    letter::{Posted, PublicStatus},
    public::{ComponentStatus, PublicView},
    reason::Reason,
    time::{Micros, Span},
    view::{ALERTS_SHOWN, AlertView, ChildView, EvidenceView, IncidentView, PagerDutyView, StepView},
};
use std::collections::BTreeMap;

fn at(time: &str) -> Micros {
    Micros::parse(&format!("2026-03-01T{time}Z")).unwrap()
}

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn alert(pod: &str, state: &str, starts_at: Micros) -> AlertView {
    AlertView {
        fingerprint: Fingerprint::new("6cd90da8e8f10998"),
        state: state.to_owned(),
        doubtful: false,
        starts_at,
        rule: Some("web-overloaded".to_owned()),
        incident: Some(IncidentId(1042)),
        labels: strings([
            ("alertname", "WebOverloaded"),
            ("cluster", "eu-1"),
            ("namespace", "production"),
            ("deployment", "web"),
            ("pod", pod),
            ("team", "claims"),
        ]),
        annotations: strings([
            ("summary", "The web tier of claims is overloaded"),
            ("description", "p99 is 4.2 s & more than half of the workers are busy (limit < 1 s)."),
        ]),
        url: "https://prometheus.example/graph?g0.expr=busy%3E0.5&g0.tab=1".to_owned(),
    }
}

fn step(number: u32, phase: &str, says: &str) -> StepView {
    StepView {
        id: StepId { incident: IncidentId(1042), number },
        purpose: "fix".to_owned(),
        action: "kubernetes/scale".to_owned(),
        target: "production/Deployment/web".to_owned(),
        mode: "auto".to_owned(),
        phase: phase.to_owned(),
        wants: Some("replicas +2, lease 2h".to_owned()),
        summary: Some("replicas 4 → 6".to_owned()),
        undo_summary: Some("replicas 6 → 4".to_owned()),
        plan_hash: Some("ab12".to_owned()),
        approval_until: None,
        approved_by: None,
        held_until: None,
        planned_at: at("02:12:31"),
        started_at: None,
        ended_at: None,
        undo_until: None,
        lease_until: None,
        verify_by: None,
        reason: None,
        says: says.to_owned(),
        verdict: None,
        trace: Vec::new(),
        commands: Vec::new(),
    }
}

fn done(number: u32, phase: &str, says: &str) -> StepView {
    let id = format!("1042.{number}");
    StepView {
        started_at: Some(at("02:12:40")),
        undo_until: Some(at("03:12:41")),
        lease_until: Some(at("04:30:00")),
        commands: vec![
            format!("nightshift undo {id}"),
            format!("nightshift lease extend {id} 1h"),
            format!("nightshift lease end {id}"),
        ],
        ..step(number, phase, says)
    }
}

fn firing(ladder: &str, steps: Vec<StepView>) -> IncidentView {
    IncidentView {
        id: IncidentId(1042),
        rule: "web-overloaded".to_owned(),
        title: "The web tier of claims is overloaded".to_owned(),
        severity: "P1".to_owned(),
        rank: 1,
        ranks: 4,
        service: Some("claims".to_owned()),
        runbook: Some("https://runbooks.example/web?tab=scale&x=1".to_owned()),
        state: "open".to_owned(),
        opened_at: at("02:12:30"),
        resolved_at: None,
        quiet_until: None,
        acknowledged_by: None,
        acknowledged_at: None,
        lost_contact: false,
        firing: 2,
        resolved: 0,
        lost: 0,
        alerts: vec![alert("web-1", "firing", at("02:11:09")), alert("web-2", "firing", at("02:11:39"))],
        ladder: ladder.to_owned(),
        steps,
        evidence: Vec::new(),
        pages: 0,
        calls: Vec::new(),
        next_call: None,
        pagerduty_pages: Vec::new(),
        page_held_until: None,
        pagerduty: Vec::new(),
        page_keys: Vec::new(),
        posted: None,
        parent: None,
        children: Vec::new(),
        more_children: 0,
        impact: None,
        team: None,
        channel: None,
        update_every: None,
        public: None,
        note: None,
    }
}

fn calm(mut view: IncidentView) -> IncidentView {
    (view.firing, view.resolved) = (0, 2);
    view.alerts.iter_mut().for_each(|alert| alert.state = "resolved".to_owned());
    view
}

pub fn firing_shadow() -> IncidentView {
    let shadow = StepView {
        mode: "shadow".to_owned(),
        reason: Some(Reason::Shadow),
        ..step(1, "dropped", "would have done this; not measured (shadow)")
    };
    firing("shadow: it said what it would have done", vec![shadow])
}

pub fn waiting_for_approval() -> IncidentView {
    let asking = StepView {
        mode: "ask".to_owned(),
        approval_until: Some(at("02:42:31")),
        commands: vec!["nightshift approve 1042.1".to_owned(), "nightshift reject 1042.1".to_owned()],
        ..step(1, "asking", "waits for an approval until 03:42 CET")
    };
    firing("working on it: 0 of 2 rungs tried", vec![asking])
}

pub fn acting() -> IncidentView {
    let mut view = firing("working on it: 1 of 2 rungs tried", vec![step(1, "acting", "acting")]);
    view.steps[0].started_at = Some(at("02:12:40"));
    view.steps[0].approved_by = Some("ana".to_owned());
    view.acknowledged_by = Some("ana".to_owned());
    view
}

/// Nobody was woken yet.
pub fn held() -> IncidentView {
    let mut view = acting();
    view.acknowledged_by = None;
    view.page_held_until = Some(at("02:17:30"));
    view
}

pub fn helped() -> IncidentView {
    let helped = StepView { ended_at: Some(at("02:16:00")), ..done(1, "verified", "helped, verified") };
    let mut view = calm(firing("nightshift's step helped", vec![helped]));
    view.state = "monitoring".to_owned();
    view.quiet_until = Some(at("02:26:00"));
    view
}

pub fn did_not_help_and_undone() -> IncidentView {
    let mut first = done(1, "ineffective", "did not help: the alert still fires");
    (first.undo_until, first.lease_until) = (None, None);
    first.commands.clear();
    let undo = StepView {
        purpose: "undo of 1042.1".to_owned(),
        summary: Some("replicas 6 → 4".to_owned()),
        undo_summary: None,
        started_at: Some(at("02:20:00")),
        ..step(2, "verified", "helped, verified")
    };
    let mut view = firing("every step was tried: over to people", vec![first, undo]);
    view.pages = 1;
    view
}

pub fn handed_over() -> IncidentView {
    let mut unknown = step(1, "unknown", "its outcome is unknown: no answer in time");
    unknown.started_at = Some(at("02:12:40"));
    let mut view = firing("over to people: its outcome is unknown: no answer in time", vec![unknown]);
    view.pages = 1;
    view.evidence = vec![EvidenceView {
        collector: "kubernetes/logs".to_owned(),
        target: "production/Deployment/web".to_owned(),
        at: at("02:12:35"),
        digest: None,
        summary: "500 lines of 2 pods; the last: panic: too many open files".to_owned(),
    }];
    view
}

pub fn monitoring() -> IncidentView {
    let mut view = calm(firing("the alert resolved before anything had to be done", Vec::new()));
    view.state = "monitoring".to_owned();
    view.quiet_until = Some(at("02:26:00"));
    view
}

pub fn resolved() -> IncidentView {
    let mut view = helped();
    view.state = "resolved".to_owned();
    view.quiet_until = None;
    view.resolved_at = Some(at("02:26:00"));
    view.steps[0].lease_until = None;
    view.steps[0].commands.truncate(1);
    view
}

pub fn reopened() -> IncidentView {
    let first = done(1, "verified", "helped, verified");
    let again = step(2, "holding", "held: cooling down until 2026-03-01 03:31:00 CET");
    firing("working on it: 1 of 2 rungs tried", vec![first, again])
}

pub fn lost_contact() -> IncidentView {
    let mut view = firing("over to people: contact with the alert's source is lost", Vec::new());
    (view.firing, view.lost, view.lost_contact) = (0, 2, true);
    view.alerts.iter_mut().for_each(|alert| alert.state = "lost".to_owned());
    view
}

/// Two more incidents of its service: one waits for an approval, one is over.
pub fn with_children() -> IncidentView {
    let (mut view, asks) = (monitoring(), waiting_for_approval());
    let mut steps = asks.steps.clone();
    for step in &mut steps {
        step.id.incident = IncidentId(1043);
    }
    let child = |id: u64, state: &str, firing, steps| ChildView {
        id: IncidentId(id),
        title: "The API is slow".to_owned(),
        severity: "P1".to_owned(),
        state: state.to_owned(),
        firing,
        lost_contact: false,
        ladder: "working on it: 0 of 1 rung tried".to_owned(),
        steps,
    };
    view.children = vec![child(1044, "resolved", 0, Vec::new()), child(1043, "open", 2, steps)];
    view.more_children = 3;
    view
}

/// As those who follow it read it in its own channel.
pub fn followed() -> IncidentView {
    let mut view = acting();
    view.impact = Some("users cannot submit claims <!here>".to_owned());
    view.team = Some("platform-team".to_owned());
    view.acknowledged_by = None;
    view.posted = Some(Posted { channel: "C0INCIDENTS".to_owned(), ts: "1772330000.000001".to_owned() });
    view.channel = Some(Posted { channel: "C0INCIDENT1042".to_owned(), ts: "1772330000.000009".to_owned() });
    view.update_every = Some(Span::minutes(15));
    view
}

/// The text in every place where somebody else's words may stand.
pub fn everywhere(text: &str, alerts: usize, steps: usize) -> IncidentView {
    let mut view = handed_over();
    let all = || Some(text.to_owned());
    for place in [&mut view.rule, &mut view.title, &mut view.severity, &mut view.state, &mut view.ladder] {
        *place = text.to_owned();
    }
    (view.service, view.runbook, view.acknowledged_by) = (all(), all(), all());
    let mut hostile = alert(text, text, Micros(i64::MAX));
    hostile.url = text.to_owned();
    for name in ["namespace", "cluster", text, "a\nb"] {
        hostile.labels.insert(name.to_owned(), text.to_owned());
        hostile.annotations.insert(name.to_owned(), text.to_owned());
    }
    hostile.annotations.insert("description".to_owned(), text.to_owned());
    view.alerts = vec![hostile.clone(); alerts.min(ALERTS_SHOWN)];
    for (at, alert) in view.alerts.iter_mut().enumerate() {
        alert.labels.insert("pod".to_owned(), format!("{text}{at}"));
        alert.starts_at = at_start(at);
    }
    let mut step = done(1, text, text);
    for place in [&mut step.purpose, &mut step.action, &mut step.target, &mut step.mode] {
        *place = text.to_owned();
    }
    (step.summary, step.undo_summary, step.approved_by) = (all(), all(), all());
    step.commands = vec![text.to_owned(); 8];
    let child = ChildView {
        id: IncidentId(1043),
        title: text.to_owned(),
        severity: text.to_owned(),
        state: text.to_owned(),
        firing: 1,
        lost_contact: false,
        ladder: text.to_owned(),
        steps: vec![step.clone(); steps.min(2)],
    };
    view.children = vec![child; steps.min(10)];
    (view.impact, view.team) = (all(), all());
    view.posted = Some(Posted { channel: text.to_owned(), ts: text.to_owned() });
    view.channel = view.posted.clone();
    view.pagerduty = vec![PagerDutyView { id: text.to_owned(), number: Some(1), url: text.to_owned(), has_key: false }];
    view.public = Some(public(text, alerts % 2 == 1));
    view.steps = vec![step; steps];
    view.evidence[0].collector = text.to_owned();
    view.evidence[0].target = text.to_owned();
    view.evidence[0].summary = text.to_owned();
    view.evidence = vec![view.evidence[0].clone(); steps];
    (view.firing, view.resolved, view.lost, view.pages) = (u32::MAX, u32::MAX, u32::MAX, u32::MAX);
    view
}

/// Customers' words, that wait or are out.
pub fn public(text: &str, waits: bool) -> PublicView {
    PublicView {
        component: text.to_owned(),
        incident: IncidentId(1042),
        status: PublicStatus::Investigating,
        shows: ComponentStatus::PartialOutage,
        waits,
        published_by: Some(text.to_owned()),
        told: None,
        title: text.to_owned(),
        sentence: text.to_owned(),
    }
}

fn at_start(number: usize) -> Micros {
    at("02:00:00") + Span::seconds(i64::try_from(number).unwrap())
}
