//! The rules: files as people write them, checked, as the policy that decides.
//!
//! `files` finds and bounds the files, [`mod@file`] is what they hold as written, [`check`] and its neighbours make a
//! [`PolicySpec`] of it or tell every problem at once. [`schema`] is for editors. Nothing here decides about an
//! alert, and nothing talks to a peer: whether a target exists in the cluster is not known here.

mod asking;
pub mod blue_green;
mod check;
mod escalations;
pub mod file;
mod files;
mod holding;
mod ladder;
mod public;
mod reach;
mod restraints;
pub mod schema;
mod sections;
mod targets;
#[cfg(test)]
mod tests;

use crate::{
    action::Registry,
    config::{
        settings::{Approvers, RulesFrom},
        yaml::Located,
    },
    decide::policy::{PagerDutyUse, Person, PolicySpec},
    model::{
        mode::Mode,
        problem::Problem,
        public::{ComponentStatus, Publish, Sentences},
        target::Object,
        time::Span,
    },
};
use std::{collections::BTreeMap, path::PathBuf};

/// The rules inside the binary: what is used where the default folder does not exist.
pub const STARTER: &str = include_str!("../../rules/starter.yaml");
/// The name of [`STARTER`] in problems.
pub const STARTER_NAME: &str = "starter rules";

/// Where rules come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulesSource {
    /// A file, or a folder whose `*.yaml` are put together in the order of their names.
    Path(PathBuf),
    /// [`STARTER`].
    Starter,
}

impl From<RulesFrom> for RulesSource {
    fn from(settings: RulesFrom) -> RulesSource {
        match settings {
            RulesFrom::Path(path) => RulesSource::Path(path),
            RulesFrom::Starter(_) => RulesSource::Starter,
        }
    }
}

/// What rules are checked against, from settings and from what this process can do.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The most that any rule may do.
    pub mode: Mode,
    /// By the name that escalations use. None: who there is is not known, and nobody is blamed.
    pub people: Option<&'a BTreeMap<String, Person>>,
    /// Who may approve, by severity, in the words of the settings.
    pub approvers: &'a [Approvers],
    /// nightshift's own workload, which is never a target.
    pub itself: Option<&'a Object>,
    /// `alertmanager.urls` are set.
    pub alertmanager: bool,
    /// `prometheus.url` is set.
    pub prometheus: bool,
    /// Slack's default channel; None where Slack is not set up.
    pub slack_channel: Option<&'a str>,
    /// Slack's buttons are taken.
    pub slack_buttons: bool,
    /// `slack.incident_channels`, in the words of the settings.
    pub incident_channels: Option<&'a Located<String>>,
    /// `security.slack`.
    pub security_channel: Option<&'a str>,
    pub statuspage: Statuspages<'a>,
    /// None: it is not set up.
    pub pagerduty: Option<&'a PagerDutyUse>,
    /// IANA name.
    pub timezone: &'a str,
    pub lost_after: Span,
    /// `safe_mode.unclean_starts`.
    pub unclean_starts: u32,
    pub actions: &'a Registry,
    /// The names under `postgres` in the settings; None: any.
    pub databases: Option<&'a [&'a str]>,
    /// The collectors of evidence, by name.
    pub collectors: &'a [&'a str],
}

impl Context<'_> {
    /// Nobody can be called by anything.
    fn calls_nobody(&self) -> bool {
        let pages = self.pagerduty.is_none_or(|pagerduty| pagerduty.pages)
            || self.people.is_none_or(|people| people.values().any(|person| person.pagerduty));
        self.slack_channel.is_none() && !pages
    }
}

/// The status page of the settings.
#[derive(Clone, Copy)]
pub enum Statuspages<'a> {
    /// Nobody is blamed for a name.
    NotKnown,
    NotSetUp,
    SetUp {
        publish: Publish,
        components: &'a BTreeMap<String, StatusComponent>,
    },
}

/// One component of it, with what its owner wrote.
#[derive(Debug, Clone)]
pub struct StatusComponent {
    pub sentences: Sentences,
    /// One severity or a range, and how bad it makes the component.
    pub shows: Vec<(Located<String>, ComponentStatus)>,
}

/// Rules that may be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub policy: PolicySpec,
    /// Told, but no reason to refuse the rules.
    pub warnings: Vec<Problem>,
    /// The files that were read, as problems name them.
    pub files: Vec<String>,
}

/// Reads and checks rules: a policy, or every problem (warnings among them), in the order of files and lines.
pub fn load(source: &RulesSource, context: &Context<'_>) -> Result<Loaded, Vec<Problem>> {
    let (texts, problems) = match source {
        RulesSource::Starter => (vec![(STARTER_NAME.to_owned(), STARTER.to_owned())], Vec::new()),
        RulesSource::Path(path) => files::read(path),
    };
    check::texts(&texts, problems, context)
}
