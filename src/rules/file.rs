//! A rules file as written: texts still texts, each with its place.
//!
//! A key stands here only when something uses it: a guard that is not wired does not parse. What the values mean, and
//! whether they fit together, is checked in [`super::check`]. The documentation comments of this file are what
//! editors show: they go into the JSON Schema.
//!
//! Sections, targets and rules are [`Node`]s first and read one by one, so that a mistake in one rule does not hide
//! the mistakes of the others.

use crate::{
    config::{
        node::Node,
        yaml::{Located, OneOrMany},
    },
    model::mode::Mode,
};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use std::{collections::BTreeMap, fmt, marker::PhantomData};

/// One file of a rules folder, or the only one. `targets` and `rules` may stand in several files of the folder and
/// are put together in the order of the files' names; every other section stands in one file only.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Most severe first. Without it: P0, P1, P2 and P3 with the aliases SEV-1 to SEV-4, critical, error, warning, info.
    #[schemars(with = "Option<Vec<Severity>>")]
    pub severities: Option<Node>,
    /// The objects that rules may act on, by name. Labels choose among them and never name one.
    #[schemars(with = "Option<BTreeMap<String, Target>>")]
    pub targets: Option<Node>,
    /// What rules use where they say nothing themselves.
    #[schemars(with = "Option<Defaults>")]
    pub defaults: Option<Node>,
    /// How many steps may act at one time. Without it 1.
    #[schemars(with = "Option<u32>")]
    pub max_concurrent: Option<Node>,
    /// Limits over all rules together, besides each rule's own.
    #[schemars(with = "Option<Limits>")]
    pub limits: Option<Node>,
    /// How long after a start nothing acts, so that alerts can be confirmed first. Without it `60s`.
    #[schemars(with = "Option<String>")]
    pub settle_after_start: Option<Node>,
    /// When nothing acts: dates, or hours of every week.
    #[schemars(with = "Option<Vec<Freeze>>")]
    pub freezes: Option<Node>,
    /// When so many targets alert at once that nothing acts on them. It cannot be switched off.
    #[schemars(with = "Option<Brake>")]
    pub brake: Option<Node>,
    /// Who is called when an incident pages, and whom else while nobody acknowledges it, by severity.
    #[schemars(with = "Option<BTreeMap<String, Escalation>>")]
    pub escalations: Option<Node>,
    /// The first rule whose matchers all match takes the alert.
    #[schemars(with = "Option<Vec<Rule>>")]
    pub rules: Option<Node>,
}

/// One severity.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Severity {
    /// The short word: `P0`.
    pub name: Located<String>,
    /// For people: `Critical`.
    pub title: Option<Located<String>>,
    /// Other words for it, as they stand in the alerts' label `severity`.
    pub aliases: Option<Located<Vec<Located<String>>>>,
    /// How soon somebody answers its page: `15m`, `1 business day`. No rule holds a page for longer. Without it `0s` for the
    /// most severe; for others nothing is known, and no page is held.
    pub respond_within: Option<Located<String>>,
    /// How often those who follow an incident are told where it stands: `15m`.
    pub update_every: Option<Located<String>>,
}

/// One object, or a set of which a label picks one member. Exactly one of `kubernetes`, `postgres` and `noop`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// A workload, or a set of workloads.
    pub kubernetes: Option<Located<Kubernetes>>,
    /// A database server: its name under `postgres` in nightshift.yaml.
    pub postgres: Option<Located<String>>,
    /// `{}`: nothing at all, for drills and tests with the action `noop`.
    pub noop: Option<Located<Noop>>,
    /// The bounds on replicas that no action leaves. Scaling needs them.
    pub replicas: Option<Located<Replicas>>,
    /// For a set: the label whose value is the name of the member.
    pub pick: Option<Located<String>>,
    /// For a Service: its two colours.
    pub blue_green: Option<Located<BlueGreen>>,
}

/// A Service that sends traffic to one of two colours, each a Deployment of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlueGreen {
    /// The key of the Service's selector whose value is the colour: `version`.
    pub selector: Located<String>,
    /// The two values: `[blue, green]`.
    pub colors: Located<Vec<Located<String>>>,
    /// The Deployments' names: `web-{color}`.
    pub deployment: Located<String>,
}

/// Either `deployment`, `statefulset`, `daemonset` or `service` with one name, or `kind` and `selector` for a set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// The namespace of the object or the set.
    pub namespace: Located<String>,
    /// The name of one Deployment.
    pub deployment: Option<Located<String>>,
    /// The name of one StatefulSet.
    pub statefulset: Option<Located<String>>,
    /// The name of one DaemonSet.
    pub daemonset: Option<Located<String>>,
    /// The name of one Service, with `blue_green` beside `kubernetes`.
    pub service: Option<Located<String>>,
    /// The kind of a set's members.
    pub kind: Option<Located<Kind>>,
    /// The label selector that lists a set's members: `nightshift.dev/managed=true`.
    pub selector: Option<Located<String>>,
}

/// The kinds of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// `{}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Noop {}

/// Both ends belong to the range.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replicas {
    /// At least 1.
    pub min: Located<u32>,
    /// At least `min`.
    pub max: Located<u32>,
    /// The one exception: in an incident of the most severe, and approved, `kubernetes/scale` may set 0 replicas.
    pub may_scale_to_zero: Option<Located<bool>>,
}

/// What rules use where they say nothing themselves.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Without it `shadow`.
    pub mode: Option<Located<ModeWord>>,
    /// How long a rule leaves a target alone after its ladder has ended. Without it `15m`.
    pub cooldown: Option<Located<String>>,
    /// How long nothing of an incident may fire before it is resolved. Without it `10m`.
    pub quiet: Option<Located<String>>,
    /// How long after a step a person may undo it. Without it `1h`.
    pub undo_within: Option<Located<String>>,
    /// An incident that begins to fire so often is left to people: `5 in 30m`, which is what holds without it, or `off`.
    pub flapping: Option<Located<String>>,
    /// How many runs of a rule that is new or was changed need an approval. Without it 0.
    pub canary: Option<Located<u32>>,
}

/// One freeze: `from` and `to`, or `weekly`. Leases end in it all the same, and people are told and woken as ever.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Shown where it stops something.
    pub name: Located<String>,
    /// `2026-12-31T18:00Z`, or without `Z` in the zone of `timezone`.
    pub from: Option<Located<String>>,
    /// The moment at which it ends.
    pub to: Option<Located<String>>,
    /// `Fri 18:00 - Mon 06:00`, in the zone of `timezone`.
    pub weekly: Option<Located<String>>,
    /// Severities that it does not stop: `[P0]`, `[P0..P1]`.
    pub except: Option<Located<Vec<Located<String>>>>,
}

/// The brake. A target alerts when a ladder begins that has it in any rung.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Brake {
    /// The share of a set's members that may alert. Without it `20%`.
    pub targets: Option<Located<String>>,
    /// ... but at least so many trip it. Without it 3; a whole set that fires does it too, two members at least.
    pub at_least: Option<Located<u32>>,
    /// Over so many targets of any rules, nothing acts at all. Without it 5.
    pub all: Option<Located<u32>>,
    /// Within this time. Without it `5m`.
    pub within: Option<Located<String>>,
    /// How long it must be calm before acting goes on. Without it `15m`.
    pub cooldown: Option<Located<String>>,
}

/// How far a rule may go. The least of `mode` in nightshift.yaml, of the rule and of the rung counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModeWord {
    /// Says what it would do.
    Shadow,
    /// Waits for an approval.
    Ask,
    /// Acts.
    Auto,
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Mode {
        match word {
            ModeWord::Shadow => Mode::Shadow,
            ModeWord::Ask => Mode::Ask,
            ModeWord::Auto => Mode::Auto,
        }
    }
}

/// Limits over all rules: `10 per 1h`, or a list of such.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Started steps in one namespace. Without it `10 per 1h`.
    pub namespace: Option<OneOrMany<Located<String>>>,
    /// Started steps in all. Without it `20 per 1h`.
    pub all: Option<OneOrMany<Located<String>>>,
}

/// Who is called when an incident of these severities pages, and while nobody acknowledges it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// One severity, or a range from the more to the less severe: `P0..P1`.
    pub severities: Located<String>,
    /// The first at `after: 0m`, with the page; each later one where nobody has acknowledged it by then.
    pub levels: Located<Vec<Level>>,
}

/// One level of an escalation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// How long after the page: `0m`, `5m`.
    pub after: Located<String>,
    /// A name under `people` in nightshift.yaml: mentioned in Slack, or told in its channel.
    pub to: Located<String>,
}

/// One rule: which alerts it takes, and what is done about them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Unique among all rules; commands, messages and metrics use it.
    pub name: Located<String>,
    /// Alertmanager's matchers, which must all match: `alertname = "HighLoad"`. `[]` takes every alert.
    #[serde(rename = "match")]
    pub matchers: Located<Vec<Located<String>>>,
    /// A severity by name or alias. Without it the alert's label `severity` says.
    pub severity: Option<Located<String>>,
    /// The service that is concerned. An incident of the same service that opens at most 10 minutes later is told in this
    /// one's thread.
    pub service: Option<Located<String>>,
    /// A web address that people are given.
    pub runbook: Option<Located<String>>,
    /// What it means to those who use the service, for those who follow an incident: `users cannot submit new claims`.
    pub impact: Option<Located<String>>,
    /// `true`: its incidents are told in the channel of `security.slack` in nightshift.yaml too.
    pub security: Option<Located<bool>>,
    /// The labels whose values make an incident's identity. Without it the labels by which targets pick, else none:
    /// one incident for everything that the rule matches.
    pub group_by: Option<Located<Vec<Located<String>>>>,
    /// How long it must fire, counted from when it was first seen, before anything is done. Without it `0s`.
    #[serde(rename = "for")]
    pub fires_for: Option<Located<String>>,
    /// What is collected for people.
    pub evidence: Option<Located<Vec<Evidence>>>,
    /// How far the rule may go.
    pub mode: Option<Located<ModeWord>>,
    /// How many steps the rule may start on one target: `3 per 1h`.
    pub limits: Option<Located<Vec<Located<String>>>>,
    /// How long it leaves a target alone after its ladder has ended.
    pub cooldown: Option<Located<String>>,
    /// How long nothing of an incident may fire before it is resolved.
    pub quiet: Option<Located<String>>,
    /// How long after a step a person may undo it.
    pub undo_within: Option<Located<String>>,
    /// Left to people when it begins to fire so often: `5 in 30m`, or `off`.
    pub flapping: Option<Located<String>>,
    /// How many of its runs need an approval when it is new or was changed.
    pub canary: Option<Located<u32>>,
    /// A ladder: the next rung is taken only when the one before did not help. None: people are told, no more.
    pub remediate: Option<Located<Vec<Rung>>>,
    /// Who is told.
    pub notify: Option<Notify>,
}

/// One collector of evidence.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// `kubernetes/pods`, `kubernetes/logs` or `postgres/connections`.
    pub collect: Located<String>,
    /// A name under `targets`.
    pub target: Located<String>,
    /// The collector's parameters.
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub with: Option<Node>,
}

/// One rung of a ladder: an action, its target, and how it is measured.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// `kubernetes/scale`, `kubernetes/restart`, `kubernetes/undo`, `kubernetes/flip`, `kubernetes/delete_pod`,
    /// `postgres/kill_idle`, `postgres/cancel_slow` or `noop`.
    pub action: Located<String>,
    /// A name under `targets`.
    pub target: Located<String>,
    /// The action's parameters: `{replicas: +2, lease: 2h}`.
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub with: Option<Node>,
    /// How far this rung may go, if less far than the rule.
    pub mode: Option<Located<ModeWord>>,
    /// How it is measured.
    pub verify: Option<Verify>,
    /// What becomes of a change that did not help. Without it `undo` for kubernetes/scale, else `keep`.
    pub if_ineffective: Option<Located<IfIneffectiveWord>>,
}

/// How a step is measured: first it settles, then its alerts must resolve in time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// How long nothing is measured after the change. Without it `30s`.
    pub settle: Option<Located<String>>,
    /// How long after that the alerts may take to resolve. Without it `10m`; for kubernetes/flip its `watch` says.
    pub resolved_within: Option<Located<String>>,
    /// A PromQL expression that must return data: `pg_pool_used_ratio < 0.8`.
    pub query: Option<Located<String>>,
}

/// What becomes of a change that did not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IfIneffectiveWord {
    Undo,
    Keep,
}

/// Who is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// A Slack channel of its own: `#incidents` or a channel's ID.
    pub slack: Option<Located<String>>,
    /// What customers are told, on the status page of nightshift.yaml.
    pub statuspage: Option<Located<StatuspageWish>>,
}

/// Which incidents customers are told of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatuspageWish {
    /// A name under `statuspage.components` in nightshift.yaml.
    pub component: Located<String>,
    /// One severity, or a range from the more to the less severe: `P0..P1`.
    pub when: Located<String>,
}

/// A mapping whose keys are names that people chose, with the keys' places, in the file's order.
#[derive(Debug)]
pub struct Named<T>(pub Vec<(Located<String>, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named<T>, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping from names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Named<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}
