//! Commands by which a person decides: each is one input of the journal, said back once it is durable.

use super::{
    client::Daemon,
    output::{Exit, Output, Told},
};
use crate::{
    http::{
        api::{
            shapes::{self, Done},
            trace,
        },
        api_auth::ANONYMOUS,
    },
    model::{
        id::{IncidentId, StepId},
        time::Span,
    },
    telemetry::text::plain,
};
use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::io::BufRead;

/// A command without a body.
const NOTHING: Option<&()> = None;

async fn post(daemon: &Daemon, path: &str, body: Option<&(impl Serialize + Sync)>) -> Result<Done, Told> {
    daemon.connect()?.post(path, body).await
}

fn said(output: &mut Output, what: &str, done: &Done) -> Result<Exit, Told> {
    let seq = done.seq.map(|seq| format!(" (journal entry {seq})")).unwrap_or_default();
    output.text(&format!("{what}, by {}{seq}\n", plain(&done.by)))?;
    if let Some(note) = &done.note {
        output.text(&format!("{}\n", plain(note)))?;
    }
    if done.by == ANONYMOUS {
        output.text("hint: nobody can tell who that is: say it with --as NAME\n")?;
    }
    Ok(Exit::Fine)
}

#[derive(Debug, Args)]
pub struct OfIncident {
    /// The incident's number
    id: IncidentId,
    #[command(flatten)]
    daemon: Daemon,
}

impl OfIncident {
    pub async fn run(&self, verb: &str, output: &mut Output) -> Result<Exit, Told> {
        let done = post(&self.daemon, &format!("/api/v1/incidents/{}/{verb}", self.id), NOTHING).await?;
        let ending = if verb.ends_with('e') { "d" } else { "ed" };
        said(output, &format!("incident {} {verb}{ending}", self.id), &done)
    }
}

#[derive(Debug, Args)]
pub struct OfStep {
    /// The step's number, like 1042.2
    id: StepId,
    #[command(flatten)]
    daemon: Daemon,
}

impl OfStep {
    pub async fn run(&self, verb: &str, output: &mut Output) -> Result<Exit, Told> {
        let done = post(&self.daemon, &format!("/api/v1/steps/{}/{verb}", self.id), NOTHING).await?;
        let what = match verb {
            "reject" => format!("step {} rejected", self.id),
            _ => format!("the undo of step {} is under way: nightshift incident {}", self.id, self.id.incident),
        };
        said(output, &what, &done)
    }
}

#[derive(Debug, Args)]
pub struct Approve {
    /// The step's number, like 1042.2
    id: StepId,
    /// Do not ask again after showing the plan
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    daemon: Daemon,
}

impl Approve {
    /// What is approved is the plan that was shown: its hash goes along.
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        let connection = self.daemon.connect()?;
        let id = self.id;
        let incident: shapes::Incident = connection.get(&format!("/api/v1/incidents/{}", id.incident)).await?;
        let status: shapes::Status = connection.get("/api/v1/status").await?;
        let zone = status.state.and_then(|state| TimeZone::get(&state.timezone).ok()).unwrap_or(TimeZone::UTC);
        let step = incident.view.steps.iter().find(|step| step.id == id);
        let step = step.ok_or_else(|| Told::new(format!("there is no step {id}")))?;
        output.text(&trace::step(step, &zone, true))?;
        let Some(plan_hash) = step.plan_hash.clone() else {
            return Err(Told::new(format!("step {id} has no plan to approve (it is {})", step.phase)));
        };
        if !self.yes {
            if !output.is_terminal {
                return Err(Told::usage("there is nobody to ask: this is not a terminal")
                    .hint("--yes approves the plan that is shown"));
            }
            output.text("approve this plan? [y/N] ")?;
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer)?;
            if !matches!(answer.trim(), "y" | "Y" | "yes") {
                return Err(Told::new("not approved"));
            }
        }
        let body = shapes::Approve { plan_hash };
        let done: Done = connection.post(&format!("/api/v1/steps/{id}/approve"), Some(&body)).await?;
        said(output, &format!("step {id} approved"), &done)
    }
}

#[derive(Debug, Args)]
pub struct Rearm {
    /// The rule's name
    rule: String,
    /// One target, like production/Deployment/web or web [default: all of the rule]
    target: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
}

impl Rearm {
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        let body = shapes::Rearm { rule: self.rule.clone(), target: self.target.clone() };
        let done = post(&self.daemon, "/api/v1/rearm", Some(&body)).await?;
        said(output, &format!("rule {} rearmed", plain(&self.rule)), &done)
    }
}

#[derive(Debug, Args)]
pub struct Lease {
    #[command(subcommand)]
    verb: LeaseVerb,
}

#[derive(Debug, Subcommand)]
enum LeaseVerb {
    /// Put it back later
    Extend {
        /// The step that began the lease, like 1042.1
        step: StepId,
        /// By how much, like 1h
        #[arg(value_parser = Span::parse)]
        by: Span,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Put it back now
    End {
        /// The step that began the lease, like 1042.1
        step: StepId,
        #[command(flatten)]
        daemon: Daemon,
    },
}

impl Lease {
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        match &self.verb {
            LeaseVerb::Extend { step, by, daemon } => {
                let body = shapes::ExtendLease { by: by.to_string() };
                let done = post(daemon, &format!("/api/v1/steps/{step}/lease/extend"), Some(&body)).await?;
                said(output, &format!("the lease of step {step} is extended by {by}"), &done)
            }
            LeaseVerb::End { step, daemon } => {
                let done = post(daemon, &format!("/api/v1/steps/{step}/lease/end"), NOTHING).await?;
                said(output, &format!("the lease of step {step} ends"), &done)
            }
        }
    }
}

#[derive(Debug, Args)]
pub struct Pause {
    /// Why, for those who wonder later
    reason: String,
    #[command(flatten)]
    daemon: Daemon,
}

impl Pause {
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        let body = shapes::Pause { reason: self.reason.clone() };
        let done = post(&self.daemon, "/api/v1/pause", Some(&body)).await?;
        said(output, "paused: nothing acts until `nightshift resume`", &done)
    }
}

#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    daemon: Daemon,
}

impl Resume {
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        let done = post(&self.daemon, "/api/v1/resume", NOTHING).await?;
        said(output, "resumed", &done)
    }
}
