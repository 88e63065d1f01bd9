//! What people and scripts read. Every list is bounded and has a next page; every question to the engine is short.

use super::{
    AdminState,
    answer::NotDone,
    list,
    routes::Asked,
    shapes::{
        AlertWhy, Alerts, EntryLine, Incident, IncidentCount, IncidentLine, Incidents, Journal, Paused, RULES_TRIED,
        RuleLine, RuleTried, Rules, SlackSocket, StateStatus, Status,
    },
    trace,
};
use crate::{
    decide::{Policy, policy::Rule, view::effective_mode},
    engine::Seen,
    model::{
        alert::Labels,
        id::{Fingerprint, IncidentId},
        time::Micros,
        view::IncidentView,
    },
    telemetry::{labels::Restraint, metrics, observer},
};
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

const PAGE: usize = 50;
const LONGEST_PAGE: usize = 200;
/// Incidents looked at for one page: a filter that fits few of many goes on in the next.
const LOOKED_AT: usize = 1_000;
/// Bytes of entries in one page, the last entry's excess aside.
const JOURNAL_PAGE_BYTES: usize = 2 * 1024 * 1024;

pub(super) fn front() -> Response {
    (StatusCode::OK, "nightshift\nstatus: /api/v1/status\nmetrics: /metrics\n").into_response()
}

pub(super) fn metrics(state: &AdminState) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.encode()).into_response()
}

/// It still decides. What ended must be restarted.
pub(super) fn healthy(state: &AdminState) -> Response {
    if state.engine.health().ended {
        return (StatusCode::SERVICE_UNAVAILABLE, "the engine has ended\n").into_response();
    }
    (StatusCode::OK, "healthy\n").into_response()
}

/// It can store a webhook. Whether it may act is another question.
pub(super) fn ready(state: &AdminState) -> Response {
    let health = state.engine.health();
    let not = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    match (health.ended, health.journal_down) {
        (true, _) => not("not ready: the engine has ended\n"),
        (false, true) => not("not ready: the journal cannot be written\n"),
        (false, false) => (StatusCode::OK, "ready\n").into_response(),
    }
}

pub(super) async fn status(state: &AdminState) -> Result<Response, NotDone> {
    let asked = state.engine.read(|seen| (observer::restraints(seen), state_status(seen), seen.policy.zone.clone()));
    let (mut restraints, known, zone) = match asked.await {
        Ok((restraints, known, zone)) => (restraints, Some(known), zone),
        Err(_) => (Vec::new(), None, jiff::tz::TimeZone::UTC),
    };
    let health = state.engine.health();
    if state.engine.pause_flag().is_set() && !restraints.contains(&Restraint::Paused) {
        restraints.push(Restraint::Paused);
    }
    if health.journal_down {
        restraints.push(Restraint::Journal);
    }
    let mut status = Status {
        facts: (*state.facts).clone(),
        now: state.engine.clock().now(),
        ready: !health.journal_down && !health.ended,
        journal_up: !health.journal_down,
        head_seq: health.seq,
        slack_socket: state.slack_socket.as_ref().map(|board| {
            let shown = board.shown();
            SlackSocket { state: shown.state.word().to_owned(), reason: shown.reason.to_owned(), since: shown.since }
        }),
        restraints: restraints.into_iter().map(|restraint| restraint.word().to_owned()).collect(),
        attention: state.notices.lines(),
        state: known,
        text: String::new(),
    };
    status.text = list::status(&status, &zone);
    Ok(Json(status).into_response())
}

fn state_status(seen: &Seen<'_>) -> StateStatus {
    let counts = seen.state.counts();
    StateStatus {
        mode: seen.policy.spec.mode.word().to_owned(),
        policy: seen.policy.hash.clone(),
        rules: seen.policy.spec.rules.len(),
        timezone: seen.policy.spec.timezone.clone(),
        starts: seen.state.epoch(),
        paused: seen.state.paused().map(|paused| Paused {
            by: paused.by.clone(),
            reason: paused.reason.clone(),
            since: paused.since,
        }),
        settling_until: seen.state.settling_until().filter(|until| *until > seen.now),
        incidents: counts
            .incidents
            .iter()
            .map(|((severity, state), count)| IncidentCount {
                severity: severity.clone(),
                state: (*state).to_owned(),
                count: *count,
            })
            .collect(),
        alerts_known: counts.alerts_known,
        acting: counts.acting,
        asking: counts.asking,
        holding: counts.holding,
        leases: counts.leases,
        disarmed: counts.disarmed,
        braked: counts.braked,
        letters_owed: counts.letters_owed,
    }
}

pub(super) async fn incidents(state: &AdminState, asked: &Asked) -> Result<Response, NotDone> {
    asked.only(&["state", "before", "limit"])?;
    let limit = asked.limit(PAGE, LONGEST_PAGE)?;
    let before = asked.number("before")?.map(IncidentId);
    let wanted = asked.query.get("state").cloned();
    if let Some(word) = &wanted
        && !["open", "monitoring", "resolved", "all"].contains(&word.as_str())
    {
        return Err(NotDone::bad(format!("{word:?} is no state")).hint("open, monitoring, resolved or all"));
    }
    let fits = move |state: &str| match wanted.as_deref() {
        None => state != "resolved",
        Some("all") => true,
        Some(word) => state == word,
    };
    let page = state.engine.read(move |seen| {
        let ids = seen.state.incident_ids();
        let mut incidents = Vec::new();
        let mut next = None;
        let mut last = None;
        for (looked, id) in ids.into_iter().filter(|id| before.is_none_or(|before| *id < before)).enumerate() {
            if incidents.len() == limit || looked == LOOKED_AT {
                next = last;
                break;
            }
            last = Some(id);
            let Some(view) = seen.state.incident_view(seen.policy, id, seen.now) else { continue };
            if fits(&view.state) {
                incidents.push(line_of(view));
            }
        }
        let timezone = seen.policy.spec.timezone.clone();
        let text = list::incidents(&incidents, &seen.policy.zone);
        Incidents { timezone, incidents, next, text }
    });
    Ok(Json(page.await?).into_response())
}

fn line_of(view: IncidentView) -> IncidentLine {
    IncidentLine {
        id: view.id,
        severity: view.severity,
        state: view.state,
        acknowledged_by: view.acknowledged_by,
        opened_at: view.opened_at,
        rule: view.rule,
        title: view.title,
        firing: view.firing,
        ladder: view.ladder,
        parent: view.parent,
        children: view.children.iter().map(|child| child.id).collect(),
    }
}

/// `with_guards`: the decision trace, guard by guard.
pub(super) async fn incident(state: &AdminState, asked: &Asked, with_guards: bool) -> Result<Response, NotDone> {
    let id: IncidentId = asked.param("id")?;
    let found = state.engine.read(move |seen| {
        let view = seen.state.incident_view(seen.policy, id, seen.now)?;
        let text = trace::incident(&view, &seen.policy.zone, with_guards);
        Some(Incident { view, text })
    });
    match found.await? {
        Some(incident) => Ok(Json(incident).into_response()),
        None => Err(NotDone::unknown(format!("there is no incident {id}"))
            .hint("one that has been resolved for long is only in the journal: /api/v1/journal?incident=ID")),
    }
}

pub(super) async fn alerts(state: &AdminState, asked: &Asked) -> Result<Response, NotDone> {
    asked.only(&["after", "limit"])?;
    let limit = asked.limit(PAGE, LONGEST_PAGE)?;
    let after = asked.query.get("after").map(|text| Fingerprint::new(text));
    let page = state.engine.read(move |seen| {
        let mut prints = seen.state.alert_fingerprints(after.as_ref(), limit + 1);
        let more = prints.len() > limit;
        prints.truncate(limit);
        let next = if more { prints.last().cloned() } else { None };
        Alerts { alerts: prints.iter().filter_map(|print| seen.state.alert_view(print)).collect(), next }
    });
    Ok(Json(page.await?).into_response())
}

pub(super) async fn alert_why(state: &AdminState, asked: &Asked) -> Result<Response, NotDone> {
    let print = Fingerprint::new(asked.params.get("fingerprint").map_or("", String::as_str));
    let shown = print.to_string();
    let found = state.engine.read(move |seen| {
        let alert = seen.state.alert_view(&print)?;
        let incident = alert.incident.and_then(|id| seen.state.incident_view(seen.policy, id, seen.now));
        let (tried, not_listed) = tried(seen.policy, &alert.labels);
        let mut why = AlertWhy { alert, tried, not_listed, incident, text: String::new() };
        why.text = trace::alert(&why, &seen.policy.zone);
        Some(why)
    });
    match found.await? {
        Some(why) => Ok(Json(why).into_response()),
        None => Err(NotDone::unknown(format!("no alert has the fingerprint {shown}"))
            .hint("an alert that ended long ago is only in the journal")),
    }
}

/// Each rule up to the one that matches; and how many were left out of the list, from its middle.
#[must_use]
pub fn tried(policy: &Policy, labels: &Labels) -> (Vec<RuleTried>, usize) {
    let mut tried = Vec::new();
    let mut left_out = 0;
    for rule in &policy.spec.rules {
        let failed = rule.matchers.iter().find(|matcher| !matcher.matches(labels));
        if failed.is_some() && tried.len() + 1 >= RULES_TRIED {
            left_out += 1;
            continue;
        }
        tried.push(RuleTried {
            rule: rule.name.clone(),
            failed: failed.map(ToString::to_string),
            value: failed.and_then(|matcher| labels.get(matcher.name()).cloned()),
        });
        if failed.is_none() {
            break;
        }
    }
    (tried, left_out)
}

pub(super) async fn rules(state: &AdminState, asked: &Asked) -> Result<Response, NotDone> {
    asked.only(&["from", "limit"])?;
    let limit = asked.limit(LONGEST_PAGE, LONGEST_PAGE)?;
    let from = usize::try_from(asked.number("from")?.unwrap_or(0)).unwrap_or(usize::MAX);
    let page = state.engine.read(move |seen| {
        let total = seen.policy.spec.rules.len();
        let rules = seen.policy.spec.rules.iter().skip(from).take(limit);
        Rules {
            policy: seen.policy.hash.clone(),
            mode: seen.policy.spec.mode.word().to_owned(),
            total,
            rules: rules.map(|rule| rule_line(seen.policy, rule)).collect(),
            next: from.checked_add(limit).filter(|next| *next < total),
        }
    });
    Ok(Json(page.await?).into_response())
}

fn rule_line(policy: &Policy, rule: &Rule) -> RuleLine {
    RuleLine {
        name: rule.name.clone(),
        matchers: rule.matchers.iter().map(ToString::to_string).collect(),
        severity: rule.severity.clone(),
        service: rule.service.clone(),
        mode: effective_mode(policy, &rule.name).word().to_owned(),
        group_by: rule.group_by.clone(),
        cooldown: rule.cooldown.to_string(),
        limits: rule.limits.iter().map(|limit| format!("{} per {}", limit.count, limit.within)).collect(),
        remediate: rule.remediate.iter().map(|rung| format!("{} on {}", rung.action, rung.target)).collect(),
    }
}

/// Straight from the journal: answers also while the engine is busy.
pub(super) async fn journal(state: &AdminState, asked: &Asked) -> Result<Response, NotDone> {
    asked.only(&["from", "limit", "incident"])?;
    let limit = asked.limit(PAGE, LONGEST_PAGE)?;
    let from = asked.number("from")?.unwrap_or(1);
    let rows = match asked.number("incident")? {
        Some(incident) => state.journal.rows_of_incident(incident, from, limit as u64).await?,
        None => state.journal.rows(from, limit as u64).await?,
    };
    let full = rows.len() == limit;
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut cut = false;
    for row in rows {
        if bytes > JOURNAL_PAGE_BYTES {
            cut = true;
            break;
        }
        bytes += row.body.len();
        entries.push(EntryLine {
            seq: row.seq,
            at: Micros(row.at),
            epoch: row.epoch,
            incident: row.incident,
            cause: row.cause,
            body: serde_json::from_str(&row.body).unwrap_or(serde_json::Value::String(row.body)),
            hash: row.hash.to_string(),
        });
    }
    let next = entries.last().filter(|_| full || cut).map(|entry| entry.seq.saturating_add(1));
    Ok(Json(Journal { entries, next }).into_response())
}
