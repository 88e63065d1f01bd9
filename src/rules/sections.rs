//! The sections beside targets and rules: severities and who is mentioned, defaults, limits.

use super::{
    check::{Check, LONGEST_NAME_BYTES, MOST_ENTRIES, Written, place},
    file,
    restraints::{self, DEFAULT_FLAPPING},
};
use crate::{
    config::{
        node::Place,
        suggest,
        yaml::{Located, OneOrMany},
    },
    decide::policy::{Limit, RespondWithin, Severity},
    model::{mode::Mode, time::Span},
};
use std::collections::BTreeMap;

const DEFAULT_COOLDOWN: Span = Span::minutes(15);
const DEFAULT_QUIET: Span = Span::minutes(10);
const DEFAULT_UNDO_WITHIN: Span = Span::hours(1);
const DEFAULT_SETTLE_AFTER_START: Span = Span::seconds(60);
const DEFAULT_LIMIT_NAMESPACE: Limit = Limit { count: 10, within: Span::hours(1) };
const DEFAULT_LIMIT_ALL: Limit = Limit { count: 20, within: Span::hours(1) };
const MOST_CONCURRENT: u32 = 100;
/// No limit that is counted over entries of the journal needs more.
const MOST_PER_WINDOW: u32 = 10_000;
/// A longer time to answer is none.
const MOST_BUSINESS_DAYS: u32 = 20;
const SHORTEST_UPDATE: Span = Span::minutes(1);
const HOW_TO_RESPOND: &str = "write it like `15m` or `1 business day`";
/// Used where no file has `severities`: name, title, aliases.
const SHIPPED_SEVERITIES: [(&str, &str, [&str; 2], RespondWithin); 4] = [
    ("P0", "Critical", ["SEV-1", "critical"], RespondWithin::Span(Span::ZERO)),
    ("P1", "High", ["SEV-2", "error"], RespondWithin::Span(Span::minutes(15))),
    ("P2", "Medium", ["SEV-3", "warning"], RespondWithin::Span(Span::hours(1))),
    ("P3", "Low", ["SEV-4", "info"], RespondWithin::BusinessDays(1)),
];

/// What a rule uses where it says nothing itself.
pub(super) struct Defaults {
    pub mode: Mode,
    pub cooldown: Span,
    pub quiet: Span,
    pub undo_within: Span,
    pub flapping: Option<Limit>,
    pub canary: u32,
}

pub(super) fn defaults(check: &mut Check<'_>, written: &Written) -> Defaults {
    let given: file::Defaults = written.section(check, "defaults").unwrap_or_default();
    Defaults {
        mode: check.mode(given.mode.as_ref()).unwrap_or(Mode::Shadow),
        cooldown: check.span(given.cooldown.as_ref(), DEFAULT_COOLDOWN),
        quiet: check.span(given.quiet.as_ref(), DEFAULT_QUIET),
        undo_within: check.span(given.undo_within.as_ref(), DEFAULT_UNDO_WITHIN),
        flapping: restraints::flapping(check, given.flapping.as_ref(), Some(DEFAULT_FLAPPING)),
        canary: restraints::canary(check, given.canary.as_ref(), 0),
    }
}

pub(super) fn max_concurrent(check: &mut Check<'_>, written: &Written) -> u32 {
    let Some(given) = written.section::<Located<u32>>(check, "max_concurrent") else { return 1 };
    if !(1..=MOST_CONCURRENT).contains(&given.value) {
        let hint = "to stop acting, use `mode: shadow` or `nightshift pause`";
        check.hinted(&given.place, format!("`max_concurrent` is from 1 to {MOST_CONCURRENT}"), hint);
    }
    given.value
}

pub(super) fn settle_after_start(check: &mut Check<'_>, written: &Written) -> Span {
    let given = written.section::<Located<String>>(check, "settle_after_start");
    check.span(given.as_ref(), DEFAULT_SETTLE_AFTER_START)
}

/// Per namespace, and in all.
pub(super) fn limits(check: &mut Check<'_>, written: &Written) -> (Vec<Limit>, Vec<Limit>) {
    let given: file::Limits = written.section(check, "limits").unwrap_or_default();
    let mut read = |given: Option<OneOrMany<Located<String>>>, absent: Limit| match given {
        Some(OneOrMany(texts)) => check.limits(&texts),
        None => vec![absent],
    };
    (read(given.namespace, DEFAULT_LIMIT_NAMESPACE), read(given.all, DEFAULT_LIMIT_ALL))
}

/// None: the section is there and cannot be read, so nobody is blamed for a word that may stand in it.
pub(super) fn severities(check: &mut Check<'_>, written: &Written) -> Option<Vec<Severity>> {
    let severities = if written.gives("severities") {
        let given = written.section::<Located<Vec<file::Severity>>>(check, "severities")?;
        listed(check, &given)
    } else {
        let shipped = SHIPPED_SEVERITIES.iter().map(|(name, title, aliases, respond_within)| Severity {
            name: (*name).to_owned(),
            title: (*title).to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            mentions: Vec::new(),
            respond_within: Some(*respond_within),
            update_every: None,
        });
        shipped.collect()
    };
    Some(severities)
}

fn listed(check: &mut Check<'_>, given: &Located<Vec<file::Severity>>) -> Vec<Severity> {
    if given.value.is_empty() {
        check.hinted(&given.place, "`severities` is empty", "remove the section to have P0 to P3");
    }
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut listed = Vec::new();
    for severity in check.bounded(Some(given), MOST_ENTRIES, "severities") {
        check.name(&severity.name, "severity");
        let aliases = check.bounded(severity.aliases.as_ref(), MOST_ENTRIES, "aliases");
        for word in std::iter::once(&severity.name).chain(aliases) {
            if check.text(Some(word), LONGEST_NAME_BYTES).is_none() {
                continue;
            }
            if let Some(first) = taken.insert(word.value.to_ascii_lowercase(), place(&word.place)) {
                let what = format!("`{}` is a second severity's name or alias", word.value);
                check.hinted(&word.place, what, format!("it is first given in {first}; upper and lower case are one"));
            }
        }
        let title = check.text(severity.title.as_ref(), LONGEST_NAME_BYTES);
        let respond_within = respond_within(check, severity.respond_within.as_ref());
        let update_every = severity.update_every.as_ref().map(|every| check.span(Some(every), SHORTEST_UPDATE));
        if let (Some(written), Some(every)) = (&severity.update_every, update_every)
            && every < SHORTEST_UPDATE
        {
            check.error(&written.place, format!("`update_every` is at least {SHORTEST_UPDATE}"));
        }
        listed.push(Severity {
            name: severity.name.value.clone(),
            title: title.unwrap_or_else(|| severity.name.value.clone()),
            aliases: aliases.iter().map(|alias| alias.value.clone()).collect(),
            mentions: Vec::new(),
            respond_within,
            update_every,
        });
    }
    // Somebody must come at once for the worst, whether or not it is said.
    if let Some(worst) = listed.first_mut() {
        worst.respond_within = worst.respond_within.or(Some(RespondWithin::Span(Span::ZERO)));
    }
    listed
}

/// `15m`, `1 business day`.
fn respond_within(check: &mut Check<'_>, written: Option<&Located<String>>) -> Option<RespondWithin> {
    let written = written?;
    let days = written.value.strip_suffix(" business day").or_else(|| written.value.strip_suffix(" business days"));
    let Some(days) = days else {
        return Some(RespondWithin::Span(check.span_hinted(Some(written), Span::ZERO, HOW_TO_RESPOND)));
    };
    let days = days.parse().ok().filter(|days| (1..=MOST_BUSINESS_DAYS).contains(days));
    if days.is_none() {
        let what = format!("`{}` is no number of business days from 1 to {MOST_BUSINESS_DAYS}", written.value);
        check.hinted(&written.place, what, HOW_TO_RESPOND);
    }
    days.map(RespondWithin::BusinessDays)
}

/// Canonical names by lower-case name and alias.
pub(super) fn words(severities: &[Severity]) -> BTreeMap<String, String> {
    let mut words = BTreeMap::new();
    for severity in severities {
        for word in std::iter::once(&severity.name).chain(&severity.aliases) {
            words.insert(word.to_ascii_lowercase(), severity.name.clone());
        }
    }
    words
}

/// The severities whose incidents get a Slack channel of their own.
pub(super) fn incident_channels(check: &mut Check<'_>, severities: Option<&[Severity]>) -> Vec<String> {
    let (Some(written), Some(severities)) = (check.context.incident_channels, severities) else { return Vec::new() };
    let Some((from, to)) = range(check, written, severities) else { return Vec::new() };
    severities.iter().take(to + 1).skip(from).map(|severity| severity.name.clone()).collect()
}

/// Who may approve, by the severity's name. Without severities nothing can be said of their ranges.
pub(super) fn approvers(check: &mut Check<'_>, severities: Option<&[Severity]>) -> BTreeMap<String, Vec<String>> {
    let mut by_severity: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let Some(severities) = severities else { return by_severity };
    for listed in check.context.approvers {
        let Some((from, to)) = range(check, &listed.severities, severities) else { continue };
        for severity in severities.iter().take(to + 1).skip(from) {
            let known = by_severity.entry(severity.name.clone()).or_default();
            known.extend(listed.ids.iter().filter(|id| !known.contains(id)).cloned().collect::<Vec<_>>());
        }
    }
    by_severity
}

/// `P0..P1` or `P0`, as places in the list; both ends belong to it.
pub(super) fn range(
    check: &mut Check<'_>,
    written: &Located<String>,
    severities: &[Severity],
) -> Option<(usize, usize)> {
    let (from, to) = written.value.split_once("..").unwrap_or((&written.value, &written.value));
    let position = |word: &str| {
        let same = |other: &String| other.eq_ignore_ascii_case(word.trim());
        severities.iter().position(|it| same(&it.name) || it.aliases.iter().any(same))
    };
    let mut find = |word: &str| {
        let found = position(word);
        let mut dashes = word.match_indices('-').filter_map(|(at, _)| word.split_at_checked(at));
        let ends = dashes.find_map(|(from, to)| {
            Some((from, to.get(1..)?)).filter(|(from, to)| position(from).is_some() && position(to).is_some())
        });
        if let (None, Some((from, to))) = (found, ends) {
            let what = format!("`{word}` is no range of severities");
            check.hinted(&written.place, what, format!("write `{}..{}`", from.trim(), to.trim()));
        } else if found.is_none() {
            check.unknown_severity(&written.place, word.trim(), severities.iter().map(|it| it.name.as_str()));
        }
        found
    };
    let (from_place, to_place) = if from == to { find(from).map(|it| (it, it)) } else { find(from).zip(find(to)) }?;
    if from_place > to_place {
        let what = format!("the range {} runs from the less to the more severe", written.value);
        check.hinted(&written.place, what, format!("write `{}..{}`", to.trim(), from.trim()));
        return None;
    }
    Some((from_place, to_place))
}

impl Check<'_> {
    /// All names are shown: between words as short as `P0` and `P9` the closest one is no better than any other.
    pub fn unknown_severity<'k>(&mut self, place: &Place, word: &str, known: impl IntoIterator<Item = &'k str>) {
        let names: Vec<&str> = known.into_iter().collect();
        let what = format!("severity `{}` is not listed", crate::telemetry::text::shortened(word, 60));
        self.hinted(place, what, format!("known here: {}", suggest::quoted(&names)));
    }

    /// A mode as used. Ask and auto need somebody who says whether the alert still fires.
    pub fn mode(&mut self, written: Option<&Located<file::ModeWord>>) -> Option<Mode> {
        let written = written?;
        let mode = Mode::from(written.value);
        let asks = self.context.alertmanager || self.context.pagerduty.is_some_and(|pagerduty| pagerduty.asks);
        if mode != Mode::Shadow && !asks {
            let what =
                format!("mode {} needs alertmanager.urls: nothing acts on an alert that may be over", mode.word());
            self.hinted(&written.place, what, "set alertmanager.urls in nightshift.yaml, or `mode: shadow` here");
        }
        Some(mode)
    }

    pub fn limits(&mut self, written: &[Located<String>]) -> Vec<Limit> {
        if let Some(text) = written.get(MOST_ENTRIES) {
            self.error(&text.place, format!("more than {MOST_ENTRIES} limits"));
        }
        written.iter().take(MOST_ENTRIES).filter_map(|text| self.limit(text)).collect()
    }

    /// `3 per 1h`.
    fn limit(&mut self, written: &Located<String>) -> Option<Limit> {
        let parts = written.value.split_once(" per ");
        let Some((count, within)) = parts.and_then(|(count, within)| Some((count.trim().parse().ok()?, within.trim())))
        else {
            self.hinted(&written.place, format!("`{}` is not a limit", written.value), "write it like `3 per 1h`");
            return None;
        };
        if !(1..=MOST_PER_WINDOW).contains(&count) {
            let what = format!("the number of a limit is from 1 to {MOST_PER_WINDOW}");
            self.hinted(&written.place, what, "to act never, use `mode: shadow`");
            return None;
        }
        let window = Located { value: within.to_owned(), place: written.place.clone() };
        let within = self.span(Some(&window), Span::hours(1));
        if within == Span::ZERO {
            self.hinted(&written.place, "the window of a limit is empty", "write it like `3 per 1h`");
        }
        Some(Limit { count, within })
    }
}
