//! The incidents that speak in another one's thread, as its card shows them: how each stands, its last step, its buttons.

use super::{HEADLINE, Part, Piece, SENTENCE, capital, plural, step_buttons, step_parts, value, word};
use crate::{
    model::view::{ChildView, IncidentView},
    notify::plain::line,
};
use jiff::tz::TimeZone;

/// Children that are shown with their last step; the rest are counted.
pub const CHILDREN_LISTED: usize = 3;

/// Those that are open first, the newest first.
pub(super) fn children(view: &IncidentView, zone: &TimeZone) -> Vec<Part> {
    let mut listed: Vec<&ChildView> = view.children.iter().collect();
    listed.sort_by_key(|child| child.state == "resolved");
    let mut parts = Vec::new();
    for child in listed.iter().take(CHILDREN_LISTED) {
        let title = Piece::Value(line(&child.title, HEADLINE));
        let (number, stands) = (format!(" {} · ", child.id), format!(" {}: ", standing(child)));
        let words = vec![Piece::Strong("Also incident"), word(number), value(&child.severity), word(stands), title];
        parts.push(Part::Lines(vec![words]));
        if child.state == "resolved" {
            continue;
        }
        match child.steps.last() {
            Some(step) => parts.extend(step_parts(step, zone)),
            None => parts.push(Part::Sentence(capital(&line(&child.ladder, SENTENCE)))),
        }
        let buttons = step_buttons(&child.steps);
        if !buttons.is_empty() {
            parts.push(Part::Buttons(buttons));
        }
    }
    let more = listed.len().saturating_sub(CHILDREN_LISTED) + view.more_children as usize;
    if more > 0 {
        parts.push(Part::Small(vec![
            word(format!("… and {more} more {} of this service: ", plural(more, "incident", "incidents"))),
            value("nightshift incidents"),
        ]));
    }
    parts
}

fn standing(child: &ChildView) -> &'static str {
    match child.state.as_str() {
        "resolved" => "resolved",
        _ if child.lost_contact => "lost contact",
        "monitoring" => "monitoring",
        _ => "firing",
    }
}
