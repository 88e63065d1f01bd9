//! The sections that hold acting back: freezes, the brake, and what counts as flapping.

use super::{
    check::{Check, LONGEST_NAME_BYTES, MOST_ENTRIES, Written},
    file,
    sections::range,
};
use crate::{
    config::{node::Kind, yaml::Located},
    decide::{
        policy::{Brake, Limit, Severity},
        records,
    },
    model::{
        freeze::{Freeze, Weekly, Window},
        time::{Micros, Span},
    },
};
use jiff::{civil::DateTime, tz::TimeZone};

const DEFAULT_BRAKE: Brake =
    Brake { share_percent: 20, at_least: 3, all: 5, within: Span::minutes(5), cooldown: Span::minutes(15) };
pub(super) const DEFAULT_FLAPPING: Limit = Limit { count: 5, within: Span::minutes(30) };
const MOST_TARGETS: u32 = 10_000;
const LONGEST_BRAKE_WINDOW: Span = Span::hours(1);
pub(super) const MOST_CANARY_RUNS: u32 = 100;

pub(super) fn brake(check: &mut Check<'_>, written: &Written) -> Brake {
    if let Some(node) = written.node("brake")
        && matches!(&node.kind, Kind::Bool(_) | Kind::Null | Kind::Text(_))
    {
        let hint = "make it wider, as in `brake: {targets: 50%, at_least: 10, all: 20}`, or leave the key out";
        check.hinted(&node.place, "the brake cannot be switched off", hint);
        return DEFAULT_BRAKE;
    }
    let Some(given) = written.section::<file::Brake>(check, "brake") else { return DEFAULT_BRAKE };
    let share_percent = given.targets.as_ref().map_or(DEFAULT_BRAKE.share_percent, |share| {
        let percent = share.value.strip_suffix('%').and_then(|number| number.trim().parse().ok());
        match percent.filter(|percent| (1..=100).contains(percent)) {
            Some(percent) => percent,
            None => {
                let what = format!("`{}` is no share of a set's targets", share.value);
                check.hinted(&share.place, what, "write it like `20%`; `at_least` is the number");
                DEFAULT_BRAKE.share_percent
            }
        }
    });
    let mut number = |given: Option<&Located<u32>>, least: u32, absent: u32| match given {
        Some(given) if (least..=MOST_TARGETS).contains(&given.value) => given.value,
        Some(given) => {
            check.error(&given.place, format!("a number of targets is from {least} to {MOST_TARGETS}"));
            absent
        }
        None => absent,
    };
    let at_least = number(given.at_least.as_ref(), 2, DEFAULT_BRAKE.at_least);
    let all = number(given.all.as_ref(), 1, DEFAULT_BRAKE.all);
    let within = check.span_up_to(given.within.as_ref(), DEFAULT_BRAKE.within, LONGEST_BRAKE_WINDOW);
    let cooldown = check.span_up_to(given.cooldown.as_ref(), DEFAULT_BRAKE.cooldown, records::FIRED_WITHIN);
    Brake { share_percent, at_least, all, within, cooldown }
}

pub(super) fn freezes(check: &mut Check<'_>, written: &Written, severities: &[Severity]) -> Vec<Freeze> {
    let Some(given) = written.section::<Located<Vec<file::Freeze>>>(check, "freezes") else { return Vec::new() };
    let mut names: Vec<&str> = Vec::new();
    let mut freezes = Vec::new();
    for freeze in check.bounded(Some(&given), MOST_ENTRIES, "freezes") {
        check.name(&freeze.name, "freeze");
        if names.contains(&freeze.name.value.as_str()) {
            check.error(&freeze.name.place, format!("a second freeze is named `{}`", freeze.name.value));
        }
        names.push(&freeze.name.value);
        let except = check.bounded(freeze.except.as_ref(), MOST_ENTRIES, "severities");
        let except = except.iter().filter_map(|word| range(check, word, severities)).collect::<Vec<_>>();
        let except = severities
            .iter()
            .enumerate()
            .filter(|(place, _)| except.iter().any(|(from, to)| (from..=to).contains(&place)))
            .map(|(_, severity)| severity.name.clone())
            .collect();
        if let Some(window) = window(check, freeze) {
            freezes.push(Freeze { name: freeze.name.value.clone(), window, except });
        }
    }
    freezes
}

fn window(check: &mut Check<'_>, freeze: &file::Freeze) -> Option<Window> {
    match (&freeze.from, &freeze.to, &freeze.weekly) {
        (Some(from), Some(to), None) => {
            let (begins, ends) = (moment(check, from), moment(check, to));
            let (begins, ends) = (begins?, ends?);
            if ends <= begins {
                check.error(&to.place, "the freeze ends before it begins");
                return None;
            }
            Some(Window::Dates { from: begins, to: ends })
        }
        (None, None, Some(weekly)) => {
            let ends = weekly.value.split_once(" - ");
            let ends = ends.and_then(|(from, to)| Some((Weekly::parse(from)?, Weekly::parse(to)?)));
            match ends {
                Some((from, to)) if from != to => Some(Window::Weekly { from, to }),
                _ => {
                    let what = format!("`{}` is no window of a week", weekly.value);
                    check.hinted(&weekly.place, what, "write it like `Fri 18:00 - Mon 06:00`");
                    None
                }
            }
        }
        (from, to, weekly) => {
            let name = &freeze.name.value;
            let dates = "write `from` and `to` as dates, or `weekly: Fri 18:00 - Mon 06:00`";
            let (what, hint) = match (from.is_some(), to.is_some(), weekly.is_some()) {
                (true, _, true) | (_, true, true) => (
                    format!("freeze `{name}` is by dates and by weekly hours at once"),
                    "keep one of them, or make two freezes of it",
                ),
                (true, false, false) => (format!("freeze `{name}` begins and does not end"), "add `to`"),
                (false, true, false) => (format!("freeze `{name}` ends and does not begin"), "add `from`"),
                _ => (format!("freeze `{name}` does not say when"), dates),
            };
            check.hinted(&freeze.name.place, what, hint);
            None
        }
    }
}

/// An instant with its offset, or a date and time of day in the zone of `timezone`.
fn moment(check: &mut Check<'_>, written: &Located<String>) -> Option<Micros> {
    let text = check.text(Some(written), LONGEST_NAME_BYTES)?;
    let here = || {
        let zone = TimeZone::get(check.context.timezone).unwrap_or(TimeZone::UTC);
        let at = text.parse::<DateTime>().ok()?.to_zoned(zone).ok()?;
        Some(Micros(at.timestamp().as_microsecond()))
    };
    let at = Micros::parse(&text).ok().or_else(here);
    if at.is_none() {
        let hint = "write it like `2026-12-31T18:00Z`, or without `Z` in the zone of `timezone`";
        check.hinted(&written.place, format!("`{text}` is no date and time"), hint);
    }
    at
}

/// `5 in 30m`, or `off`.
pub(super) fn flapping(
    check: &mut Check<'_>,
    written: Option<&Located<String>>,
    absent: Option<Limit>,
) -> Option<Limit> {
    let Some(written) = written else { return absent };
    if written.value == "off" {
        return None;
    }
    let parts = written.value.split_once(" in ");
    let most = u32::try_from(records::FIRED_REMEMBERED).unwrap_or(u32::MAX);
    let count = parts.and_then(|(count, _)| count.trim().parse().ok()).filter(|count| (2..=most).contains(count));
    let (Some((_, within)), Some(count)) = (parts, count) else {
        let what = format!("`{}` does not say what flapping is", written.value);
        check.hinted(&written.place, what, format!("write it like `5 in 30m` (2 to {most} times), or `off`"));
        return absent;
    };
    let within = Located { value: within.trim().to_owned(), place: written.place.clone() };
    let within = check.span_up_to(Some(&within), DEFAULT_FLAPPING.within, records::FIRED_WITHIN);
    Some(Limit { count, within })
}

/// The first runs of a rule that need an approval.
pub(super) fn canary(check: &mut Check<'_>, written: Option<&Located<u32>>, absent: u32) -> u32 {
    let Some(written) = written else { return absent };
    if written.value > MOST_CANARY_RUNS {
        let hint = "a rule whose every run needs an approval is `mode: ask`";
        check.hinted(&written.place, format!("`canary` is at most {MOST_CANARY_RUNS}"), hint);
        return absent;
    }
    written.value
}

impl Check<'_> {
    /// A duration above zero, and at most `most`.
    fn span_up_to(&mut self, written: Option<&Located<String>>, absent: Span, most: Span) -> Span {
        let span = self.span(written, absent);
        match written {
            Some(written) if span <= Span::ZERO || span > most => {
                self.error(&written.place, format!("`{}` must be above zero and at most {most}", written.value));
                absent
            }
            _ => span,
        }
    }
}
