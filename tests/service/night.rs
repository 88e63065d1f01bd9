//! nightshift itself: started in this process, asked, commanded, stopped; its journal is looked at in the end.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nightshift::app::{App, Refused};
use nightshift::config::Settings;
use nightshift::engine::entry::{self, Entry};
use nightshift::engine::replay;
use nightshift::journal::{Journal, export, sql};
use nightshift::model::event::Event;
use nightshift::model::input::{Command, Input, Via};
use nightshift::model::view::{IncidentView, StepView};

use crate::stage::{SOON, Stage};
use crate::support::wait_until;

pub struct Nightshift {
    pub app: App,
    journal: PathBuf,
}

/// What a command line came to.
#[derive(Debug)]
pub struct Typed {
    pub code: Option<i32>,
    pub says: String,
    pub complains: String,
}

/// What is left when it has stopped.
pub struct Kept {
    pub entries: Vec<Entry>,
    pub journal: sql::Sql,
}

impl Nightshift {
    pub async fn start(stage: &Stage, config: PathBuf) -> Self {
        Self::on(config, stage.file("nightshift.db")).await
    }

    /// By these settings, which name this journal.
    pub async fn on(config: PathBuf, journal: PathBuf) -> Self {
        let (settings, warnings) =
            Settings::load(Some(&config), std::iter::empty()).unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert!(warnings.is_empty(), "{warnings:#?}");
        let app = App::start(settings, None).await.unwrap_or_else(|error| {
            let problems = error.downcast_ref::<Refused>().map(|refused| &refused.0);
            panic!("it does not start: {error:?} {problems:#?}")
        });
        Self { app, journal }
    }

    /// All incidents, oldest first.
    pub async fn incidents(&self) -> Vec<IncidentView> {
        let all = self.app.engine.read(|seen| {
            let ids = seen.state.incident_ids().into_iter().rev();
            ids.filter_map(|id| seen.state.incident_view(seen.policy, id, seen.now)).collect()
        });
        all.await.expect("the engine answers")
    }

    /// Waits until the newest incident is as `holds` wants it.
    pub async fn until(&self, what: &str, holds: impl Fn(&IncidentView) -> bool) -> IncidentView {
        self.until_within(SOON, what, holds).await
    }

    pub async fn until_within(
        &self,
        within: Duration,
        what: &str,
        holds: impl Fn(&IncidentView) -> bool,
    ) -> IncidentView {
        wait_until(what, within, async || match self.incidents().await.pop() {
            None => Err("no incident".to_owned()),
            Some(incident) if holds(&incident) => Ok(incident),
            Some(incident) => Err(format!("{incident:#?}")),
        })
        .await
    }

    /// Waits until the newest incident is `open`, `monitoring` or `resolved`.
    pub async fn until_state(&self, state: &str) -> IncidentView {
        self.until(&format!("an incident that is {state}"), |incident| incident.state == state).await
    }

    /// Waits until the newest incident's last step is in this phase.
    pub async fn until_step(&self, phase: &str) -> StepView {
        self.until_step_within(SOON, phase).await
    }

    pub async fn until_step_within(&self, within: Duration, phase: &str) -> StepView {
        let is_so = |incident: &IncidentView| incident.steps.last().is_some_and(|step| step.phase == phase);
        let mut incident = self.until_within(within, &format!("a step that is {phase}"), is_so).await;
        incident.steps.pop().expect("seen")
    }

    /// A command as the engine takes it, without command line and API; what it came to.
    pub async fn command(&self, by: &str, via: Via, command: Command) -> Vec<Event> {
        let answer = self.app.engine.command(Input::Command { by: by.to_owned(), via, command }).await;
        answer.expect("it is taken").events.into_iter().flat_map(|events| events.to_vec()).collect()
    }

    /// Approves the plan that is named there, which may not be the step's own any more.
    pub async fn approve(&self, by: &str, step: &StepView) -> Vec<Event> {
        let plan_hash = step.plan_hash.clone().expect("a plan to approve");
        self.command(by, Via::Api, Command::Approve { step: step.id, plan_hash }).await
    }

    /// A person types `nightshift ARGUMENTS` at a terminal of their own.
    pub async fn types(&self, who: &str, arguments: &[&str]) -> Typed {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_nightshift"));
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.env("NIGHTSHIFT_URL", self.admin_url()).env("USER", who);
        let ended = tokio::time::timeout(SOON, command.output()).await.expect("it ends").expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Typed { code: ended.status.code(), says: text(&ended.stdout), complains: text(&ended.stderr) }
    }

    /// The same, and it is done.
    pub async fn does(&self, who: &str, arguments: &[&str]) -> String {
        let typed = self.types(who, arguments).await;
        assert_eq!(typed.code, Some(0), "{arguments:?}: {typed:#?}");
        typed.says
    }

    /// `http://127.0.0.1:PORT` of the admin listener.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.app.admin)
    }

    /// Stops it, and looks at its journal: the chain is whole, and decided anew it gives the same to the byte.
    pub async fn stop(self) -> Kept {
        let live = self.app.engine.read(|seen| seen.state.incident_ids().len()).await.expect("it runs");
        self.app.stop().await.expect("a clean stop");
        let options = sql::Options::sqlite(&self.journal);
        let journal = sql::Sql::open_read_only(&options).await.expect("its journal can be read");
        let report = export::verify(&journal, options.head_file_path()).await.expect("its journal can be verified");
        assert!(report.is_whole(), "{report:#?}");
        let report = replay::replay(&journal).await.expect("its journal can be decided anew");
        assert_eq!(report.difference, None, "decided anew it is different");
        assert!(report.entries > live as u64, "{report:?}");
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let next = entries.last().map_or(1, |entry| entry.seq + 1);
            let rows = journal.rows(next, 1000).await.expect("rows");
            if rows.is_empty() {
                break;
            }
            entries.extend(rows.iter().map(|row| entry::open(row).expect("an entry")));
        }
        Kept { entries, journal }
    }
}

impl Kept {
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().flat_map(|entry| &entry.events)
    }
}
