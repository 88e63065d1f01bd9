//! What people ask for, over HTTP: one input each, answered after its commit.
//!
//! A refusal is the engine's (409 with its words), an id that is not there 404. A pause is in effect before it is
//! journalled, and stays so when the journal cannot take it.

use super::{
    AdminState,
    answer::NotDone,
    routes::{Asked, Call},
    shapes::{Approve, Done, ExtendLease, Pause, Rearm},
    trace,
};
use crate::{
    config::suggest,
    engine::{Refused, Seen, pause_file_present},
    http::limits::parse_json,
    model::{
        id::{IncidentId, StepId},
        input::{Command, Input, Via},
        time::Span,
    },
    telemetry::text::{plain, shortened},
};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// Names in a hint; more are read by nobody.
const NAMED: usize = 5;
/// A lease is lent for hours; longer is a change of its own.
const LONGEST_EXTENSION: Span = Span::hours(7 * 24);

pub(super) async fn command(state: &AdminState, call: Call, asked: Asked) -> Result<Response, NotDone> {
    let command = match call {
        Call::Acknowledge => Command::Acknowledge { incident: known_incident(state, &asked).await? },
        Call::Resolve => Command::Resolve { incident: known_incident(state, &asked).await? },
        Call::Publish => Command::Publish { incident: known_incident(state, &asked).await? },
        Call::Approve => {
            let Approve { plan_hash } = parse_json(&asked.body)?;
            Command::Approve { step: known_step(state, &asked).await?, plan_hash }
        }
        Call::Reject => Command::Reject { step: known_step(state, &asked).await? },
        Call::Undo => Command::Undo { step: known_step(state, &asked).await? },
        Call::ExtendLease => {
            let ExtendLease { by } = parse_json(&asked.body)?;
            let by = Span::parse(&by).map_err(|error| NotDone::bad(error).hint("write it like 1h or 90m"))?;
            if by <= Span::ZERO || by > LONGEST_EXTENSION {
                return Err(NotDone::bad(format!("a lease is extended by up to {LONGEST_EXTENSION}")));
            }
            Command::ExtendLease { step: known_step(state, &asked).await?, by }
        }
        Call::EndLease => Command::EndLease { step: known_step(state, &asked).await? },
        Call::Pause => {
            // Before anything that could fail: who asks for a pause, badly or not, means stop.
            state.engine.pause_flag().set();
            Command::Pause { reason: reason_of(&asked.body) }
        }
        Call::Resume => Command::Resume { pause_file_present: pause_file_present(state.pause_file.as_deref()).await },
        Call::Rearm => {
            let Rearm { rule, target } = parse_json(&asked.body)?;
            Command::Rearm { rule, target }
        }
        Call::Front
        | Call::Metrics
        | Call::Healthy
        | Call::Ready
        | Call::Reload
        | Call::Status
        | Call::Incidents
        | Call::Incident
        | Call::IncidentWhy
        | Call::Alerts
        | Call::AlertWhy
        | Call::Rules
        | Call::Journal => return Err(NotDone::new(StatusCode::INTERNAL_SERVER_ERROR, "this is not a command")),
    };
    let asked_for = command.clone();
    let resolved = if let Command::Resolve { incident } = &command { Some(*incident) } else { None };
    let input = Input::Command { by: asked.by.clone(), via: Via::Api, command };
    let answer = match state.engine.command(input).await {
        Ok(answer) => answer,
        Err(refused) if call == Call::Pause => return Err(paused_unwritten(refused)),
        Err(refused) => return Err(refused.into()),
    };
    match answer.refusal().map(str::to_owned) {
        Some(reason) => Err(refused(state, &asked_for, reason).await),
        None => {
            let note = match resolved {
                Some(incident) => note_on_resolved(state, incident).await,
                None => None,
            };
            Ok(Json(Done { seq: answer.seq, by: asked.by, note }).into_response())
        }
    }
}

/// The engine's words, and where a name is none of ours, the one that was probably meant.
async fn refused(state: &AdminState, command: &Command, reason: String) -> NotDone {
    let not_done = NotDone::new(StatusCode::CONFLICT, reason);
    let command = command.clone();
    match state.engine.read(move |seen| hint(seen, &command)).await.ok().flatten() {
        Some(hint) => not_done.hint(hint),
        None => not_done,
    }
}

fn hint(seen: &Seen<'_>, command: &Command) -> Option<String> {
    match command {
        Command::Rearm { rule, .. } if seen.policy.rule(rule).is_none() => {
            let names: Vec<&str> = seen.policy.spec.rules.iter().map(|rule| rule.name.as_str()).collect();
            let none = format!("there is no rule `{}`", shortened(rule, 60));
            Some(suggest::hint(rule, names.iter().copied()).map_or(none.clone(), |near| format!("{none}: {near}")))
        }
        Command::Rearm { rule, target } => {
            let waiting = seen.state.waits_to_be_rearmed(rule);
            let named = waiting.get(..NAMED).unwrap_or(&waiting).join(", ");
            let meant = target.is_some() && !waiting.is_empty();
            meant.then(|| format!("of this rule these wait for it: {named}"))
        }
        Command::ExtendLease { .. } | Command::EndLease { .. } => {
            let held: Vec<String> = seen.state.leased_steps().take(NAMED).map(|step| step.to_string()).collect();
            Some(if held.is_empty() {
                "no step holds a lease now".to_owned()
            } else {
                format!("leases are held by {}: the step that changed it, not the incident", held.join(", "))
            })
        }
        _ => None,
    }
}

/// What is good to know of an incident that was resolved just now. It is: not to know it fails nothing.
async fn note_on_resolved(state: &AdminState, id: IncidentId) -> Option<String> {
    let view = state.engine.read(move |seen| seen.state.incident_view(seen.policy, id, seen.now)).await;
    trace::still_firing(view.ok()??.firing)
}

pub(super) async fn reload(state: &AdminState, asked: Asked) -> Result<Response, NotDone> {
    match (state.reload)(asked.by).await {
        Ok(reloaded) => Ok(Json(reloaded).into_response()),
        Err(problems) => Err(NotDone::refused_rules(problems)),
    }
}

fn paused_unwritten(refused: Refused) -> NotDone {
    NotDone::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("nothing acts from now on, but the pause is not journalled: {refused}"),
    )
    .hint("a restart would forget it: pause again once the journal answers")
}

/// A pause without a readable reason is still a pause.
fn reason_of(body: &[u8]) -> String {
    parse_json::<Pause>(body).map(|pause| plain(&pause.reason)).unwrap_or_default()
}

async fn known_incident(state: &AdminState, asked: &Asked) -> Result<IncidentId, NotDone> {
    let id: IncidentId = asked.param("id")?;
    let known = state.engine.read(move |seen| seen.state.incident_view(seen.policy, id, seen.now).is_some()).await?;
    if known { Ok(id) } else { Err(NotDone::unknown(format!("there is no incident {id}"))) }
}

async fn known_step(state: &AdminState, asked: &Asked) -> Result<StepId, NotDone> {
    let id: StepId = asked.param("id")?;
    let view = state.engine.read(move |seen| seen.state.incident_view(seen.policy, id.incident, seen.now)).await?;
    let known = view.is_some_and(|view| view.steps.iter().any(|step| step.id == id));
    if known {
        Ok(id)
    } else {
        let hint = format!("`nightshift incident {}` lists its steps", id.incident);
        Err(NotDone::unknown(format!("there is no step {id}")).hint(hint))
    }
}
