//! Who hears of an alert: nightshift, and everybody who would without it.

use super::{
    Check,
    file::Written,
    shown,
    tree::{Route, RouteId, Tree},
};
use crate::{
    decide::Policy,
    model::{alert::Labels, time::Span},
    telemetry::text::shortened,
};
use std::collections::BTreeSet;

/// No address is longer than a line.
const LONGEST_URL: usize = 120;

/// Our receivers as they are written.
pub(super) fn receivers(check: &mut Check, written: &Written) {
    let mut none = true;
    for (name, receiver) in &written.receivers {
        for place in receiver.pagers.iter().filter_map(|pager| pager.never_resolved.as_ref()) {
            let what = format!(
                "`{name}` does not tell PagerDuty what has resolved: its incident stays open there, and the next page of the \
                 group joins it and may wake nobody"
            );
            check.warning(place, "send_resolved", "", what, "write `send_resolved: true`");
        }
        for webhook in &receiver.ours {
            none = false;
            let (url, line) = (shortened(&webhook.url, LONGEST_URL), webhook.place.line);
            check.found.push(format!("receiver `{name}` leads to nightshift: {url} (line {line})"));
            if let Some(place) = &webhook.never_resolved {
                let what =
                    format!("`{name}` does not send what has resolved: nightshift would never know that it helped");
                check.error(place, "send_resolved", "", what, "write `send_resolved: true`");
            }
            if receiver.pagers.is_empty() {
                continue;
            }
            let what = format!("receiver `{name}` pages as well: whatever nightshift hears has woken somebody");
            check.error(&receiver.place, "pages too", "", what, "give nightshift a receiver of its own");
        }
    }
    if none {
        let what = "no receiver leads to nightshift: no webhook's `url` ends in /webhooks/alertmanager".to_owned();
        let hint = if written.hides_an_address {
            "`url_file` is not looked into: write the address as `url` in the file that is checked"
        } else {
            "take over the receiver `nightshift` of deploy/alertmanager/alertmanager.yml"
        };
        check.error(&written.whole, "no receiver", "", what, hint);
    }
}

/// Every route that leads to us, as it is written.
pub(super) fn routes(check: &mut Check, written: &Written, tree: &Tree, policy: Option<&Policy>) {
    for route in tree.routes.iter().filter(|route| written.is_ours(route)) {
        if let Some(policy) = policy {
            let lost_after = policy.spec.lost_after;
            let repeat = &route.repeat_interval;
            if Span(repeat.span.0.saturating_mul(2)) > lost_after {
                let what = format!(
                    "this route repeats an alert every {repeat}, and nightshift calls one lost that nobody confirmed for \
                     {lost_after}"
                );
                let hint = "write `repeat_interval: 5m`: at most half of nightshift's `alertmanager.lost_after`";
                check.error(route.place_of(repeat), "repeat_interval", "", what, hint);
            }
        }
        if let Some(intervals) = &route.intervals {
            let what = "at some times nightshift hears nothing by this route: it counts alerts as lost then".to_owned();
            check.warning(intervals, "intervals", "", what, "remove it: nightshift has `freezes` of its own");
        }
        if route.group_by != super::tree::GroupBy::All {
            cut_short(check, written, route);
        }
    }
}

/// A webhook of several alerts that is cut short can't say what has resolved.
fn cut_short(check: &mut Check, written: &Written, route: &Route) {
    let Some(receiver) = written.receivers.get(&route.receiver) else { return };
    for (place, most) in receiver.ours.iter().filter_map(|webhook| webhook.cut_to.as_ref()) {
        let what =
            format!("`{}` is told of {most} alerts of a group at most: of the rest nobody knows", route.receiver);
        check.error(place, "max_alerts", "", what, "write `max_alerts: 0`, which is all of them");
    }
}

/// Follows each example. One fault of one alert is enough: what it would do behind it shows once that is mended.
pub(super) fn alerts(check: &mut Check, written: &Written, tree: &Tree, examples: &[Labels]) {
    if !written.receivers.values().any(super::file::Receiver::is_ours) {
        return;
    }
    let ours: BTreeSet<RouteId> = tree
        .routes
        .iter()
        .enumerate()
        .filter(|(_, route)| route.children.is_empty() && written.is_ours(route))
        .map(|(id, _)| id)
        .collect();
    for labels in examples {
        let taken: Vec<&Route> = tree.walk(labels).into_iter().filter_map(|id| tree.get(id)).collect();
        let tells = |route: &Route| written.receivers.get(&route.receiver).is_some_and(|receiver| receiver.tells);
        let us = taken.iter().find(|route| written.is_ours(route));
        let Some(us) = us else {
            // What nobody at all is told of was thrown away on purpose.
            if taken.iter().any(|route| tells(route)) {
                unheard(check, written, tree, &taken, labels);
            }
            continue;
        };
        let heard: BTreeSet<&str> = taken.iter().map(|route| route.receiver.as_str()).collect();
        let without = tree.walk_without(labels, &ours);
        let lost = without
            .into_iter()
            .filter_map(|id| tree.get(id))
            .find(|route| !written.is_ours(route) && !heard.contains(route.receiver.as_str()));
        if let Some(lost) = lost {
            let what = format!(
                "an alert {} would go to `{}`, and this route keeps it from there",
                shown(labels),
                lost.receiver
            );
            let hint = if us.continues {
                format!(
                    "add a last route to `{}`: an alert that any route took does not come back to the receiver above",
                    lost.receiver
                )
            } else {
                "add `continue: true` to this route".to_owned()
            };
            check.error(&us.place, "keeps", &lost.receiver, what, hint);
        } else if taken.iter().all(|route| written.is_ours(route)) {
            let what = format!("an alert {} goes to nobody but nightshift", shown(labels));
            check.error(
                &us.place,
                "alone",
                "",
                what,
                "let a route after it lead to people, for when nightshift is down",
            );
        }
    }
}

fn unheard(check: &mut Check, written: &Written, tree: &Tree, taken: &[&Route], labels: &Labels) {
    let Some(route) = taken.first() else { return };
    let what = format!("an alert {} does not come to nightshift: this route has it", shown(labels));
    let ours = tree.routes.iter().find(|route| written.is_ours(route));
    let hint = match ours {
        Some(ours) => format!(
            "put nightshift's route (line {}) before it, with `continue: true` and without matchers of its own",
            ours.place.line
        ),
        None => "add a route to nightshift's receiver, with `continue: true`, before all others".to_owned(),
    };
    check.error(&route.place, "unheard", "", what, hint);
}
