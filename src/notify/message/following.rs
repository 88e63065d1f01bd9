//! What those who follow an incident read in its own channel: what it is, what it means for them, how it stands, until
//! when, who is on it, and where the next word comes. In words that need no knowledge of the system.

use super::{
    HEADLINE, Message, Part, Piece, SENTENCE, SUMMARY, capital, mark, plural, small_print, standing, value, word,
};
use crate::{
    model::view::IncidentView,
    notify::{message::Mention, plain::line},
};
use jiff::tz::TimeZone;
use std::fmt::Write as _;

/// The first message of an incident's channel, updated in place.
#[must_use]
pub fn following(view: &IncidentView, zone: &TimeZone) -> Message {
    let headline = line(&format!("{} {} {}: {}", mark(view), view.severity, standing(view), view.title), HEADLINE);
    let mut issue = vec![Piece::Strong("Issue"), word(" "), Piece::Value(line(&view.title, HEADLINE))];
    if let Some(service) = &view.service {
        issue.extend([word(" in "), value(service)]);
    }
    let impact = match &view.impact {
        Some(impact) => Piece::Value(line(impact, SENTENCE)),
        None if view.firing == 0 => word("not described"),
        None => {
            word(format!("not described · {} {} of it", view.firing, plural(view.firing as usize, "alert", "alerts")))
        }
    };
    let is_over = view.state == "resolved";
    let (has_it, nobody) = if is_over { (" had it", "nobody took it") } else { (" has it", "nobody has it yet") };
    let mut team = vec![Piece::Strong("Team"), word(" ")];
    match (&view.acknowledged_by, &view.team) {
        (Some(by), _) => team.extend([value(by), word(has_it)]),
        (None, Some(name)) => team.extend([value(name), word(format!(" · {nobody}"))]),
        (None, None) => team.push(word(nobody)),
    }
    let mut status = format!(" {}, began {}", standing(view), view.opened_at.in_zone(zone));
    if let Some(at) = view.resolved_at.filter(|_| is_over) {
        let _ = write!(status, ", over {}", at.in_zone(zone));
    }
    let lines = vec![
        issue,
        vec![Piece::Strong("Impact"), word(" "), impact],
        vec![Piece::Strong("Status"), word(status)],
        vec![Piece::Strong("ETA"), word(format!(" {}", eta(view, zone)))],
        team,
        updates(view),
    ];
    let parts = vec![
        Part::Lines(lines),
        Part::Sentence(capital(&line(&view.ladder, SENTENCE))),
        Part::Small(small_print(view)),
    ];
    let summary = vec![Piece::Value(line(&headline, SUMMARY))];
    Message { headline, summary, parts }
}

/// What is known of its end: nobody's guess.
fn eta(view: &IncidentView, zone: &TimeZone) -> String {
    let verified = view.steps.last().and_then(|step| step.verify_by);
    match (view.state.as_str(), view.quiet_until, verified) {
        ("resolved", _, _) => "it is over".to_owned(),
        ("monitoring", Some(until), _) => format!("over at {} if nothing of it fires again", until.time_of_day(zone)),
        (_, _, Some(by)) => format!("by {} it is known whether what was done helped", by.time_of_day(zone)),
        _ => "not known yet".to_owned(),
    }
}

fn updates(view: &IncidentView) -> Vec<Piece> {
    let mut pieces = vec![Piece::Strong("Updates")];
    match view.update_every.filter(|_| view.state != "resolved") {
        Some(every) => pieces.push(word(format!(" here, every {every}"))),
        None => pieces.push(word(" no more")),
    }
    if let Some(main) = view.posted.as_ref().and_then(|posted| Mention::parse(&posted.channel)) {
        pieces.extend([word(" · every detail in "), Piece::Mention(main)]);
    }
    pieces
}
