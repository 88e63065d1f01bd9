//! `hold_page`: whether a rule may keep its page back while its first rung is tried.
//!
//! It may where the page is late for nobody (`respond_within`), where nightshift acts without being asked, and where
//! "fixed" can be told from "Prometheus died". Whether Alertmanager's routes fit is [`crate::routing`]'s to check.

use super::{
    check::{Check, Known},
    file,
};
use crate::{
    config::yaml::Located,
    decide::policy::RungSpec,
    model::{
        alert::Source,
        matcher::{MatchOp, Matcher},
        mode::Mode,
        time::Span,
    },
};

/// What is known of the rule by now.
pub(super) struct Held<'a> {
    pub mode: Mode,
    pub matchers: &'a [Matcher],
    /// Its own; None: the alert says, or it was wrong.
    pub severity: Option<&'a str>,
    pub fires_for: Span,
    /// None: some rung is wrong.
    pub remediate: Option<&'a [RungSpec]>,
}

pub(super) fn hold_page(
    check: &mut Check<'_>,
    written: &file::Rule,
    known: &Known<'_>,
    held: &Held<'_>,
) -> Option<Span> {
    let text = written.hold_page.as_ref()?;
    let hold = check.span(Some(text), Span::ZERO);
    let readable = Span::parse(&text.value).is_ok();
    if readable && hold == Span::ZERO {
        check.hinted(&text.place, "a page cannot be held for no time", "write it like `5m`, or remove the key");
    }
    if let Some(rungs) = held.remediate {
        first_rung(check, text, hold, held, rungs);
    }
    if !check.context.prometheus {
        let what = "`hold_page` needs prometheus.url: without it \"fixed\" can't be told from \"Prometheus died\"";
        check.hinted(&text.place, what, "set prometheus.url in nightshift.yaml, or remove `hold_page`");
    }
    if check.context.calls_nobody() {
        let what =
            "neither PagerDuty nor Slack is set up: whatever comes of it, the page goes out with Alertmanager's fuse";
        let hint = "set pagerduty.routing_key_file (the service that Alertmanager pages), or slack, in nightshift.yaml";
        check.problems.push(text.warning(what).hint(hint));
    }
    if held.matchers.iter().any(takes_pages_only) {
        let what = "an alert that comes from PagerDuty has paged already: there is nothing to hold";
        check.hinted(&text.place, what, "remove `hold_page`");
    }
    if readable {
        in_time(check, text, hold, written.severity.is_some(), held.severity, known);
    }
    Some(hold)
}

fn first_rung(check: &mut Check<'_>, text: &Located<String>, hold: Span, held: &Held<'_>, rungs: &[RungSpec]) {
    let Some(first) = rungs.first() else {
        let hint = "add `remediate`, or remove `hold_page`";
        return check.hinted(&text.place, "the rule does nothing that a page could wait for", hint);
    };
    let says = [
        (check.context.mode, "nightshift.yaml", "set `mode: auto` in nightshift.yaml"),
        (held.mode, "the rule", "set `mode: auto` in the rule"),
        (first.mode.unwrap_or(Mode::Auto), "its first rung", "remove the rung's `mode`"),
    ];
    for (mode, who, mend) in says.iter().filter(|(mode, ..)| *mode != Mode::Auto) {
        let what = format!("`hold_page` needs mode auto for the first rung, and {who} says {}", mode.word());
        check.hinted(&text.place, what, format!("{mend}, or remove `hold_page`: a page waits for nobody's approval"));
    }
    let verdict = held.fires_for + first.verify.settle + first.verify.resolved_within;
    if Span::ZERO < hold && hold <= verdict {
        let what = format!("the first rung's verdict may take {verdict}: by then the page is out after {hold}");
        let hint = "shorten `for`, `settle` or `resolved_within`; Alertmanager's `group_interval` comes on top";
        check.problems.push(text.warning(what).hint(hint));
    }
}

/// Every alert that it takes came through PagerDuty.
fn takes_pages_only(matcher: &Matcher) -> bool {
    let op = matches!(matcher.op(), MatchOp::Equal | MatchOp::Matches);
    let takes = |source: &str| matcher.matches_value(source);
    op && matcher.name() == "source" && takes("pagerduty") && !takes("") && !takes(Source::Alertmanager.word())
}

/// Not longer than people may take to answer.
fn in_time(
    check: &mut Check<'_>,
    text: &Located<String>,
    hold: Span,
    has_severity: bool,
    severity: Option<&str>,
    known: &Known<'_>,
) {
    if !has_severity {
        let what = "`hold_page` needs a `severity` in the rule: an alert's own label may name any";
        return check.hinted(&text.place, what, "add `severity`, or remove `hold_page`");
    }
    let Some(severity) = severity else { return };
    let listed = known.listed.into_iter().flatten().find(|listed| listed.name == severity);
    let Some(respond_within) = listed.and_then(|listed| listed.respond_within) else {
        let what = format!("nothing says how soon somebody answers a page of {severity}: it cannot be held");
        return check.hinted(&text.place, what, format!("add `respond_within: 15m` to {severity} under `severities`"));
    };
    let most = respond_within.at_least();
    if most == Span::ZERO {
        let what = format!("a page of {severity} is never held: somebody answers within {respond_within}");
        check.hinted(&text.place, what, "remove `hold_page`");
    } else if hold > most {
        let what =
            format!("a page of {severity} is held for {hold}, longer than its `respond_within` of {respond_within}");
        check.hinted(&text.place, what, format!("write `hold_page: {most}` or less"));
    }
}
