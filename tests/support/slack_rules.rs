//! What Slack refuses, as its documentation and SDKs have it. The stand-in answers with the error and notes why, so
//! that a test can say that nothing was refused. `unescaped` is a word of ours: Slack would take such a message and
//! show, or ping, what nobody meant.

use std::collections::BTreeSet;

use serde_json::Value;

/// A broken rule: Slack's error word, and what broke it.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    pub error: &'static str,
    pub what: String,
}

const POST_FIELDS: &[&str] = &[
    "channel",
    "text",
    "blocks",
    "attachments",
    "thread_ts",
    "reply_broadcast",
    "mrkdwn",
    "unfurl_links",
    "unfurl_media",
    "parse",
    "link_names",
    "metadata",
    "username",
    "icon_emoji",
    "icon_url",
    "as_user",
];
const UPDATE_FIELDS: &[&str] = &[
    "channel",
    "ts",
    "text",
    "blocks",
    "attachments",
    "parse",
    "link_names",
    "reply_broadcast",
    "metadata",
    "as_user",
];

const BLOCKS: usize = 50;
const ALL_BLOCKS_CHARS: usize = 13_200;
const TEXT: usize = 4_000;

/// Looks at a message's body. `update` is chat.update, otherwise chat.postMessage.
pub fn check_message(body: &Value, update: bool) -> Vec<Broken> {
    let mut broken = Vec::new();
    let Some(fields) = body.as_object() else {
        return vec![Broken { error: "invalid_json", what: "the body isn't an object".to_owned() }];
    };
    let known = if update { UPDATE_FIELDS } else { POST_FIELDS };
    for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
        note(&mut broken, "invalid_arg_name", format!("unknown field {name}"));
    }
    if fields.get("channel").and_then(Value::as_str).is_none_or(str::is_empty) {
        note(&mut broken, "channel_not_found", "no channel".to_owned());
    }
    let text = fields.get("text").map(|text| text.as_str());
    match text {
        Some(None) => note(&mut broken, "invalid_arguments", "text isn't a string".to_owned()),
        None | Some(Some("")) if fields.contains_key("blocks") => {
            note(&mut broken, "no_text", "blocks without text: a notification would be empty".to_owned());
        }
        None | Some(Some("")) => note(&mut broken, "no_text", "neither text nor blocks".to_owned()),
        Some(Some(text)) => {
            limit(&mut broken, "msg_too_long", "text", text, TEXT);
            check_markup(&mut broken, "text", text);
        }
    }
    match fields.get("blocks") {
        None => {}
        Some(Value::Array(blocks)) => check_blocks(&mut broken, blocks),
        Some(_) => note(&mut broken, "invalid_blocks_format", "blocks isn't an array".to_owned()),
    }
    broken
}

fn check_blocks(broken: &mut Vec<Broken>, blocks: &[Value]) {
    if blocks.len() > BLOCKS {
        note(broken, "invalid_blocks", format!("{} blocks, {BLOCKS} allowed", blocks.len()));
    }
    let mut block_ids = BTreeSet::new();
    let mut action_ids = BTreeSet::new();
    let mut chars = 0;
    for (at, block) in blocks.iter().enumerate() {
        let at = format!("blocks[{at}]");
        chars += text_chars(block);
        if let Some(id) = block.get("block_id") {
            check_id(broken, &mut block_ids, &at, id);
        }
        match block["type"].as_str() {
            Some("divider" | "rich_text" | "image") => {}
            Some("header") => check_text(broken, &at, &block["text"], 150, &["plain_text"]),
            Some("section") => check_section(broken, &mut action_ids, &at, block),
            Some("markdown") => match block["text"].as_str() {
                Some(text) => limit(broken, "invalid_blocks", &at, text, 12_000),
                None => note(broken, "invalid_blocks", format!("{at}: no text")),
            },
            Some("context") => {
                for element in elements(broken, &at, block, 10) {
                    if element["type"] != "image" {
                        check_text(broken, &at, element, 2_000, &["plain_text", "mrkdwn"]);
                    }
                }
            }
            Some("actions") => {
                for element in elements(broken, &at, block, 25) {
                    check_element(broken, &mut action_ids, &at, element);
                }
            }
            other => note(broken, "invalid_blocks", format!("{at}: type {other:?}")),
        }
    }
    if chars > ALL_BLOCKS_CHARS {
        note(broken, "msg_blocks_too_long", format!("{chars} characters in all blocks"));
    }
}

fn check_section(broken: &mut Vec<Broken>, action_ids: &mut BTreeSet<String>, at: &str, block: &Value) {
    let fields = block.get("fields").map(|fields| fields.as_array().map(Vec::as_slice).unwrap_or_default());
    if block.get("text").is_none() && fields.is_none_or(<[Value]>::is_empty) {
        note(broken, "invalid_blocks", format!("{at}: a section without text and fields"));
    }
    if let Some(text) = block.get("text") {
        check_text(broken, at, text, 3_000, &["plain_text", "mrkdwn"]);
    }
    let fields = fields.unwrap_or_default();
    if fields.len() > 10 {
        note(broken, "invalid_blocks", format!("{at}: {} fields, 10 allowed", fields.len()));
    }
    for field in fields {
        check_text(broken, at, field, 2_000, &["plain_text", "mrkdwn"]);
    }
    if let Some(accessory) = block.get("accessory") {
        check_element(broken, action_ids, at, accessory);
    }
}

fn elements<'b>(broken: &mut Vec<Broken>, at: &str, block: &'b Value, most: usize) -> &'b [Value] {
    let elements = block["elements"].as_array().map(Vec::as_slice).unwrap_or_default();
    if elements.is_empty() || elements.len() > most {
        note(broken, "invalid_blocks", format!("{at}: {} elements, 1 to {most} allowed", elements.len()));
    }
    elements
}

fn check_element(broken: &mut Vec<Broken>, action_ids: &mut BTreeSet<String>, at: &str, element: &Value) {
    if let Some(id) = element.get("action_id") {
        check_id(broken, action_ids, at, id);
    }
    if element["type"] != "button" {
        return;
    }
    check_text(broken, at, &element["text"], 75, &["plain_text"]);
    for (field, most) in [("value", 2_000), ("url", 3_000)] {
        match element.get(field) {
            None => {}
            Some(Value::String(text)) => limit(broken, "invalid_blocks", &format!("{at}: button {field}"), text, most),
            Some(_) => note(broken, "invalid_blocks", format!("{at}: button {field} isn't a string")),
        }
    }
    if element.get("style").is_some_and(|style| style != "primary" && style != "danger") {
        note(broken, "invalid_blocks", format!("{at}: button style {}", element["style"]));
    }
    if let Some(confirm) = element.get("confirm") {
        check_text(broken, at, &confirm["title"], 100, &["plain_text"]);
        check_text(broken, at, &confirm["text"], 300, &["plain_text", "mrkdwn"]);
        check_text(broken, at, &confirm["confirm"], 30, &["plain_text"]);
        check_text(broken, at, &confirm["deny"], 30, &["plain_text"]);
    }
}

fn check_text(broken: &mut Vec<Broken>, at: &str, object: &Value, most: usize, kinds: &[&str]) {
    let kind = object["type"].as_str().unwrap_or_default();
    if !kinds.contains(&kind) {
        note(broken, "invalid_blocks", format!("{at}: text of type {kind:?}, {kinds:?} allowed"));
    }
    match object["text"].as_str() {
        None | Some("") => note(broken, "invalid_blocks", format!("{at}: empty text")),
        Some(text) => {
            limit(broken, "invalid_blocks", at, text, most);
            if kind == "mrkdwn" {
                check_markup(broken, at, text);
            }
        }
    }
}

fn check_id(broken: &mut Vec<Broken>, seen: &mut BTreeSet<String>, at: &str, id: &Value) {
    match id.as_str() {
        Some(id) if id.chars().count() <= 255 => {
            if !seen.insert(id.to_owned()) {
                note(broken, "invalid_blocks", format!("{at}: {id:?} occurs twice"));
            }
        }
        _ => note(broken, "invalid_blocks", format!("{at}: a bad id {id}")),
    }
}

/// `&`, `<` and `>` of what people or labels wrote must be escaped; what is left are entities, mentions and links.
fn check_markup(broken: &mut Vec<Broken>, at: &str, text: &str) {
    for (position, _) in text.match_indices('&') {
        if !["&amp;", "&lt;", "&gt;"].iter().any(|entity| text[position..].starts_with(entity)) {
            note(broken, "unescaped", format!("{at}: a bare & in {text:?}"));
        }
    }
    let starts =
        ["@U", "@W", "#C", "!here", "!channel", "!everyone", "!subteam^", "!date^", "http://", "https://", "mailto:"];
    let mut rest = text;
    while let Some(position) = rest.find(['<', '>']) {
        let inner = &rest[position + 1..];
        let end = inner.find('>');
        match end {
            Some(end) if rest[position..].starts_with('<') && starts.iter().any(|start| inner.starts_with(start)) => {
                rest = &inner[end + 1..];
            }
            // A quote at the start of a line is Slack's own markup.
            _ if rest[position..].starts_with('>') && text[..text.len() - rest.len() + position].ends_with(['\n']) => {
                rest = inner;
            }
            _ => {
                note(broken, "unescaped", format!("{at}: a bare < or > in {text:?}"));
                return;
            }
        }
    }
}

fn text_chars(block: &Value) -> usize {
    match block {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) if name == "text" => text.chars().count(),
                other => text_chars(other),
            })
            .sum(),
        Value::Array(items) => items.iter().map(text_chars).sum(),
        _ => 0,
    }
}

fn limit(broken: &mut Vec<Broken>, error: &'static str, at: &str, text: &str, most: usize) {
    let length = text.chars().count();
    if length > most {
        note(broken, error, format!("{at}: {length} characters, {most} allowed"));
    }
}

fn note(broken: &mut Vec<Broken>, error: &'static str, what: String) {
    broken.push(Broken { error, what });
}
