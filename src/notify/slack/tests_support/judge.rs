//! Reads a rendered message as Slack would: its limits, and what in it is active.

use crate::notify::slack::blocks::Rendered;
use serde_json::Value;

/// Mentions that the tests' configuration gives.
const MENTIONS: [&str; 10] = [
    "@U024BE7LH",
    "@W024BE7LH",
    "!subteam^S0123ABC",
    "#C0123ABC",
    "#C0INCIDENTS",
    "#C0INCIDENT1042",
    "!subteam^S0PLATFORM",
    "@U0LEAD001",
    "#C0WARROOM",
    "#C0MADE0003",
];
const OURS: [&str; 29] = [
    "Status page",
    "Page held",
    "Also incident",
    "Issue",
    "Impact",
    "Status",
    "ETA",
    "Team",
    "Updates",
    "Followed",
    "Incident",
    "service",
    "rule",
    "Since",
    "Resolved",
    "Lost contact",
    "Quiet",
    "With",
    "Nobody has it",
    "Paged",
    "Firing",
    "Step",
    "Wants",
    "Did",
    "Would do",
    "Evidence",
    "Doing",
    "Tried",
    "Wanted",
];

/// Every text object of the blocks.
fn texts(blocks: &[Value]) -> Vec<&Value> {
    fn collect<'v>(value: &'v Value, into: &mut Vec<&'v Value>) {
        match value {
            Value::Object(fields) if fields.get("text").is_some_and(Value::is_string) => into.push(value),
            Value::Object(fields) => fields.values().for_each(|value| collect(value, into)),
            Value::Array(items) => items.iter().for_each(|value| collect(value, into)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    blocks.iter().for_each(|block| collect(block, &mut found));
    found
}

fn size(text: &Value) -> usize {
    text["text"].as_str().unwrap_or_default().encode_utf16().count()
}

pub fn limits(message: &Rendered) -> Result<(), String> {
    let within = |what: &str, size: usize, most: usize| match (1..=most).contains(&size) {
        true => Ok(()),
        false => Err(format!("{what}: {size} of 1 to {most}")),
    };
    within("text", message.text.encode_utf16().count(), 4000)?;
    within("blocks", message.blocks.len(), 50)?;
    within("all blocks", texts(&message.blocks).into_iter().map(size).sum(), 12_000)?;
    for block in &message.blocks {
        let text = &block["text"];
        match block["type"].as_str() {
            Some("header") => {
                within("header", size(text), 150)?;
                if text["type"] != "plain_text" {
                    return Err("a header is plain text".to_owned());
                }
            }
            Some("section") => within("section", size(text), 3000)?,
            Some("context") => {
                let elements = block["elements"].as_array().ok_or("a context without elements")?;
                within("context", elements.len(), 10)?;
                elements.iter().try_for_each(|element| within("context element", size(element), 2000))?;
            }
            Some("actions") => actions(block)?,
            other => return Err(format!("a block of type {other:?}")),
        }
    }
    Ok(())
}

/// A row of buttons that do different things.
fn actions(block: &Value) -> Result<(), String> {
    let within = |what: &str, text: &Value, most: usize| {
        let size = text.as_str().unwrap_or_default().encode_utf16().count();
        if (1..=most).contains(&size) { Ok(()) } else { Err(format!("{what}: {size} of 1 to {most}")) }
    };
    within("block_id", &block["block_id"], 255)?;
    let elements = block["elements"].as_array().ok_or("actions without elements")?;
    if !(1..=25).contains(&elements.len()) {
        return Err(format!("{} buttons", elements.len()));
    }
    let mut ids = std::collections::BTreeSet::new();
    for button in elements {
        if button["type"] != "button" || !ids.insert(button["action_id"].as_str()) {
            return Err(format!("not a button of its own: {button}"));
        }
        within("action_id", &button["action_id"], 255)?;
        within("a button's text", &button["text"]["text"], 75)?;
        within("a button's value", &button["value"], 2000)?;
        if button.get("style").is_some_and(|style| style != "primary" && style != "danger") {
            return Err(format!("a style of its own: {}", button["style"]));
        }
        if let Some(confirm) = button.get("confirm") {
            for (name, most) in [("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)] {
                within(name, &confirm[name]["text"], most)?;
            }
        }
    }
    Ok(())
}

/// Nothing but our own formatting, the configured mentions and the checked links does anything.
pub fn inert(message: &Rendered) -> Result<(), String> {
    markup(&message.text)?;
    for text in texts(&message.blocks) {
        let words = text["text"].as_str().unwrap_or_default();
        match text["type"].as_str() {
            Some("mrkdwn") if text["verbatim"] == true => markup(words)?,
            Some("plain_text") if text["emoji"] == false => {
                let mut pairs = words.chars().zip(words.chars().skip(1));
                if pairs.any(|(one, two)| one == '<' && !matches!(two, ' ' | '=' | '0'..='9')) {
                    return Err(format!("looks like markup: {words:?}"));
                }
                unseen(words)?;
            }
            _ => return Err(format!("a text that Slack would make something of: {text}")),
        }
    }
    Ok(())
}

pub fn unseen(text: &str) -> Result<(), String> {
    let odd = |next: char| {
        (next.is_control() && next != '\n')
            || matches!(next, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    if text.contains(odd) { Err(format!("unseen characters: {text:?}")) } else { Ok(()) }
}

fn markup(text: &str) -> Result<(), String> {
    unseen(text)?;
    text.lines().try_for_each(markup_line)
}

fn markup_line(text: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what} in {text:?}"));
    let mut outside = String::new();
    for (at, piece) in text.split('`').enumerate() {
        if at % 2 == 0 {
            outside.push_str(piece);
            outside.push('\u{1}');
        } else if piece.contains(['<', '>']) {
            return wrong("an active code span");
        } else if piece.is_empty() {
            return wrong("an empty code span");
        }
        let entities = piece.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
        if entities.contains('&') {
            return wrong("a bare &");
        }
    }
    if text.split('`').count().is_multiple_of(2) {
        return wrong("an open code span");
    }
    for word in OURS {
        outside = outside.replace(&format!("*{word}*"), "");
    }
    while let Some((before, rest)) = outside.split_once('<') {
        let Some((inside, after)) = rest.split_once('>') else { return wrong("an open <") };
        let is_link = ["|Runbook", "|Dashboard", "|PagerDuty"].iter().any(|words| inside.ends_with(words))
            && ["http://", "https://"].iter().any(|scheme| inside.starts_with(scheme))
            && inside.matches('|').count() == 1;
        if !is_link && !MENTIONS.contains(&inside) {
            return wrong("a sequence of somebody else's");
        }
        outside = format!("{before}{after}");
    }
    let active = ["*", "_", "~", ">", "@", "://", "mailto:", "&gt;"];
    if let Some(found) = active.iter().find(|found| outside.contains(**found)) {
        return wrong(found);
    }
    let words: Vec<&str> = outside.split(':').collect();
    let is_emoji = |word: &&str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || b"_+-0123456789".contains(&byte))
    };
    // A time of day has colons too.
    if words.len() > 2
        && words[1..words.len() - 1]
            .iter()
            .any(|word| is_emoji(word) && word.contains(|next: char| next.is_ascii_lowercase()))
    {
        return wrong("an emoji's name");
    }
    Ok(())
}
