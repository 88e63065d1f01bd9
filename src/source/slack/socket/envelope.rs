//! What Slack sends over a web socket, read strictly; and the acknowledgement that is sent back.
//!
//! A web socket is Slack's own word: nothing in it is signed. Whatever is no request of ours but has an envelope's id is
//! acknowledged and left, or Slack would send it for ever.

use crate::source::slack::payload::{self, Click, NotRead, Typed};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// Slack's are UUIDs.
const LONGEST_ID: usize = 200;

/// One message of Slack's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first one: from here on it sends. Through which app, where it says so.
    Hello {
        app: Option<String>,
    },
    Disconnect(Leave),
    Envelope(Envelope),
    /// Of a kind that nobody has told us of, and to which no answer is wanted.
    Unknown,
}

/// Why a connection will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// As every few hours: another one is to take its place.
    Refresh,
    /// Socket Mode was switched off for the app.
    Disabled,
    /// The app has more connections than it may.
    TooMany,
}

/// What is to be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub id: String,
    /// The acknowledgement may carry an answer.
    pub takes_answer: bool,
    pub ask: Ask,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    Click(Click),
    Typed(Typed),
    /// Something that no button of ours sends, or of a kind that we did not ask for.
    Nothing,
    /// It should have been one of these, and is not what Slack sends.
    Unreadable(NotRead),
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(rename = "type")]
    kind: String,
    envelope_id: Option<String>,
    #[serde(default)]
    accepts_response_payload: bool,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    reason: Option<String>,
    connection_info: Option<ConnectionInfo>,
}

#[derive(Deserialize)]
struct ConnectionInfo {
    app_id: Option<String>,
}

/// Reads one message.
pub fn read(text: &str) -> Result<Frame, NotRead> {
    // Not by way of `parse_json`: the payload is borrowed.
    let written: Written<'_> = serde_json::from_str(text).map_err(|error| NotRead::Json(error.to_string()))?;
    match written.kind.as_str() {
        "hello" => return Ok(Frame::Hello { app: written.connection_info.and_then(|info| info.app_id) }),
        "disconnect" => {
            return Ok(Frame::Disconnect(match written.reason.as_deref() {
                Some("link_disabled") => Leave::Disabled,
                Some("too_many_websockets") => Leave::TooMany,
                // `warning`, `refresh_requested`, and whatever else is yet to come: it ends, and we stay.
                _ => Leave::Refresh,
            }));
        }
        _ => {}
    }
    let Some(id) = written.envelope_id else { return Ok(Frame::Unknown) };
    if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NotRead::Form("an envelope's id is a short word"));
    }
    let payload = written.payload.map_or("null", RawValue::get).as_bytes();
    let ask = match written.kind.as_str() {
        "interactive" => payload::interactive(payload).map(|click| click.map_or(Ask::Nothing, Ask::Click)),
        "slash_commands" => payload::typed_json(payload).map(Ask::Typed),
        _ => Ok(Ask::Nothing),
    };
    let ask = ask.unwrap_or_else(Ask::Unreadable);
    Ok(Frame::Envelope(Envelope { id, takes_answer: written.accepts_response_payload, ask }))
}

/// The acknowledgement of an envelope.
#[must_use]
pub fn acknowledgement(id: &str, answer: Option<&Value>) -> String {
    match answer {
        None => json!({"envelope_id": id}).to_string(),
        Some(answer) => json!({"envelope_id": id, "payload": answer}).to_string(),
    }
}

/// Where the next web socket begins, out of the answer of `apps.connections.open`.
#[must_use]
pub fn address(answer: &Value) -> Option<&str> {
    answer.get("url").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(kind: &str, payload: &Value) -> Value {
        json!({
            "envelope_id": "dbdd0ef3-1543-4f94-bfb4-133d0e6c1545", "type": kind, "accepts_response_payload": true,
            "payload": payload, "retry_attempt": 0, "retry_reason": "",
        })
    }

    fn click() -> Value {
        json!({
            "type": "block_actions", "api_app_id": "A1", "team": {"id": "T1"}, "user": {"id": "U1", "team_id": "T1"},
            "container": {"type": "message", "message_ts": "1.2", "channel_id": "C1", "is_ephemeral": false},
            "actions": [{"type": "button", "value": "why 1 00"}], "trigger_id": "1.2.3",
        })
    }

    fn command() -> Value {
        json!({"user_id": "U1", "team_id": "T1", "api_app_id": "A1", "command": "/nightshift", "text": "ack 1"})
    }

    fn ask(written: &Value) -> Ask {
        match read(&written.to_string()).unwrap() {
            Frame::Envelope(envelope) => envelope.ask,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_slack_documents_is_read() {
        let hello = r#"{"type":"hello","connection_info":{"app_id":"A1"},"num_connections":1,
            "debug_info":{"host":"applink","build_number":54,"approximate_connection_time":3600}}"#;
        assert_eq!(read(hello), Ok(Frame::Hello { app: Some("A1".to_owned()) }));
        for (reason, leave) in [
            ("warning", Leave::Refresh),
            ("refresh_requested", Leave::Refresh),
            ("link_disabled", Leave::Disabled),
            ("too_many_websockets", Leave::TooMany),
            ("something_new", Leave::Refresh),
        ] {
            let text = json!({"type": "disconnect", "reason": reason, "debug_info": {"host": "wss-111"}}).to_string();
            assert_eq!(read(&text), Ok(Frame::Disconnect(leave)), "{reason}");
        }
        assert_eq!(read(r#"{"type":"disconnect"}"#), Ok(Frame::Disconnect(Leave::Refresh)));
        assert!(matches!(ask(&envelope("interactive", &click())), Ask::Click(_)));
        assert!(matches!(ask(&envelope("slash_commands", &command())), Ask::Typed(_)));
    }

    #[test]
    fn what_nobody_asked_for_is_acknowledged_and_left() {
        for kind in ["events_api", "block_suggestion", "", "Interactive", "hello ", "😀"] {
            assert_eq!(ask(&envelope(kind, &click())), Ask::Nothing, "{kind}");
        }
        assert_eq!(ask(&envelope("interactive", &json!({"type": "view_submission"}))), Ask::Nothing);
        assert_eq!(read(r#"{"type":"goodbye"}"#), Ok(Frame::Unknown));
    }

    #[test]
    fn what_should_be_a_click_and_is_none_can_still_be_acknowledged() {
        for (kind, payload) in [
            ("interactive", Value::Null),
            ("interactive", json!("block_actions")),
            ("interactive", json!({"type": "block_actions", "actions": {}})),
            ("slash_commands", Value::Null),
            ("slash_commands", json!({"text": "pause"})),
            ("slash_commands", json!({"user_id": 7, "team_id": "T1"})),
        ] {
            assert!(matches!(ask(&envelope(kind, &payload)), Ask::Unreadable(_)), "{kind} {payload}");
        }
    }

    #[test]
    fn no_mutation_panics_and_none_becomes_another_request() {
        for right in [envelope("interactive", &click()), envelope("slash_commands", &command())] {
            let text = right.to_string();
            let meant = ask(&right);
            for end in 0..text.len() {
                assert!(read(&text[..end]).is_err(), "cut at {end}");
            }
            let mut bytes = text.clone().into_bytes();
            for place in 0..bytes.len() {
                for other in [b'"', b'{', b'}', b'[', b'0', b'\\', b' ', b'x', 0, 0x7f] {
                    let was = std::mem::replace(&mut bytes[place], other);
                    if let Ok(text) = std::str::from_utf8(&bytes)
                        && let Ok(Frame::Envelope(Envelope { ask: Ask::Click(_) | Ask::Typed(_), .. })) = read(text)
                    {
                        // It still is of the kind that it was: a click never becomes a command.
                        let is_click = matches!(read(text), Ok(Frame::Envelope(Envelope { ask: Ask::Click(_), .. })));
                        assert_eq!(is_click, matches!(meant, Ask::Click(_)), "{text}");
                    }
                    bytes[place] = was;
                }
            }
        }
    }

    #[test]
    fn twice_the_same_key_and_ids_that_are_no_words_are_refused() {
        let twice = r#"{"type":"interactive","type":"hello","envelope_id":"a"}"#;
        assert!(read(twice).is_err());
        for id in ["", " ", "a b", "é", &"x".repeat(201)] {
            let mut odd = envelope("interactive", &click());
            odd["envelope_id"] = json!(id);
            assert!(read(&odd.to_string()).is_err(), "{id:?}");
        }
        for text in ["", "null", "[]", "7", "\"hello\"", "{}", r#"{"type":7}"#, &"[".repeat(100_000)] {
            assert!(read(text).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn an_acknowledgement_carries_an_answer_only_where_there_is_one() {
        assert_eq!(acknowledgement("a", None), r#"{"envelope_id":"a"}"#);
        assert_eq!(acknowledgement("a", Some(&json!({"text": "b"}))), r#"{"envelope_id":"a","payload":{"text":"b"}}"#);
    }
}
