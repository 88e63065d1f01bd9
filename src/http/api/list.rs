//! Texts of lists and of the status. Aligned with blanks, one line a thing, everything from outside made plain.

use super::shapes::{IncidentLine, Status};
use crate::{
    decide::policy::short_hash,
    telemetry::text::{plain, shortened},
};
use jiff::tz::TimeZone;
use std::fmt::Write;

/// A list is read side by side with others; longer lines break and are no table any more.
const LONGEST_LINE_CHARS: usize = 160;
const GAP: &str = "  ";

/// Columns padded to their widest cell; the last is not padded.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}{GAP}", width = *width);
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

/// Cuts the widest columns until a line of the table has at most `longest` characters.
fn fit(rows: &mut [Vec<String>], longest: usize) {
    let mut widths = widths(rows);
    let room = longest.saturating_sub(GAP.len() * widths.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > 1 => *widest -= 1,
            Some(_) | None => break,
        }
    }
    for row in rows {
        for (cell, width) in row.iter_mut().zip(&widths) {
            *cell = shortened(cell, *width);
        }
    }
}

/// Newest first.
#[must_use]
pub fn incidents(lines: &[IncidentLine], zone: &TimeZone) -> String {
    if lines.is_empty() {
        return "no incidents\n".to_owned();
    }
    let heading = ["ID", "SEVERITY", "STATE", "OPENED", "RULE", "TITLE", "NIGHTSHIFT"].map(str::to_owned).to_vec();
    let row = |line: &IncidentLine| {
        let state = match &line.acknowledged_by {
            Some(by) if line.state != "resolved" => format!("{}, {}", line.state, plain(by)),
            _ => line.state.clone(),
        };
        vec![
            line.id.to_string(),
            plain(&line.severity),
            state,
            line.opened_at.in_zone(zone),
            plain(&line.rule),
            line.parent.map_or_else(|| plain(&line.title), |parent| format!("{} (of {parent})", plain(&line.title))),
            plain(&line.ladder),
        ]
    };
    let mut rows: Vec<Vec<String>> = std::iter::once(heading).chain(lines.iter().map(row)).collect();
    fit(&mut rows, LONGEST_LINE_CHARS);
    table(&rows)
}

#[must_use]
pub fn status(status: &Status, zone: &TimeZone) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    let facts = &status.facts;
    row("nightshift", format!("{}, since {}", facts.version, facts.started_at.in_zone(zone)));
    let may = match status.restraints.as_slice() {
        _ if status.state.is_none() => "not known: the engine does not answer".to_owned(),
        [] => "yes".to_owned(),
        words => format!("no: {}", words.join(", ")),
    };
    row("may act", may);
    for line in &status.attention {
        row("ATTENTION", plain(line));
    }
    if let Some(state) = &status.state {
        if let Some(paused) = &state.paused {
            let since = paused.since.in_zone(zone);
            row("paused", format!("by {} since {since}: {}", plain(&paused.by), plain(&paused.reason)));
        }
        if let Some(until) = state.settling_until {
            row("settling", format!("until {}", until.in_zone(zone)));
        }
        row("mode", state.mode.clone());
        row("rules", format!("{} from {} ({})", state.rules, plain(&facts.rules), short_hash(&state.policy)));
        let live = state.incidents.iter().filter(|count| count.state != "resolved");
        let counts: Vec<String> =
            live.map(|count| format!("{} {} {}", count.count, plain(&count.severity), count.state)).collect();
        row("incidents", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") });
        let (acting, asking, holding) = (state.acting, state.asking, state.holding);
        row("steps", format!("{acting} acting, {asking} waiting for an approval, {holding} held"));
        row("leases", state.leases.to_string());
        if state.disarmed > 0 {
            row("disarmed", format!("{} of rules and their targets: `nightshift rearm RULE`", state.disarmed));
        }
        if !state.braked.is_empty() {
            let sets = state.braked.iter().map(|set| set.as_deref().map_or("everything".to_owned(), plain));
            row("brake", format!("on for {}", sets.collect::<Vec<_>>().join(", ")));
        }
        row("letters", format!("{} not yet delivered", state.letters_owed));
        row("alerts", format!("{} known", state.alerts_known));
    }
    let journal = if status.journal_up { "up" } else { "CANNOT BE WRITTEN: webhooks get 503" };
    row("journal", format!("{}, {journal}, entry {}", plain(&facts.journal), status.head_seq));
    row("webhooks", facts.webhooks.clone());
    if let Some(socket) = &status.slack_socket {
        let since = socket.since.in_zone(zone);
        let why = if socket.reason.is_empty() { String::new() } else { format!(" ({})", socket.reason) };
        row(
            "slack",
            match socket.state.as_str() {
                "connected" => format!("Socket Mode connected since {since}"),
                state => format!("Socket Mode NOT CONNECTED since {since}: {state}{why}; clicks do not arrive"),
            },
        );
    }
    row("peers", if facts.peers.is_empty() { "none".to_owned() } else { facts.peers.join(", ") });
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{id::IncidentId, time::Micros};

    #[test]
    fn a_line_of_the_list_has_at_most_160_characters() {
        let line = |of: usize| IncidentLine {
            id: IncidentId(1042),
            severity: "P1".to_owned(),
            state: "open".to_owned(),
            acknowledged_by: Some("deploy-bot".to_owned()),
            opened_at: Micros(0),
            rule: "r".repeat(of),
            title: "t".repeat(of),
            firing: 1,
            ladder: "over to people: ".repeat(of / 8),
            parent: None,
            children: Vec::new(),
        };
        let text = incidents(&[line(100), line(3)], &TimeZone::UTC);
        assert!(text.lines().all(|line| line.chars().count() <= LONGEST_LINE_CHARS), "{text}");
        assert!(text.contains("1970-01-01 00:00:00 UTC") && text.contains("…"), "{text}");
        let text = incidents(&[line(20)], &TimeZone::UTC);
        assert!(text.contains(&"t".repeat(20)) && !text.contains('…'), "what fits is not cut: {text}");
    }
}
