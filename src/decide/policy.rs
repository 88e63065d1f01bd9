//! The policy: compiled rules and deciding settings, with the hash that every journal entry names.
//!
//! [`PolicySpec`] is plain data with one canonical text; that text is kept in the journal, so a replay compiles the very
//! policy that decided. Checking what people wrote is [`crate::rules`]' work: here everything is already right.

pub use super::levels::{Escalation, Level, Person};
use crate::model::{
    alert::Labels,
    freeze::Freeze,
    matcher::Matcher,
    mode::Mode,
    plan::hex,
    public::{ComponentStatus, Publish, Sentences},
    rung::{Bounds, Collector, IfIneffective, Rung, Verify},
    target::{Kind, Object, Target},
    time::Span,
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt};

/// Everything that decisions depend on and that a file or setting says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// The most any rule may do.
    pub mode: Mode,
    /// Most severe first; never empty.
    pub severities: Vec<Severity>,
    pub targets: BTreeMap<String, TargetSpec>,
    pub rules: Vec<Rule>,
    pub max_concurrent: u32,
    /// Limits over all rules, per namespace and in all.
    pub limits_namespace: Vec<Limit>,
    pub limits_all: Vec<Limit>,
    pub settle_after_start: Span,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<Freeze>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<Brake>,
    /// Starts without a clean stop, and without [`crate::decide::apply::STEADY_AFTER`] between them, that end in
    /// observing only. 0: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unclean_starts: u32,
    pub lost_after: Span,
    /// IANA name; for times people read.
    pub timezone: String,
    /// `alertmanager.urls` are configured: it is asked, and its answer is required.
    pub asks_alertmanager: bool,
    /// `prometheus.url` is configured: rule health is part of every verdict.
    pub asks_prometheus: bool,
    /// Slack's default channel; None: nobody is told.
    pub slack_channel: Option<String>,
    /// Who is told and paged, by the name that escalations use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub people: BTreeMap<String, Person>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalations: Vec<Escalation>,
    /// The severities, by name, whose incidents get a Slack channel of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incident_channels: Vec<String>,
    /// Where incidents of rules with `security` are told too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_channel: Option<String>,
    /// Slack users and groups that may approve, by the severity's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub approvers: BTreeMap<String, Vec<String>>,
    /// None: customers are told nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuspage: Option<StatusPage>,
    #[serde(default, skip_serializing_if = "PagerDutyUse::is_none")]
    pub pagerduty: PagerDutyUse,
}

/// What customers may be told, by component, as rules name them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusPage {
    pub publish: Publish,
    pub components: BTreeMap<String, Component>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    pub sentences: Sentences,
    /// By the severity's name, where it differs from [`ComponentStatus::of_rank`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shows: BTreeMap<String, ComponentStatus>,
}

/// A rule's incidents of these severities concern customers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub component: String,
    /// Names.
    pub severities: Vec<String>,
}

/// The service of `pagerduty.routing_key_file`. Nobody in `people` may have this name.
pub const DEFAULT_SERVICE: &str = "default";

/// What PagerDuty is used for. Its keys and tokens stand elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagerDutyUse {
    /// Pages go to the service [`DEFAULT_SERVICE`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pages: bool,
    /// The severities, by name, whose pages go to somebody's own service: the name in `people`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pages_to: BTreeMap<String, String>,
    /// It is asked whether its incidents still fire.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
    /// What was done is noted on its incidents.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notes: bool,
}

impl PagerDutyUse {
    fn is_none(&self) -> bool {
        *self == PagerDutyUse::default()
    }

    /// The service that is paged for a severity. None: nobody is paged there.
    #[must_use]
    pub fn service(&self, severity: &str) -> Option<&str> {
        self.pages_to.get(severity).map(String::as_str).or(self.pages.then_some(DEFAULT_SERVICE))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Severity {
    pub name: String,
    pub title: String,
    pub aliases: Vec<String>,
    /// Slack users and groups a page of this severity mentions (`U…`, `S…`, `@here` is not one).
    pub mentions: Vec<String>,
    /// How soon somebody answers its page. None: nothing is known, and no page of it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond_within: Option<RespondWithin>,
    /// How often those who follow an incident are told where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_every: Option<Span>,
}

/// `15m`, or `1 business day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RespondWithin {
    Span(Span),
    BusinessDays(u32),
}

impl RespondWithin {
    /// A business day is a day at least: the next one may be Monday.
    #[must_use]
    pub fn at_least(self) -> Span {
        match self {
            RespondWithin::Span(span) => span,
            RespondWithin::BusinessDays(days) => Span::hours(24 * i64::from(days)),
        }
    }
}

impl fmt::Display for RespondWithin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RespondWithin::Span(span) => span.fmt(f),
            RespondWithin::BusinessDays(1) => f.write_str("1 business day"),
            RespondWithin::BusinessDays(days) => write!(f, "{days} business days"),
        }
    }
}

/// A listed target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSpec {
    pub choice: Choice,
    pub bounds: Option<Bounds>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    One {
        object: Object,
    },
    /// A set by selector; the value of the label `pick` chooses one listed member.
    Set {
        namespace: String,
        kind: Kind,
        selector: String,
        pick: String,
    },
}

/// When so many targets of a set alert within a time that acting on each would make it worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brake {
    /// Of a set's members, in per cent.
    pub share_percent: u32,
    /// ... but at least so many.
    pub at_least: u32,
    /// Of any rules' targets, in all.
    pub all: u32,
    pub within: Span,
    /// How long it must be calm before acting goes on.
    pub cooldown: Span,
}

/// `3 per 1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub count: u32,
    pub within: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub name: String,
    /// All must match; none matches everything.
    pub matchers: Vec<Matcher>,
    /// None: the alert's `severity` label says, by name or alias.
    pub severity: Option<String>,
    pub service: Option<String>,
    pub runbook: Option<String>,
    /// What it means to those who use the service, for people who follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<String>,
    /// Its incidents are told in the security channel too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub security: bool,
    /// Labels whose values make an incident's identity. Already defaulted to the picked label where a target picks.
    pub group_by: Vec<String>,
    /// `for`.
    pub fires_for: Span,
    pub mode: Mode,
    pub limits: Vec<Limit>,
    pub cooldown: Span,
    /// An incident that began to fire so often within a time is left to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping: Option<Limit>,
    /// So many runs of it need an approval after it was changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub canary: u32,
    pub quiet: Span,
    pub undo_within: Span,
    pub evidence: Vec<CollectorSpec>,
    pub remediate: Vec<RungSpec>,
    /// A Slack channel of its own.
    pub slack_channel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuspage: Option<Wish>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungSpec {
    pub action: String,
    pub target: String,
    /// The action's parameters, checked by the action.
    pub with: Value,
    pub mode: Option<Mode>,
    pub verify: Verify,
    pub if_ineffective: IfIneffective,
    /// The label whose value chooses among what the target owns, for an action that needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chooses_by: Option<String>,
    /// Collectors that run before it, because it destroys what they would show.
    pub evidence: Vec<CollectorSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorSpec {
    pub collect: String,
    pub target: String,
    pub with: Value,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A compiled policy. Cheap to share, never changed.
#[derive(Debug, Clone)]
pub struct Policy {
    pub spec: PolicySpec,
    /// SHA-256 of [`Policy::text`], lower-case hex.
    pub hash: String,
    text: String,
    pub zone: TimeZone,
    index: Index,
    rule_hashes: Vec<String>,
}

/// Rules by one equality matcher each, so that a thousand rules cost what one costs.
#[derive(Debug, Clone, Default)]
struct Index {
    by_equality: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    others: Vec<usize>,
}

impl Policy {
    /// Compiles; the text is the canonical JSON. Fails only on an unknown time zone.
    pub fn new(spec: PolicySpec) -> Result<Policy, String> {
        let text = serde_json::to_string(&spec).map_err(|error| error.to_string())?;
        let hash = hex(&Sha256::digest(&text));
        let zone = TimeZone::get(&spec.timezone).map_err(|error| error.to_string())?;
        let mut index = Index::default();
        for (place, rule) in spec.rules.iter().enumerate() {
            match rule.matchers.iter().find_map(Matcher::equality) {
                Some((name, value)) => index
                    .by_equality
                    .entry(name.to_owned())
                    .or_default()
                    .entry(value.to_owned())
                    .or_default()
                    .push(place),
                None => index.others.push(place),
            }
        }
        let rule_hashes = spec.rules.iter().map(|rule| rule_hash(&spec, rule)).collect();
        Ok(Policy { spec, hash, text, zone, index, rule_hashes })
    }

    /// Reads a kept text back.
    pub fn from_text(text: &str) -> Result<Policy, String> {
        Policy::new(serde_json::from_str(text).map_err(|error| error.to_string())?)
    }

    /// What the journal keeps and [`Policy::from_text`] reads.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first rule, in the file's order, whose matchers all match.
    #[must_use]
    pub fn classify(&self, labels: &Labels) -> Option<&Rule> {
        let mut first: Option<usize> = None;
        let mut consider = |places: &[usize]| {
            for place in places {
                if first.is_some_and(|found| found <= *place) {
                    break;
                }
                let matches = self
                    .spec
                    .rules
                    .get(*place)
                    .is_some_and(|rule| rule.matchers.iter().all(|matcher| matcher.matches(labels)));
                if matches {
                    first = Some(*place);
                    break;
                }
            }
        };
        for (name, values) in &self.index.by_equality {
            if let Some(places) = labels.get(name).and_then(|value| values.get(value)) {
                consider(places);
            }
        }
        consider(&self.index.others);
        first.and_then(|place| self.spec.rules.get(place))
    }

    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.spec.rules.iter().find(|rule| rule.name == name)
    }

    #[must_use]
    pub fn freeze(&self, name: &str) -> Option<&Freeze> {
        self.spec.freezes.iter().find(|freeze| freeze.name == name)
    }

    /// Changes when the rule or one of its targets does; not with the mode.
    #[must_use]
    pub fn rule_hash(&self, name: &str) -> Option<&str> {
        let place = self.spec.rules.iter().position(|rule| rule.name == name)?;
        self.rule_hashes.get(place).map(String::as_str)
    }

    /// The severity by name or alias, without regard to case, and its rank.
    #[must_use]
    pub fn severity(&self, name: &str) -> Option<(u32, &Severity)> {
        let same = |word: &String| word.eq_ignore_ascii_case(name);
        (0..).zip(&self.spec.severities).find(|(_, severity)| same(&severity.name) || severity.aliases.iter().any(same))
    }

    /// A rule's severity, else the alert's `severity` label's, else the least severe.
    #[must_use]
    pub fn severity_of(&self, rule: &Rule, labels: &Labels) -> (u32, String) {
        let named = rule.severity.as_deref().or_else(|| labels.get("severity").map(String::as_str));
        let found = named.and_then(|name| self.severity(name));
        let found = found.or_else(|| (0..).zip(&self.spec.severities).last());
        found.map_or((0, String::new()), |(rank, severity)| (rank, severity.name.clone()))
    }

    /// The one object that a rung acts on for these labels. Empty or odd values choose nothing, never everything.
    pub fn resolve(&self, target: &str, labels: &Labels) -> Result<Target, String> {
        let spec = self.spec.targets.get(target).ok_or_else(|| format!("target `{target}` is not listed"))?;
        let object = match &spec.choice {
            Choice::One { object } => object.clone(),
            Choice::Set { namespace, kind, selector, pick } => Object::Workload {
                namespace: namespace.clone(),
                kind: *kind,
                name: chosen(pick, namespace, labels)?,
                selector: Some(selector.clone()),
            },
        };
        Ok(Target { name: target.to_owned(), object })
    }

    /// A rule's ladder for these labels, resolved. The mode is the least of global, rule and rung.
    pub fn ladder(&self, rule: &Rule, labels: &Labels) -> Result<Vec<Rung>, String> {
        rule.remediate
            .iter()
            .map(|rung| {
                let target = self.resolve(&rung.target, labels)?;
                let namespace = target.namespace().unwrap_or_default();
                Ok(Rung {
                    action: rung.action.clone(),
                    member: rung.chooses_by.as_ref().map(|label| chosen(label, namespace, labels)).transpose()?,
                    target,
                    with: rung.with.clone(),
                    mode: self.spec.mode.min(rule.mode).min(rung.mode.unwrap_or(Mode::Auto)),
                    verify: rung.verify.clone(),
                    if_ineffective: rung.if_ineffective,
                    bounds: self.spec.targets.get(&rung.target).and_then(|target| target.bounds),
                    evidence: self.collectors(&rung.evidence, labels),
                })
            })
            .collect()
    }

    /// Evidence never blocks: a collector whose target cannot be resolved is left out.
    #[must_use]
    pub fn collectors(&self, specs: &[CollectorSpec], labels: &Labels) -> Vec<Collector> {
        let resolve = |spec: &CollectorSpec| {
            let target = self.resolve(&spec.target, labels).ok()?;
            Some(Collector { collect: spec.collect.clone(), target, with: spec.with.clone() })
        };
        specs.iter().filter_map(resolve).collect()
    }
}

/// The object's name that a label has. Names are used again in every namespace: an alert that says which one it is of
/// chooses in no other.
fn chosen(label: &str, namespace: &str, labels: &Labels) -> Result<String, String> {
    let value = labels.get(label).map_or("", String::as_str);
    if !is_object_name(value) {
        return Err(format!("label `{label}` is {value:?}, which is no object's name"));
    }
    let said_by = namespace_label(label);
    match labels.get(said_by).filter(|said| !said.is_empty() && *said != namespace) {
        Some(said) => Err(format!("label `{said_by}` is {said:?}, and what `{label}` chooses among is in {namespace}")),
        None => Ok(value.to_owned()),
    }
}

/// The label that says which namespace the object of another label is in. Prometheus puts `exported_` before the labels of
/// an exporter that clash with its own: both, or neither, are of the object that the alert is about.
#[must_use]
pub fn namespace_label(label: &str) -> &'static str {
    if label.starts_with("exported_") { "exported_namespace" } else { "namespace" }
}

/// A DNS subdomain, as Kubernetes names objects: nothing else may reach a path.
#[must_use]
pub fn is_object_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    text.len() <= 253
        && bytes.iter().all(|byte| inner(*byte))
        && edge(bytes.first())
        && edge(bytes.last())
        && !text.contains("..")
}

/// The mode is left out: raising it changes no plan, and lowering it is noticed by itself.
/// A policy's hash where people read it; the journal has all of it.
#[must_use]
pub fn short_hash(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn rule_hash(spec: &PolicySpec, rule: &Rule) -> String {
    let mut same = rule.clone();
    same.mode = Mode::Auto;
    // Nor does it matter to a step what customers read.
    same.statuspage = None;
    for rung in &mut same.remediate {
        rung.mode = None;
    }
    let targets: Vec<_> =
        rule.remediate.iter().map(|rung| (rung.target.as_str(), spec.targets.get(&rung.target))).collect();
    let text = serde_json::json!([same, targets]).to_string();
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_chosen_in_the_alerts_own_namespace_alone() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let name = |pairs: &[(&str, &str)], label: &str| chosen(label, "production", &labels(pairs));
        assert_eq!(name(&[("pod", "web-0"), ("namespace", "production")], "pod"), Ok("web-0".to_owned()));
        assert_eq!(name(&[("pod", "web-0")], "pod"), Ok("web-0".to_owned()), "it does not say");
        assert_eq!(name(&[("pod", "web-0"), ("namespace", "")], "pod"), Ok("web-0".to_owned()));
        assert_eq!(
            name(&[("pod", "web-0"), ("namespace", "staging")], "pod").unwrap_err(),
            "label `namespace` is \"staging\", and what `pod` chooses among is in production"
        );
        // The exporter's own pod and namespace, and those that it tells of.
        let told = [("pod", "ksm-1"), ("namespace", "monitoring"), ("exported_pod", "web-0")];
        let of = |namespace| name(&[&told[..], &[("exported_namespace", namespace)]].concat(), "exported_pod");
        assert_eq!(of("production"), Ok("web-0".to_owned()));
        assert!(of("staging").is_err());
    }
}
