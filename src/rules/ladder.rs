//! One rule and its ladder: matchers, identity, times, rungs.

use super::{
    check::{Check, Known, LONGEST_TEXT_BYTES, MOST_ENTRIES, MOST_MATCHERS, MOST_PATTERNS, MOST_RUNGS},
    file, public, restraints,
};
use crate::{
    config::{
        node::{Kind, Node, Place},
        yaml::Located,
    },
    decide::policy::{Choice, CollectorSpec, Rule, RungSpec, TargetSpec, namespace_label},
    model::{
        matcher::{MatchOp, Matcher},
        rung::{IfIneffective, Verify},
        target::Object,
        time::Span,
    },
};
use serde_json::Value;
use std::collections::BTreeSet;

const LONGEST_IMPACT_BYTES: usize = 500;
const DEFAULT_SETTLE: Span = Span::seconds(30);
const DEFAULT_RESOLVED_WITHIN: Span = Span::minutes(10);
/// Less, and a metric that has not been scraped yet says that nothing helped.
const SHORTEST_USUAL_SETTLE: Span = Span::seconds(30);
/// Longer names of services and labels do not fit where they are shown.
const LONGEST_WORD_BYTES: usize = 200;
/// Actions whose change is put back by itself when it did not help. Everything else stays as it is.
const UNDONE_WHEN_INEFFECTIVE: [&str; 1] = ["kubernetes/scale"];
/// Labels of kube-state-metrics that name an object, and come with the label of its namespace.
const WITH_A_NAMESPACE: [&str; 8] = [
    "deployment",
    "statefulset",
    "daemonset",
    "pod",
    "exported_deployment",
    "exported_statefulset",
    "exported_daemonset",
    "exported_pod",
];
/// Collected before an action ends what they would show, without being asked: those that fit its target.
const BEFORE_DESTROYING: [&str; 3] = ["kubernetes/pods", "kubernetes/logs", "postgres/connections"];

/// The rule as used. What is wrong in it is told and left out.
pub(super) fn rule(check: &mut Check<'_>, written: file::Rule, known: &Known<'_>) -> Rule {
    check.name(&written.name, "rule");
    if written.name.value == crate::decide::brake::RULE {
        check.error(&written.name.place, format!("`{}` is the brake's own word", written.name.value));
    }
    let matchers = matchers(check, &written.matchers);
    let evidence: Vec<CollectorSpec> = check
        .bounded(written.evidence.as_ref(), MOST_ENTRIES, "collectors")
        .iter()
        .filter_map(|one| collector(check, one, known))
        .collect();
    let mode = check.mode(written.mode.as_ref()).unwrap_or(known.defaults.mode);
    let rungs = check.bounded(written.remediate.as_ref(), MOST_RUNGS, "rungs");
    if let (Some(remediate), [], true) = (rungs.first(), written.matchers.value.as_slice(), matchers.is_empty()) {
        let what = format!("`{}` takes every alert, and does something about it", written.name.value);
        let hint = "give it matchers: an action fits one kind of alert";
        check.problems.push(remediate.action.warning(what).hint(hint));
    }
    namespaces(check, rungs, &matchers, known);
    let severity = written.severity.as_ref().and_then(|severity| self::severity(check, severity, known));
    to_zero(check, rungs, severity.as_deref(), known);
    let remediate = rungs.iter().filter_map(|rung| self::rung(check, rung, known, &evidence)).collect();
    let limits = check.bounded(written.limits.as_ref(), MOST_ENTRIES, "limits").to_vec();
    Rule {
        name: written.name.value.clone(),
        matchers,
        severity,
        service: check.text(written.service.as_ref(), LONGEST_WORD_BYTES),
        runbook: runbook(check, written.runbook.as_ref()),
        impact: check.text(written.impact.as_ref(), LONGEST_IMPACT_BYTES),
        security: security(check, written.security.as_ref()),
        group_by: group_by(check, &written, rungs, known),
        fires_for: check.span(written.fires_for.as_ref(), Span::ZERO),
        mode,
        limits: check.limits(&limits),
        cooldown: check.span(written.cooldown.as_ref(), known.defaults.cooldown),
        quiet: check.span(written.quiet.as_ref(), known.defaults.quiet),
        undo_within: check.span(written.undo_within.as_ref(), known.defaults.undo_within),
        flapping: restraints::flapping(check, written.flapping.as_ref(), known.defaults.flapping),
        canary: restraints::canary(check, written.canary.as_ref(), known.defaults.canary),
        evidence,
        remediate,
        slack_channel: channel(check, written.notify.as_ref().and_then(|notify| notify.slack.as_ref())),
        statuspage: public::wish(check, written.notify.as_ref().and_then(|it| it.statuspage.as_ref()), known),
    }
}

fn matchers(check: &mut Check<'_>, written: &Located<Vec<Located<String>>>) -> Vec<Matcher> {
    let mut matchers = Vec::new();
    for text in check.bounded(Some(written), MOST_MATCHERS, "matchers") {
        if text.value.len() > LONGEST_TEXT_BYTES {
            check.error(&text.place, format!("the matcher has more than {LONGEST_TEXT_BYTES} bytes"));
            continue;
        }
        // Before it is compiled: that is what costs. A value may hold the operator too, which counts it once too often.
        if ["=~", "!~"].iter().any(|operator| text.value.contains(operator)) {
            check.patterns += 1;
            if check.patterns > MOST_PATTERNS {
                if check.patterns == MOST_PATTERNS + 1 {
                    let what = format!("the rules have more than {MOST_PATTERNS} patterns");
                    check.hinted(&text.place, what, "a matcher with `=` costs next to nothing");
                }
                continue;
            }
        }
        match Matcher::parse(&text.value) {
            Ok(matcher) => {
                if matcher.op() == MatchOp::Equal && matcher.value().starts_with('=') {
                    let what = format!("`{matcher}` wants a value that begins with `=`");
                    check.problems.push(text.warning(what).hint("`==` is not an operator, use `=`"));
                }
                matchers.push(matcher);
            }
            Err(_) if doubled(&text.value) => {
                let shown = crate::telemetry::text::shortened(&text.value, 60);
                let what = format!("`{shown}` is not a matcher: `==` is not an operator");
                check.hinted(&text.place, what, "write one `=`: 'alertname = \"HighLoad\"'");
            }
            Err(error) => {
                let shown = crate::telemetry::text::shortened(&text.value, 60);
                let problem = text.error(format!("`{shown}` is not a matcher: {}", error.what()));
                check.problems.push(match error.hint() {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                });
            }
        }
    }
    matchers
}

/// A label, and `==` after it.
fn doubled(matcher: &str) -> bool {
    let rest = matcher.trim_start().trim_start_matches(|it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':');
    rest.trim_start().starts_with("==")
}

/// Isolating a target is for the most severe alone: of a rule that names another severity it would be refused each time.
fn to_zero(check: &mut Check<'_>, rungs: &[file::Rung], severity: Option<&str>, known: &Known<'_>) {
    let (Some(severity), Some(worst)) = (severity, &known.worst) else { return };
    if severity == worst {
        return;
    }
    for rung in rungs.iter().filter(|rung| rung.action.value == "kubernetes/scale") {
        let Some(Node { kind: Kind::Map(entries), .. }) = &rung.with else { continue };
        let zero = entries.iter().find(|(key, value)| {
            let is_zero = matches!(&value.kind, Kind::Number(text) | Kind::Text(text) if text == "0");
            key.text == "replicas" && is_zero
        });
        let Some((key, _)) = zero else { continue };
        let allowed = |spec: &TargetSpec| spec.bounds.is_some_and(|bounds| bounds.may_scale_to_zero);
        if known.targets.get(rung.target.as_str()).is_some_and(|target| target.as_ref().is_some_and(allowed)) {
            let what = format!("`replicas: 0` is for incidents of {worst} alone, and this rule's are {severity}");
            let hint = format!("write `severity: {worst}`, or another number: a guard refuses it for every other");
            check.hinted(&key.place, what, hint);
        }
    }
}

fn severity(check: &mut Check<'_>, written: &Located<String>, known: &Known<'_>) -> Option<String> {
    let words = known.severities.as_ref()?;
    let found = words.get(&written.value.to_ascii_lowercase());
    if found.is_none() {
        let names: BTreeSet<&str> = words.values().map(String::as_str).collect();
        check.unknown_severity(&written.place, &written.value, names);
    }
    found.cloned()
}

/// Whether its incidents are told in the security channel.
fn security(check: &mut Check<'_>, written: Option<&Located<bool>>) -> bool {
    let Some(written) = written else { return false };
    if written.value && check.context.security_channel.is_none() {
        let hint = "add `security: {slack: '#security'}` to nightshift.yaml";
        check.hinted(&written.place, "`security: true` needs security.slack: nobody would be told", hint);
    }
    written.value
}

fn runbook(check: &mut Check<'_>, written: Option<&Located<String>>) -> Option<String> {
    let written = written?;
    let text = check.text(Some(written), LONGEST_TEXT_BYTES)?;
    let address = reqwest::Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if !address {
        check.hinted(&written.place, "a runbook is a web address", "write it with `https://` at its beginning");
    }
    Some(text)
}

/// `#name`, or the ID of a channel.
fn channel(check: &mut Check<'_>, written: Option<&Located<String>>) -> Option<String> {
    let written = written?;
    let name = written.value.strip_prefix('#');
    let is_name = name.is_some_and(|name| (1..=80).contains(&name.len()) && !name.contains(char::is_whitespace));
    let is_id = (3..=32).contains(&written.value.len())
        && written.value.starts_with(['C', 'D', 'G'])
        && written.value.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if !is_name && !is_id {
        let what = format!("`{}` is not a Slack channel", crate::telemetry::text::shortened(&written.value, 60));
        check.hinted(&written.place, what, "write '#name' in quotes, or the channel's ID");
        return None;
    }
    if check.context.slack_channel.is_none() {
        let what = "Slack is not set up: nobody is told";
        check.problems.push(written.warning(what).hint("set `slack` in nightshift.yaml"));
    }
    Some(written.value.clone())
}

/// A rung that picks by a name acts for alerts of its target's namespace alone: the rule's matchers should say so, where
/// the label is one of those that come with a namespace.
fn namespaces(check: &mut Check<'_>, rungs: &[file::Rung], matchers: &[Matcher], known: &Known<'_>) {
    for rung in rungs {
        let Some(Some(target)) = known.targets.get(rung.target.as_str()) else { continue };
        let (namespace, of_set) = match &target.choice {
            Choice::Set { namespace, pick, .. } => (namespace, Some(pick.as_str())),
            Choice::One { object: Object::Workload { namespace, .. } } => (namespace, None),
            Choice::One { .. } => continue,
        };
        let of_action = check.context.actions.get(&rung.action.value).and_then(|action| action.chooses_by());
        let Some(label) = of_action.or(of_set.filter(|label| WITH_A_NAMESPACE.contains(label))) else { continue };
        let says = namespace_label(label);
        let fixed = matchers.iter().filter_map(Matcher::equality).find(|(name, _)| *name == says);
        let what = match fixed {
            Some((_, value)) if value == namespace => continue,
            Some((_, value)) => {
                format!("alerts of {value} choose nothing in {namespace}, where `{label}` chooses: this never acts")
            }
            None => format!("alerts of every namespace are taken, and `{label}` chooses in {namespace} alone"),
        };
        let hint = format!("match `{says} = \"{namespace}\"`: for an alert of another namespace nothing is done");
        check.problems.push(rung.action.warning(what).hint(hint));
    }
}

/// The labels of an incident's identity: those by which targets and actions pick are always among them, because an incident has
/// one ladder on one target.
fn group_by(check: &mut Check<'_>, written: &file::Rule, rungs: &[file::Rung], known: &Known<'_>) -> Vec<String> {
    let mut picked: Vec<(&str, String)> = Vec::new();
    for rung in rungs {
        let of_set = match known.targets.get(rung.target.as_str()) {
            Some(Some(TargetSpec { choice: Choice::Set { pick, .. }, .. })) => {
                Some((pick.as_str(), format!("target `{}`", rung.target.value)))
            }
            _ => None,
        };
        let of_action = check.context.actions.get(&rung.action.value).and_then(|action| action.chooses_by());
        for (label, who) in of_set.into_iter().chain(of_action.map(|label| (label, rung.action.value.clone()))) {
            if !picked.iter().any(|(known, _)| *known == label) {
                picked.push((label, who));
            }
        }
    }
    let Some(given) = &written.group_by else {
        return picked.into_iter().map(|(label, _)| label.to_owned()).collect();
    };
    let labels = check.bounded(Some(given), MOST_ENTRIES, "labels");
    let mut group_by: Vec<String> = Vec::new();
    for label in labels {
        if check.text(Some(label), LONGEST_WORD_BYTES).is_none() {
            continue;
        }
        if group_by.contains(&label.value) {
            check.error(&label.place, format!("`{}` stands twice", label.value));
        } else {
            group_by.push(label.value.clone());
        }
    }
    for (label, who) in picked {
        if !labels.iter().any(|given| given.value == label) {
            let what = format!("`group_by` lacks `{label}`, by which {who} picks");
            check.hinted(&given.place, what, "add it, or remove `group_by`: an incident acts on one target");
        }
    }
    group_by
}

/// The target, if it is listed and right. A target that is listed and wrong was told where it stands.
fn target<'k>(check: &mut Check<'_>, name: &Located<String>, known: &'k Known<'_>) -> Option<&'k TargetSpec> {
    match known.targets.get(name.value.as_str()) {
        Some(target) => target.as_ref(),
        None => {
            if !known.incomplete {
                let what = format!("target `{}` is not listed under `targets`", name.value);
                check.unknown(name, what, known.targets.keys().copied());
            }
            None
        }
    }
}

/// An object to check against; of a set some member.
fn example(spec: &TargetSpec) -> Object {
    match &spec.choice {
        Choice::One { object } => object.clone(),
        Choice::Set { namespace, kind, selector, .. } => Object::Workload {
            namespace: namespace.clone(),
            kind: *kind,
            name: "member".to_owned(),
            selector: Some(selector.clone()),
        },
    }
}

fn rung(check: &mut Check<'_>, written: &file::Rung, known: &Known<'_>, given: &[CollectorSpec]) -> Option<RungSpec> {
    let target = target(check, &written.target, known);
    let with = parameters(check, written.with.as_ref());
    let mode = check.mode(written.mode.as_ref());
    let verify = verify(check, written.verify.as_ref());
    let actions = check.context.actions;
    let Some(action) = actions.get(&written.action.value) else {
        let what = format!("there is no action `{}`", written.action.value);
        check.unknown(&written.action, what, actions.names().collect::<Vec<_>>());
        return None;
    };
    let (target, with) = (target?, with?);
    let mut verify = verify;
    if let Some(watch) = action.watches(&with) {
        if let Some(within) = written.verify.as_ref().and_then(|verify| verify.resolved_within.as_ref()) {
            let hint = "remove it, and write `with: {watch: 10m}` where another time is meant";
            check.hinted(&within.place, format!("{} watches for its `watch`", action.name()), hint);
        }
        verify.resolved_within = watch;
    }
    for what in action.check(&with, &example(target), target.bounds) {
        let place = place_of(&what, written, target);
        let names_itself = what.starts_with(action.name());
        check.error(&place, if names_itself { what } else { format!("{}: {what}", action.name()) });
    }
    for what in action.warns(&with) {
        let place = place_of(&what, written, target);
        check.problems.push(place.warning(format!("{}: {what}", action.name())));
    }
    let if_ineffective = match &written.if_ineffective {
        Some(word) if word.value == file::IfIneffectiveWord::Undo && !action.has_undo() => {
            let what = format!("{} has no undo", written.action.value);
            check.hinted(&word.place, what, "write `if_ineffective: keep`, or remove the key");
            IfIneffective::Keep
        }
        Some(word) => match word.value {
            file::IfIneffectiveWord::Undo => IfIneffective::Undo,
            file::IfIneffectiveWord::Keep => IfIneffective::Keep,
        },
        None if UNDONE_WHEN_INEFFECTIVE.contains(&action.name()) => IfIneffective::Undo,
        None => IfIneffective::Keep,
    };
    // What adds pods ends them when it is undone.
    let destroys = action.may_destroy(&with) || action.has_undo();
    let evidence = if destroys { before(check, &written.target.value, target, given) } else { Vec::new() };
    Some(RungSpec {
        action: written.action.value.clone(),
        target: written.target.value.clone(),
        with,
        mode,
        verify,
        if_ineffective,
        chooses_by: action.chooses_by().map(str::to_owned),
        evidence,
    })
}

/// What the action would destroy, of its target: with the rule's own parameters where it collects the same.
fn before(check: &Check<'_>, name: &str, target: &TargetSpec, given: &[CollectorSpec]) -> Vec<CollectorSpec> {
    let object = example(target);
    BEFORE_DESTROYING
        .iter()
        .filter(|collector| check.context.collectors.contains(collector) && sees(collector, &object))
        .map(|collector| {
            let same = given.iter().find(|one| one.collect == **collector && one.target == name);
            same.cloned().unwrap_or_else(|| CollectorSpec {
                collect: (*collector).to_owned(),
                target: name.to_owned(),
                with: Value::Object(serde_json::Map::new()),
            })
        })
        .collect()
}

fn verify(check: &mut Check<'_>, written: Option<&file::Verify>) -> Verify {
    let Some(written) = written else {
        return Verify { settle: DEFAULT_SETTLE, resolved_within: DEFAULT_RESOLVED_WITHIN, query: None };
    };
    let settle = check.span(written.settle.as_ref(), DEFAULT_SETTLE);
    if let Some(text) = &written.settle
        && settle < SHORTEST_USUAL_SETTLE
    {
        let what =
            format!("settle {settle} is under {SHORTEST_USUAL_SETTLE}: it may be measured before anything changes");
        check.problems.push(text.warning(what).hint("wait for at least one scrape and one evaluation of the rule"));
    }
    let resolved_within = check.span(written.resolved_within.as_ref(), DEFAULT_RESOLVED_WITHIN);
    if let Some(text) = &written.resolved_within
        && resolved_within == Span::ZERO
    {
        check.hinted(&text.place, "nothing resolves within no time", "write it like `10m`");
    }
    let query = check.text(written.query.as_ref(), LONGEST_TEXT_BYTES);
    if let Some(text) = &written.query
        && !check.context.prometheus
    {
        let hint = "set prometheus.url in nightshift.yaml, or remove `query`";
        check.hinted(&text.place, "a query needs prometheus.url: nobody else can answer it", hint);
    }
    Verify { settle, resolved_within, query }
}

fn collector(check: &mut Check<'_>, written: &file::Evidence, known: &Known<'_>) -> Option<CollectorSpec> {
    let target = target(check, &written.target, known);
    let with = parameters(check, written.with.as_ref());
    let collectors = check.context.collectors;
    if !collectors.contains(&written.collect.value.as_str()) {
        let what = format!("there is no collector `{}`", written.collect.value);
        check.unknown(&written.collect, what, collectors.iter().copied());
        return None;
    }
    let object = example(target?);
    let what = match &object {
        Object::Workload { .. } | Object::Database { .. } => None,
        Object::BlueGreen { .. } => {
            Some(format!("target `{}` is a Service: collect from its Deployments", written.target.value))
        }
        Object::Nothing => Some(format!("target `{}` is nothing to collect from", written.target.value)),
    };
    if let Some(what) = what {
        check.error(&written.target.place, what);
        return None;
    }
    if !sees(&written.collect.value, &object) {
        let what = format!("{} has nothing to collect from target `{}`", written.collect.value, written.target.value);
        check.error(&written.target.place, what);
        return None;
    }
    Some(CollectorSpec { collect: written.collect.value.clone(), target: written.target.value.clone(), with: with? })
}

/// Whether a collector is for such objects. The first part of its name says of which peer it asks.
fn sees(collector: &str, object: &Object) -> bool {
    let of = |peer: &str| collector.strip_prefix(peer).is_some_and(|rest| rest.starts_with('/'));
    match object {
        Object::Workload { .. } => of("kubernetes"),
        Object::Database { .. } => of("postgres"),
        Object::BlueGreen { .. } | Object::Nothing => false,
    }
}

/// `with` as JSON, for the plug-in that knows it. Without it, an empty mapping.
fn parameters(check: &mut Check<'_>, with: Option<&Node>) -> Option<Value> {
    let Some(node) = with else { return Some(Value::Object(serde_json::Map::new())) };
    if let Kind::Map(_) = node.kind {
        return Some(json(node));
    }
    let what = format!("expected a mapping, found {}", node.kind.found());
    check.hinted(&node.place, what, "write `with: {KEY: VALUE}`");
    None
}

/// `+2` is not the number 2: a number with a plus stays the text that was written.
fn json(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => Value::Bool(*value),
        Kind::Number(text) if text.starts_with('+') => Value::String(text.clone()),
        Kind::Number(text) => {
            text.parse::<serde_json::Number>().map_or_else(|_| Value::String(text.clone()), Value::Number)
        }
        Kind::Text(text) => Value::String(text.clone()),
        Kind::List(items) => Value::Array(items.iter().map(json).collect()),
        Kind::Map(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.text.clone(), json(value))).collect())
        }
    }
}

/// Where a sentence of an action belongs: at the target where it is about its kind or about bounds that it has not, at
/// the parameter that it names in backticks, else at `with`, else at the action.
fn place_of(what: &str, written: &file::Rung, target: &TargetSpec) -> Place {
    let of_wrong_kind = match example(target) {
        Object::Workload { kind, .. } => what.contains(kind.word()) || what.contains("needs a target"),
        Object::BlueGreen { .. } | Object::Database { .. } | Object::Nothing => what.contains("target"),
    };
    if of_wrong_kind || (target.bounds.is_none() && what.contains("bounds")) {
        return written.target.place.clone();
    }
    let Some(with) = &written.with else { return written.action.place.clone() };
    let Kind::Map(entries) = &with.kind else { return with.place.clone() };
    let named = |key: &str| what.contains(&format!("`{key}`")) || what.contains(&format!("`{key}: "));
    entries.iter().find(|(key, _)| named(&key.text)).map_or(&with.place, |(key, _)| &key.place).clone()
}
