//! A message as Slack shows it: Block Kit and the text for lock screens, within all of Slack's limits.
//!
//! Anybody's words stand in `plain_text`, where Slack reads no markup, or in a code span with `&`, `<`, `>` and the
//! backtick replaced; so no label can mention, link, or format. `verbatim` keeps Slack from finding links by itself.

use crate::{
    model::button::Button,
    notify::{
        message::{Mention, Message, Part, Piece},
        plain::line,
    },
    peer::slack::{escape, seal::Seal},
};
use serde_json::{Value, json};

/// Slack's own limits: <https://docs.slack.dev/reference/block-kit/blocks>.
pub const BLOCKS: usize = 50;
pub const HEADER: usize = 150;
pub const SECTION: usize = 3000;
/// `text`: chat.update refuses more.
pub const TEXT: usize = 4000;
/// All blocks together: Slack refuses at some 13,200 characters, which is nowhere documented.
pub const ALL_BLOCKS: usize = 12_000;

/// Kept free for the line that says that something was left out.
const FOR_THE_REST: usize = 200;
/// A row of them, with all that Slack may count of it.
const FOR_BUTTONS: usize = 700;
/// One part's share, so that none can push out the others.
const PART: usize = 2400;

#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// For notifications and screen readers.
    pub text: String,
    pub blocks: Vec<Value>,
}

/// `seal`: None where no click could reach us, and so there are no buttons.
#[must_use]
pub fn render(message: &Message, seal: Option<&Seal>) -> Rendered {
    let mut blocks = Vec::new();
    // Whatever is left out for want of room, it is not the buttons.
    let mut used = FOR_BUTTONS;
    if !message.headline.is_empty() {
        let headline = plain(&message.headline, HEADER);
        used += length(&headline);
        blocks.push(json!({"type": "header", "text": plain_text(&headline)}));
    }
    let mut left_out = 0;
    let mut rows = 0;
    for part in &message.parts {
        if let Part::Buttons(buttons) = part {
            // The room for the first row is kept.
            let size = if rows == 0 { 0 } else { FOR_BUTTONS };
            if blocks.len() + 2 < BLOCKS && used + size <= ALL_BLOCKS - FOR_THE_REST {
                used += size;
                blocks.extend(seal.and_then(|seal| actions(buttons, rows, seal)));
            }
            rows += 1;
            continue;
        }
        let Some((size, block)) = block(part) else { continue };
        if left_out > 0 || blocks.len() + 2 >= BLOCKS || used + size > ALL_BLOCKS - FOR_THE_REST {
            left_out += 1;
            continue;
        }
        used += size;
        blocks.push(block);
    }
    if left_out > 0 {
        let rest = format!("… {left_out} more parts are not shown here");
        blocks.push(json!({"type": "context", "elements": [plain_text(&rest)]}));
    }
    if blocks.is_empty() {
        blocks.push(json!({"type": "section", "text": plain_text("-")}));
    }
    Rendered { text: or_dash(joined(&message.summary, TEXT)), blocks }
}

/// A row of buttons; what cannot be taken back by another click asks once more.
fn actions(buttons: &[Button], row: usize, seal: &Seal) -> Option<Value> {
    let row = if row == 0 { String::new() } else { format!("_{row}") };
    let elements: Vec<Value> = buttons
        .iter()
        .filter_map(|button| {
            let mut element = json!({
                "type": "button",
                "action_id": format!("nightshift_{}{row}", button.word()),
                "text": plain_text(button.label()),
                "value": seal.close(button)?,
            });
            let (style, sure) = match button {
                Button::Approve { step, .. } => (Some("primary"), Some(format!("Do what step {step} plans?"))),
                Button::Reject { step } => {
                    let sure = format!(
                        "Reject step {step}? Its rule then stays away from the target until the incident is resolved."
                    );
                    (Some("danger"), Some(sure))
                }
                Button::Undo { step } => {
                    let sure = format!(
                        "Undo step {step}? Its rule then stays away from the target until the incident is resolved."
                    );
                    (Some("danger"), Some(sure))
                }
                Button::Publish { .. } => (
                    Some("primary"),
                    Some("Publish this? Customers read it, and what follows of it goes out by itself.".to_owned()),
                ),
                Button::Acknowledge { .. } | Button::Why { .. } => (None, None),
            };
            if let (Some(style), Some(fields)) = (style, element.as_object_mut()) {
                fields.insert("style".to_owned(), style.into());
            }
            if let (Some(sure), Some(fields)) = (sure, element.as_object_mut()) {
                let confirm = json!({
                    "title": plain_text(button.label()),
                    "text": plain_text(&sure),
                    "confirm": plain_text(button.label()),
                    "deny": plain_text("Cancel"),
                });
                fields.insert("confirm".to_owned(), confirm);
            }
            Some(element)
        })
        .collect();
    let incident = buttons.first()?.incident();
    let block_id = format!("nightshift-{incident}");
    (!elements.is_empty()).then(|| json!({"type": "actions", "block_id": block_id, "elements": elements}))
}

/// The block and its characters. None: there is nothing to show.
fn block(part: &Part) -> Option<(usize, Value)> {
    match part {
        Part::Lines(lines) => {
            let text = lines_within(lines, PART);
            (!text.is_empty()).then(|| (length(&text), json!({"type": "section", "text": mrkdwn(&text)})))
        }
        Part::Sentence(sentence) => {
            let text = plain(sentence, PART);
            (!text.is_empty()).then(|| (length(&text), json!({"type": "section", "text": plain_text(&text)})))
        }
        Part::Commands(commands) => {
            let lines: Vec<Vec<Piece>> = commands.iter().map(|command| vec![Piece::Value(command.clone())]).collect();
            block(&Part::Lines(lines))
        }
        // Rendered apart: they have their own room.
        Part::Buttons(_) => None,
        Part::Small(pieces) => {
            // A context element takes 2000 characters.
            let text = joined(pieces, 1900);
            (!text.is_empty()).then(|| (length(&text), json!({"type": "context", "elements": [mrkdwn(&text)]})))
        }
    }
}

fn lines_within(lines: &[Vec<Piece>], most: usize) -> String {
    let mut text = String::new();
    for (at, pieces) in lines.iter().enumerate() {
        let next = joined(pieces, most);
        let room = most.saturating_sub(length(&text) + FOR_THE_REST);
        if at > 0 && length(&next) + 1 > room {
            text.push_str(&format!("\n… and {} more lines", lines.len() - at));
            return text;
        }
        if at > 0 {
            text.push('\n');
        }
        text.push_str(&next);
    }
    text
}

/// Whole pieces only: half a code span would let its words out.
fn joined(pieces: &[Piece], most: usize) -> String {
    let mut text = String::new();
    for piece in pieces {
        let next = piece_text(piece);
        if length(&text) + length(&next) + 2 > most {
            text.push_str(" …");
            return text;
        }
        text.push_str(&next);
    }
    text.trim_end().to_owned()
}

fn piece_text(piece: &Piece) -> String {
    match piece {
        Piece::Word(word) => escape(word),
        Piece::Strong(word) => format!("*{}*", escape(word)),
        Piece::Value(value) => code(value),
        Piece::Link { words, url } => format!("<{}|{}>", escape(url), escape(words)),
        Piece::Mention(Mention::User(id)) => format!("<@{id}>"),
        Piece::Mention(Mention::Group(id)) => format!("<!subteam^{id}>"),
        Piece::Mention(Mention::Channel(id)) => format!("<#{id}>"),
    }
}

/// A code span: Slack reads no formatting, link or emoji in it, as long as it is one line and not empty.
fn code(value: &str) -> String {
    let inside = escape(&line(value, usize::MAX).replace('`', "'"));
    if inside.is_empty() { "`-`".to_owned() } else { format!("`{inside}`") }
}

/// Text of a `plain_text` object, at most `most` long. Slack reads no markup there; what looks like its control
/// sequences (`<!channel>`) is bent all the same, for clients that read more than they should.
fn plain(text: &str, most: usize) -> String {
    let mut shown = String::new();
    let mut used = 0;
    let text = line(text, most);
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        let opens = next == '<' && rest.peek().is_some_and(|after| !matches!(after, ' ' | '=' | '0'..='9'));
        let next = if opens { '‹' } else { next };
        if used + next.len_utf16() + 1 > most {
            shown.push('…');
            return shown;
        }
        used += next.len_utf16();
        shown.push(next);
    }
    shown
}

/// As the strictest reader of the limits counts: an emoji is two.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn plain_text(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
