//! From as written to as used: every problem of every file at once.
//!
//! What is wrong is left out and the rest is checked on; what refers to something left out is not told as well. The
//! stand-ins never leave here, because any error refuses the whole.

use super::{
    Context, Loaded, asking, escalations,
    file::{File, Named, Rule},
    ladder, public, reach, restraints,
    sections::{self, Defaults},
    targets,
};
use crate::{
    config::{
        node::{Kind, Node, Place},
        suggest, typed,
        yaml::{self, Located},
    },
    decide::policy::{self, PagerDutyUse, PolicySpec, Severity, TargetSpec},
    model::{problem::Problem, time::Span},
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

pub const MOST_RULES: usize = 10_000;
pub const MOST_TARGETS: usize = 10_000;
pub const MOST_MATCHERS: usize = 50;
/// Patterns of all rules together: each costs memory once it is compiled.
pub const MOST_PATTERNS: usize = 10_000;
pub const MOST_RUNGS: usize = 10;
/// Any other list of a rules file.
pub const MOST_ENTRIES: usize = 20;
pub const LONGEST_NAME_BYTES: usize = 100;
pub const LONGEST_TEXT_BYTES: usize = 4_096;
/// No duration of a rules file is longer; limits look back no further.
pub const LONGEST_SPAN: Span = Span::hours(31 * 24);
/// A person mends some and runs it again.
const MOST_PROBLEMS: usize = 200;

/// Texts with the names that problems give them. `problems` were found on the way to the texts.
pub fn texts(
    texts: &[(String, String)],
    problems: Vec<Problem>,
    context: &Context<'_>,
) -> Result<Loaded, Vec<Problem>> {
    let mut check = Check { context, problems, patterns: 0 };
    let written = Written::gather(&mut check, texts);
    let policy = check.policy(&written, texts.first().map_or("rules", |(name, _)| name));
    let mut problems = check.problems;
    problems.sort_by(|one, other| (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column)));
    if problems.iter().all(|problem| problem.warning) {
        let files = texts.iter().map(|(name, _)| name.clone()).collect();
        return Ok(Loaded { policy, warnings: problems, files });
    }
    // Errors first, so that the cut never leaves only warnings.
    if problems.len() > MOST_PROBLEMS {
        problems.sort_by_key(|problem| problem.warning);
        let more = problems.len() - MOST_PROBLEMS;
        problems.truncate(MOST_PROBLEMS);
        if let Some(last) = problems.last() {
            let file = last.file.clone();
            problems.push(Problem::error(
                file,
                0,
                0,
                if more == 1 {
                    "1 more problem is not shown".to_owned()
                } else {
                    format!("{more} more problems are not shown")
                },
            ));
        }
    }
    Err(problems)
}

pub(super) struct Check<'a> {
    pub context: &'a Context<'a>,
    pub problems: Vec<Problem>,
    /// Patterns of all rules so far.
    pub patterns: usize,
}

/// What all files say together, each part still as written.
#[derive(Default)]
pub(super) struct Written {
    /// Sections that stand in one file only, by key.
    once: BTreeMap<&'static str, Node>,
    pub targets: Vec<(Located<String>, Node)>,
    pub rules: Vec<Node>,
    /// Some file could not be read at all: what it lists is not known.
    pub incomplete: bool,
    /// Some rules are not here.
    lacks_rules: bool,
}

impl Written {
    fn gather(check: &mut Check<'_>, texts: &[(String, String)]) -> Written {
        let mut written = Written { incomplete: check.problems.iter().any(|it| !it.warning), ..Written::default() };
        for (name, text) in texts {
            let tree = match yaml::tree(name, text) {
                Ok((tree, problems)) => {
                    check.problems.extend(problems);
                    tree
                }
                Err(problems) => {
                    check.problems.extend(problems);
                    written.incomplete = true;
                    continue;
                }
            };
            match check.file(tree) {
                Some(file) => written.take(check, file),
                None => written.incomplete = true,
            }
        }
        written
    }

    fn take(&mut self, check: &mut Check<'_>, file: File) {
        let File {
            severities,
            targets,
            defaults,
            max_concurrent,
            limits,
            settle_after_start,
            freezes,
            brake,
            escalations,
            rules,
        } = file;
        let once = [
            ("severities", severities),
            ("defaults", defaults),
            ("max_concurrent", max_concurrent),
            ("limits", limits),
            ("freezes", freezes),
            ("brake", brake),
            ("settle_after_start", settle_after_start),
            ("escalations", escalations),
        ];
        for (key, node) in once {
            let Some(node) = node else { continue };
            match self.once.get(key) {
                Some(first) => {
                    let what = format!("`{key}` stands in a second file");
                    let hint = format!("it is first given in {}; keep one of them", place(&first.place));
                    check.problems.push(node.place.error(what).hint(hint));
                }
                None => {
                    self.once.insert(key, node);
                }
            }
        }
        if let Some(node) = targets {
            match check.read::<Named<Node>>(&node) {
                Some(Named(targets)) => self.targets.extend(targets),
                None => self.incomplete = true,
            }
        }
        if let Some(node) = rules {
            match node.kind {
                Kind::List(rules) => self.rules.extend(rules),
                kind => {
                    let hint = "each rule begins with `- `: `rules:`, and below it `  - name: NAME`";
                    check.hinted(&node.place, format!("expected a list, found {}", kind.found()), hint);
                    self.lacks_rules = true;
                }
            }
        }
    }

    pub fn section<T: DeserializeOwned>(&self, check: &mut Check<'_>, key: &str) -> Option<T> {
        self.once.get(key).and_then(|node| check.read(node))
    }

    /// As it is written.
    pub fn node(&self, key: &str) -> Option<&Node> {
        self.once.get(key)
    }

    pub fn gives(&self, key: &str) -> bool {
        self.once.contains_key(key)
    }
}

/// What rules are checked against, once the other sections are.
pub(super) struct Known<'a> {
    pub defaults: Defaults,
    /// Canonical names by every lower-case name and alias. None: they are not known, and nobody is blamed.
    pub severities: Option<BTreeMap<String, String>>,
    /// The same, most severe first.
    pub listed: Option<&'a [Severity]>,
    /// The most severe one's name.
    pub worst: Option<String>,
    /// None: listed, but wrong.
    pub targets: BTreeMap<&'a str, Option<TargetSpec>>,
    /// A target that is not here may stand in a file that could not be read.
    pub incomplete: bool,
}

impl Check<'_> {
    /// Sections by key; unknown keys are told and left out.
    fn file(&mut self, mut tree: Node) -> Option<File> {
        let problems = match typed::read::<File>(&tree) {
            Ok(file) => return Some(file),
            Err(problems) => problems,
        };
        if let Kind::Map(entries) = &mut tree.kind {
            let told = |place: &Place| problems.iter().any(|it| (it.line, it.column) == (place.line, place.column));
            entries.retain(|(key, _)| !told(&key.place));
            let rest = typed::read::<File>(&tree).ok();
            self.problems.extend(problems);
            rest
        } else {
            let hint = "a rules file is a mapping: `rules:` and other sections, each at the line's beginning";
            self.problems.extend(problems.into_iter().map(|problem| problem.hint(hint)));
            None
        }
    }

    /// A part in its own type, or None with its problems told.
    pub fn read<T: DeserializeOwned>(&mut self, node: &Node) -> Option<T> {
        typed::read(node).map_err(|problems| self.problems.extend(problems)).ok()
    }

    fn policy(&mut self, written: &Written, first_file: &str) -> PolicySpec {
        let mut severities = sections::severities(self, written);
        let escalations = escalations::all(self, written, severities.as_deref_mut());
        let pages_to = escalations::pages_to(self, &escalations);
        let incident_channels = sections::incident_channels(self, severities.as_deref());
        let defaults = sections::defaults(self, written);
        let (limits_namespace, limits_all) = sections::limits(self, written);
        let targets = targets::all(self, written);
        let known = Known {
            defaults,
            severities: severities.as_ref().map(|all| sections::words(all)),
            listed: severities.as_deref(),
            worst: severities.as_ref().and_then(|all| all.first()).map(|first| first.name.clone()),
            incomplete: written.incomplete,
            targets,
        };
        let (rules, all_read) = self.rules(written, &known);
        let approvers = sections::approvers(self, severities.as_deref());
        if all_read && self.problems.iter().all(|problem| problem.warning) {
            escalations::never_called(self, &escalations, &rules);
            asking::nobody_answers(self, &rules, &approvers, severities.as_deref().unwrap_or_default());
        }
        if all_read && !rules.iter().any(|(_, rule)| reach::takes_all(rule)) {
            let what = "no rule takes every alert: what no rule matches is journalled, and nobody is told";
            let hint = "end with a rule that has `match: []` and no `remediate`";
            self.problems.push(Problem::warning(first_file, 0, 0, what).hint(hint));
        }
        PolicySpec {
            mode: self.context.mode,
            targets: known
                .targets
                .into_iter()
                .filter_map(|(name, target)| target.map(|target| (name.to_owned(), target)))
                .collect(),
            rules: rules.into_iter().map(|(_, rule)| rule).collect(),
            max_concurrent: sections::max_concurrent(self, written),
            limits_namespace,
            limits_all,
            settle_after_start: sections::settle_after_start(self, written),
            freezes: restraints::freezes(self, written, severities.as_deref().unwrap_or_default()),
            brake: Some(restraints::brake(self, written)),
            unclean_starts: self.context.unclean_starts,
            lost_after: self.context.lost_after,
            timezone: self.context.timezone.to_owned(),
            asks_alertmanager: self.context.alertmanager,
            asks_prometheus: self.context.prometheus,
            slack_channel: self.context.slack_channel.map(str::to_owned),
            people: self.context.people.cloned().unwrap_or_default(),
            escalations: escalations.into_iter().map(|(_, escalation)| escalation).collect(),
            incident_channels,
            security_channel: self.context.security_channel.map(str::to_owned),
            approvers,
            statuspage: public::page(self, severities.as_deref()),
            pagerduty: PagerDutyUse { pages_to, ..self.context.pagerduty.cloned().unwrap_or_default() },
            severities: severities.unwrap_or_default(),
        }
    }

    /// The rules that are right as far as matching goes, and whether these are all.
    fn rules(&mut self, written: &Written, known: &Known<'_>) -> (Vec<(Place, policy::Rule)>, bool) {
        if let Some(node) = written.rules.get(MOST_RULES) {
            self.error(&node.place, format!("more than {MOST_RULES} rules"));
        }
        let mut names: BTreeMap<String, Place> = BTreeMap::new();
        let mut rules = Vec::new();
        for node in written.rules.iter().take(MOST_RULES) {
            let Some(rule) = self.read::<Rule>(node) else { continue };
            let place = rule.name.place.clone();
            if let Some(first) = names.get(&rule.name.value) {
                let what = format!("a second rule is named `{}`", rule.name.value);
                self.problems.push(place.error(what).hint(format!("the first one is in {}", self::place(first))));
            } else {
                names.insert(rule.name.value.clone(), place.clone());
            }
            let matchers = rule.matchers.value.len();
            let rule = ladder::rule(self, rule, known);
            if rule.matchers.len() < matchers {
                continue;
            }
            rules.push((place, rule));
        }
        reach::warn(self, &rules);
        let all_read = rules.len() == written.rules.len() && !written.lacks_rules && !written.incomplete;
        (rules, all_read)
    }

    pub fn error(&mut self, place: &Place, what: impl Into<String>) {
        self.problems.push(place.error(what));
    }

    pub fn hinted(&mut self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(place.error(what).hint(hint));
    }

    /// A word that is not among the known ones.
    pub fn unknown<'k>(
        &mut self,
        word: &Located<String>,
        what: String,
        known: impl IntoIterator<Item = &'k str> + Clone,
    ) {
        let problem = word.error(what);
        self.problems.push(match suggest::hint(&word.value, known) {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    /// A duration, or the stand-in.
    pub fn span(&mut self, written: Option<&Located<String>>, absent: Span) -> Span {
        self.span_hinted(written, absent, "write a number and a unit: `90s`, `5m`, `1h30m`, `2d`")
    }

    /// A duration, with what may be written there.
    pub fn span_hinted(&mut self, written: Option<&Located<String>>, absent: Span, hint: &str) -> Span {
        let Some(written) = written else { return absent };
        match Span::parse(&written.value) {
            Ok(span) if span <= LONGEST_SPAN => return span,
            Ok(_) => self.error(&written.place, format!("{} is longer than {LONGEST_SPAN}", written.value)),
            Err(what) => self.hinted(&written.place, what, hint),
        }
        absent
    }

    /// A name for people, commands and metrics to use. True where it is one.
    pub fn name(&mut self, name: &Located<String>, of: &str) -> bool {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let right = !name.value.is_empty()
            && name.value.len() <= LONGEST_NAME_BYTES
            && name.value.bytes().all(fine)
            && !name.value.contains("..")
            && !name.value.starts_with('-');
        if !right {
            let what = format!("`{}` cannot be the name of a {of}", crate::telemetry::text::shortened(&name.value, 60));
            let hint = format!(
                "use letters, digits, `-`, `_` and `.` (no `-` at its beginning, no `..`), at most {LONGEST_NAME_BYTES}"
            );
            self.hinted(&name.place, what, hint);
        }
        right
    }

    /// A text that is shown to people. None where it is empty or too long.
    pub fn text(&mut self, text: Option<&Located<String>>, longest_bytes: usize) -> Option<String> {
        let text = text?;
        if text.value.trim().is_empty() {
            self.hinted(&text.place, "the text is empty", "remove the key, or write something");
        } else if text.value.len() > longest_bytes {
            let what = format!("the text has {} bytes, more than {longest_bytes}", text.value.len());
            self.error(&text.place, what);
        } else {
            return Some(text.value.clone());
        }
        None
    }

    /// Bounds a list. The problem stands at the list.
    pub fn bounded<'l, T>(&mut self, list: Option<&'l Located<Vec<T>>>, most: usize, of: &str) -> &'l [T] {
        let Some(list) = list else { return &[] };
        if list.value.len() > most {
            self.error(&list.place, format!("{} {of}, more than {most}", list.value.len()));
        }
        list.value.get(..most).unwrap_or(&list.value)
    }
}

/// `rules/a.yaml:12`, for hints.
pub(super) fn place(place: &Place) -> String {
    format!("{}:{}", place.file, place.line)
}
