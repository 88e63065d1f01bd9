//! The alerts whose page waits: labelled `nightshift_hold="true"`, and taken by a rule with `hold_page`.
//!
//! nightshift hears of them at once, and a route beside its own pages when the fuse has burnt down, whether nightshift lives or
//! not. A page that nightshift sends before that is the same page only where both routes make one group of the alert
//! under one key: equal matchers at equal depth, equal `group_by`.

use super::{
    Check,
    file::Written,
    shown,
    tree::{GroupBy, Route, RouteId, Tree},
};
use crate::{
    config::{Settings, node::Place},
    decide::{Policy, policy::Rule},
    model::{
        alert::{HOLD_LABEL, Labels, asks_to_hold},
        time::Span,
    },
};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;

/// The fuse burns so much longer than the longest hold: for clocks that differ, and a page under way.
const MARGIN: Span = Span::seconds(60);
/// What is left of a hold counts from the alert's start.
const LONGEST_GROUP_WAIT: Span = Span::seconds(10);
const LONGEST_REPEAT_INTERVAL: Span = Span::minutes(5);
const LIKE_THIS: &str = "see the two routes for nightshift_hold in deploy/alertmanager/alertmanager.yml";

pub(super) fn alerts(
    check: &mut Check,
    written: &Written,
    tree: &Tree,
    settings: Option<&Settings>,
    policy: &Policy,
    examples: &[Labels],
) {
    let mut tried: BTreeSet<&str> = BTreeSet::new();
    let mut fuses: BTreeSet<RouteId> = BTreeSet::new();
    for labels in examples {
        let Some(rule) = policy.classify(labels) else { continue };
        let taken = tree.walk(labels);
        let ours: Vec<RouteId> =
            taken.iter().copied().filter(|id| tree.get(*id).is_some_and(|route| written.is_ours(route))).collect();
        for route in ours.iter().filter_map(|id| tree.get(*id)) {
            verdicts(check, rule, route);
        }
        if let (true, Some(hold), Some(us)) = (asks_to_hold(labels), rule.hold_page, ours.first()) {
            tried.insert(&rule.name);
            let own_key = settings.and_then(|settings| own_key(settings, policy, rule));
            let held = Held { written, tree, rule, hold, labels, us: *us, own_key };
            fuses.extend(held.check(check, &taken, &ours));
        }
    }
    for id in fuses {
        let Some(fuse) = tree.get(id) else { continue };
        check.found.push(format!(
            "pages of alerts labelled {HOLD_LABEL}=\"true\" wait for `{}`, {} (line {})",
            fuse.receiver, fuse.group_wait, fuse.place.line
        ));
        let early = examples.iter().find(|labels| !asks_to_hold(labels) && tree.walk(labels).contains(&id));
        if let Some(labels) = early {
            let what = format!("an alert {} waits for the fuse too, and did not ask for it", shown(labels));
            let hint = format!("add the matcher {HOLD_LABEL}=\"true\" to this route and to nightshift's beside it");
            check.error(&fuse.place, "everybody waits", "", what, hint);
        }
    }
    if !written.receivers.values().any(super::file::Receiver::is_ours) {
        return;
    }
    for rule in policy.spec.rules.iter().filter(|rule| rule.hold_page.is_some() && !tried.contains(rule.name.as_str()))
    {
        let what = format!("no alert could be thought of that `{}` takes and that comes to nightshift", rule.name);
        let hint = "its routes were not looked at: try one with `amtool config routes test`";
        check.warning(&written.whole, "not tried", &rule.name, what, hint);
    }
}

/// What a rule waits for must be longer than it takes to hear of it.
fn verdicts(check: &mut Check, rule: &Rule, us: &Route) {
    let interval = &us.group_interval;
    let shortest = rule.remediate.iter().map(|rung| rung.verify.resolved_within).min();
    if let Some(within) = shortest.filter(|within| *within <= interval.span) {
        let what = format!(
            "nightshift hears of a resolved alert after {interval}, and `{}` waits for it no longer than {within}",
            rule.name
        );
        let hint = "write `group_interval: 10s`, or a longer `resolved_within` in the rule";
        check.error(us.place_of(interval), "group_interval", &rule.name, what, hint);
    }
}

/// One alert whose page its rule would hold.
struct Held<'a> {
    written: &'a Written,
    tree: &'a Tree,
    rule: &'a Rule,
    hold: Span,
    labels: &'a Labels,
    us: RouteId,
    /// Whom nightshift would page.
    own_key: Option<&'a SecretString>,
}

/// The service that nightshift pages for a rule's incidents. None: none, or that can't be told.
fn own_key<'s>(settings: &'s Settings, policy: &Policy, rule: &Rule) -> Option<&'s SecretString> {
    let person = policy.spec.pagerduty.pages_to.get(rule.severity.as_ref()?);
    let person = person.and_then(|name| settings.people.get(name)?.routing_key.as_ref());
    person.or(settings.pagerduty.routing_key.as_ref())
}

impl Held<'_> {
    /// The fuse, if there is one.
    fn check(&self, check: &mut Check, taken: &[RouteId], ours: &[RouteId]) -> Option<RouteId> {
        let us = self.tree.get(self.us)?;
        self.in_time(check, us);
        for twice in ours.iter().skip(1).filter_map(|id| self.tree.get(*id)) {
            let what = format!(
                "an alert {} comes to nightshift by this route too, not only by that in line {}: which page Alertmanager's \
                 will join is open",
                shown(self.labels),
                us.place.line
            );
            let hint =
                "let the route with the fuse have no `continue: true`, or match nightshift_hold != \"true\" here";
            check.error(&twice.place, "twice", "", what, hint);
        }
        let pagers: Vec<RouteId> = taken.iter().copied().filter(|id| *id != self.us && self.pages(*id)).collect();
        let own_key = self.tree.key(self.us);
        let fuse = pagers.iter().find(|id| self.tree.key(**id) == own_key);
        let fuse = fuse.or(pagers.first()).copied();
        let Some(fuse) = fuse else {
            if self.written.pages(us) {
                // That nightshift's own receiver pages is told already.
                return None;
            }
            let what = format!(
                "`{}` holds the page of an alert {}, and no route pages PagerDuty for it when nightshift is down",
                self.rule.name,
                shown(self.labels)
            );
            check.error(&us.place, "no fuse", &self.rule.name, what, LIKE_THIS);
            return None;
        };
        for other in pagers.iter().filter(|id| **id != fuse).filter_map(|id| self.tree.get(*id)) {
            let what = format!(
                "this route pages an alert {} too, after {}: what `{}` holds is out by then",
                shown(self.labels),
                other.group_wait,
                self.rule.name
            );
            check.error(&other.place, "pages too", &self.rule.name, what, "match nightshift_hold != \"true\" here");
        }
        let route = self.tree.get(fuse)?;
        self.same_page(check, us, fuse, route);
        self.long_enough(check, route);
        Some(fuse)
    }

    fn pages(&self, id: RouteId) -> bool {
        self.tree.get(id).is_some_and(|route| self.written.pages(route))
    }

    /// The verdict comes before the page, by the times that are written.
    fn in_time(&self, check: &mut Check, us: &Route) {
        let rule = &self.rule.name;
        let (wait, repeat, interval) = (&us.group_wait, &us.repeat_interval, &us.group_interval);
        if wait.span > LONGEST_GROUP_WAIT {
            let what =
                format!("`{rule}` holds its page from the alert's start, and nightshift hears of it {wait} later");
            check.error(us.place_of(wait), "group_wait", "", what, "write `group_wait: 0s`");
        }
        if repeat.span > LONGEST_REPEAT_INTERVAL {
            let what =
                format!("`{rule}` holds its page, and whether the alert still fires is confirmed every {repeat} only");
            check.error(us.place_of(repeat), "repeat_interval", "", what, "write `repeat_interval: 5m`, or less");
        }
        let Some(first) = self.rule.remediate.first() else { return };
        let verify = &first.verify;
        let parts = [
            ("group_wait", wait.span),
            ("for", self.rule.fires_for),
            ("settle", verify.settle),
            ("resolved_within", verify.resolved_within),
            ("group_interval", interval.span),
        ];
        let total = parts.iter().fold(Span::ZERO, |total, (_, span)| total + *span);
        if total >= self.hold {
            let parts: Vec<String> = parts
                .iter()
                .filter(|(_, span)| *span > Span::ZERO)
                .map(|(word, span)| format!("{word} {span}"))
                .collect();
            let what = format!(
                "`{rule}` may know that it helped after {total} ({}), and holds its page for {}",
                parts.join(" + "),
                self.hold
            );
            let hint = "shorten `group_interval` here or the rule's times, or let it hold its page for longer";
            check.error(us.place_of(interval), "too slow", rule, what, hint);
        }
    }

    /// Alertmanager's page joins nightshift's.
    fn same_page(&self, check: &mut Check, us: &Route, id: RouteId, fuse: &Route) {
        let line = us.place.line;
        if self.tree.key(id) != self.tree.key(self.us) {
            let what = format!(
                "its matchers are not those of nightshift's route (line {line}): a page that nightshift sends early would be \
                 another than this one"
            );
            check.error(&fuse.place, "other key", "", what, LIKE_THIS);
        }
        let place = fuse.group_by_place.as_ref().unwrap_or(&fuse.place);
        if fuse.group_by != us.group_by {
            let what = format!(
                "it groups by {}, and nightshift's route (line {line}) by {}: a page that nightshift sends early would be \
                 another than this one",
                fuse.group_by, us.group_by
            );
            check.error(place, "other groups", "", what, "write `group_by: ['...']` in both");
        } else if let GroupBy::Labels(labels) = &fuse.group_by {
            let matched = self.rule.matchers.iter().map(|matcher| matcher.name().to_owned());
            let needed: BTreeSet<String> = self.rule.group_by.iter().cloned().chain(matched).collect();
            let missing: Vec<&str> = needed
                .iter()
                .filter(|label| !labels.contains(*label) && *label != HOLD_LABEL)
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                let what = format!(
                    "it does not group by {}, by which `{}` tells its incidents from others: an alert that joins a group that \
                     has paged does not wait",
                    missing.join(", "),
                    self.rule.name
                );
                check.error(place, "coarse", &self.rule.name, what, "write `group_by: ['...']` in both routes");
            }
        }
        let pagers = self.written.receivers.get(&fuse.receiver).into_iter().flat_map(|receiver| &receiver.pagers);
        let is_other =
            |key: &&(Place, SecretString)| self.own_key.is_some_and(|own| own.expose_secret() != key.1.expose_secret());
        for (place, _) in pagers.clone().filter_map(|pager| pager.key.as_ref()).filter(is_other) {
            let what = format!(
                "`{}` pages another PagerDuty service than nightshift does for `{}`: a page that nightshift sends early would be \
                 another than this one",
                fuse.receiver, self.rule.name
            );
            let hint = "name one integration key here and in nightshift.yaml: pagerduty.routing_key_file, or that of the first level's people";
            check.error(place, "other service", "", what, hint);
        }
        for place in pagers.filter_map(|pager| pager.service_key.as_ref()) {
            let what = format!(
                "`{}` pages by the first version of PagerDuty's events, and nightshift by the second: whether they are one page \
                 is not sure",
                fuse.receiver
            );
            check.warning(place, "service_key", "", what, "use `routing_key`, and nightshift the same");
        }
    }

    fn long_enough(&self, check: &mut Check, fuse: &Route) {
        let wait = &fuse.group_wait;
        let needed = self.hold + MARGIN;
        if wait.span < needed {
            let what =
                format!("`{}` holds its page for {}, and this route pages after {wait}", self.rule.name, self.hold);
            let hint = format!("write `group_wait: {needed}` or more: a minute longer than the page is held");
            check.error(fuse.place_of(wait), "short fuse", &self.rule.name, what, hint);
        }
        if let Some(intervals) = &fuse.intervals {
            let what = "at some times this route is silent, and nobody is paged when nightshift is down".to_owned();
            check.error(
                intervals,
                "silent fuse",
                "",
                what,
                "remove it: a silence on the alert itself does not lose it",
            );
        }
    }
}
