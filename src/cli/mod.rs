//! The command line: one file a command. `serve` runs the daemon, `check`, `explain`, `journal`, `schema` and
//! `completions` work without one, the rest talks to it over its API.
//!
//! Human output by default, `--json` where a script reads it. Exit codes: 0 fine, 1 failed, 2 problems found in config
//! or rules, 64 wrong usage.

mod ask;
mod check;
mod client;
mod completions;
mod decide;
mod explain;
mod journal;
mod output;
mod schema;
mod serve;
#[cfg(test)]
mod tests;

use clap::{Args, CommandFactory, Parser, Subcommand};
pub use output::{Exit, Output, Told};
use std::{ffi::OsString, path::PathBuf};

/// The engineer who takes the 3 AM page first.
#[derive(Debug, Parser)]
#[command(name = "nightshift", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(serve::Serve),
    /// Check settings and rules: all problems at once
    Check(check::Check),
    /// Say what would happen to a webhook's body, and why
    Explain(explain::Explain),
    /// List incidents, newest first
    Incidents(ask::Incidents),
    /// Show one incident
    Incident(ask::Incident),
    /// Say why something was done, or was not: an incident's number or an alert's fingerprint
    Why(ask::Why),
    /// Say how the daemon is
    Status(ask::Status),
    /// Acknowledge an incident: what is new then needs an approval
    Ack(decide::OfIncident),
    /// Resolve an incident
    Resolve(decide::OfIncident),
    /// Publish what waits of an incident on the status page: customers read it
    Publish(decide::OfIncident),
    /// Approve a step, after a look at its plan
    Approve(decide::Approve),
    /// Reject a step; its rule stays away from the target until the incident is resolved
    Reject(decide::OfStep),
    /// Undo a step; its rule stays away from the target until the incident is resolved
    Undo(decide::OfStep),
    /// Let a rule act again where it was rejected or undone, or its outcome is unknown
    Rearm(decide::Rearm),
    /// Extend or end a lease
    Lease(decide::Lease),
    /// Stop all acting, at once
    Pause(decide::Pause),
    /// Let it act again
    Resume(decide::Resume),
    /// Verify or export the journal
    Journal(journal::Journal),
    /// Print the JSON Schema of the rules, for editors
    Schema(schema::Schema),
    /// Print completions for a shell
    Completions(completions::Completions),
}

/// Where the settings are.
#[derive(Debug, Clone, Args)]
struct ConfigArgs {
    /// Settings [default: nightshift.yaml, where it exists]
    #[arg(long, short, value_name = "FILE", env = "NIGHTSHIFT_CONFIG")]
    config: Option<PathBuf>,
}

/// Parses and runs one command line on a runtime of its own; the process' exit code.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut output = Output::standard();
    let exit = match Cli::try_parse_from(arguments) {
        Err(error) => output.usage(&error),
        Ok(cli) => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(run(cli, &mut output)),
            Err(error) => output.failed(&Told::new(format!("the runtime cannot start: {error}"))),
        },
    };
    exit.code()
}

/// Runs one command. What it says is in `output` when it returns.
pub async fn run(cli: Cli, output: &mut Output) -> Exit {
    let done = match cli.command {
        Command::Serve(serve) => serve.run(output).await,
        Command::Check(check) => check.run(output),
        Command::Explain(explain) => explain.run(output),
        Command::Incidents(incidents) => incidents.run(output).await,
        Command::Incident(incident) => incident.run(output).await,
        Command::Why(why) => why.run(output).await,
        Command::Status(status) => status.run(output).await,
        Command::Ack(of) => of.run("acknowledge", output).await,
        Command::Resolve(of) => of.run("resolve", output).await,
        Command::Publish(of) => of.run("publish", output).await,
        Command::Approve(approve) => approve.run(output).await,
        Command::Reject(of) => of.run("reject", output).await,
        Command::Undo(of) => of.run("undo", output).await,
        Command::Rearm(rearm) => rearm.run(output).await,
        Command::Lease(lease) => lease.run(output).await,
        Command::Pause(pause) => pause.run(output).await,
        Command::Resume(resume) => resume.run(output).await,
        Command::Journal(journal) => journal.run(output).await,
        Command::Schema(schema) => schema.run(output),
        Command::Completions(completions) => completions.run(&mut Cli::command(), output),
    };
    match done {
        Ok(exit) => exit,
        Err(told) => output.failed(&told),
    }
}
