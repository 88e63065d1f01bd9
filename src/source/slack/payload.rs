//! What Slack sends for a click and for a command typed: the few fields that are used, read strictly.
//!
//! Whatever else is in there is left alone: Slack adds fields as it likes. Names are never read, only ids.

use crate::{http::limits::parse_json, telemetry::text::plain};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Somebody pressed a button of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Click {
    pub from: From,
    /// The message with the button.
    pub channel: String,
    pub message: String,
    pub value: String,
    /// Slack's name of this one press.
    pub trigger: Option<Trigger>,
}

/// Somebody typed `/nightshift TEXT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    pub from: From,
    pub text: String,
    pub trigger: Option<Trigger>,
}

impl Typed {
    /// The command's word, small, and what follows it.
    #[must_use]
    pub fn words(&self) -> (String, &str) {
        let text = self.text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()));
        (plain(word).to_ascii_lowercase(), rest)
    }

    /// It asks that nothing acts any more.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        self.words().0 == PAUSE
    }
}

/// The word of the command that waits for nobody.
pub const PAUSE: &str = "pause";

/// Slack's name of one press or command (`trigger_id`): the same however often and by whichever way it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger(String);

/// Slack's have some 60.
const LONGEST_TRIGGER: usize = 200;

impl Trigger {
    /// None: no name that could be remembered.
    fn of(text: String) -> Option<Trigger> {
        let is_name =
            !text.is_empty() && text.len() <= LONGEST_TRIGGER && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_name.then_some(Trigger(text))
    }
}

/// By what a press or command is known again: its trigger, or else what is `otherwise` the same when it comes again.
#[must_use]
pub fn once(trigger: Option<&Trigger>, otherwise: &str) -> String {
    trigger.map_or_else(|| otherwise.to_owned(), |trigger| trigger.0.clone())
}

/// Who, in which workspace, through which app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    pub user: String,
    pub team: String,
    pub app: String,
}

/// What is no request of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    #[error("not the form that Slack sends: {0}")]
    Form(&'static str),
    #[error("the payload is not the JSON that Slack sends for a button: {0}")]
    Json(String),
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
    team: Option<Id>,
    #[serde(default)]
    api_app_id: String,
    container: Option<Container>,
    #[serde(default)]
    actions: Vec<Action>,
    trigger_id: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    team_id: Option<String>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Container {
    message_ts: Option<String>,
    channel_id: Option<String>,
    #[serde(default)]
    is_ephemeral: bool,
}

#[derive(Deserialize)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
    value: Option<String>,
}

/// The body of `/slack/interactions`. None: something that no button of ours sends, to be answered and left.
pub fn click(body: &[u8]) -> Result<Option<Click>, NotRead> {
    let payload = only_field(body, "payload")?;
    interactive(payload.as_bytes())
}

/// The JSON of an interaction, as the form and Socket Mode carry it.
pub fn interactive(json: &[u8]) -> Result<Option<Click>, NotRead> {
    let payload: Payload = parse_json(json).map_err(|error| NotRead::Json(error.to_string()))?;
    if payload.kind != "block_actions" {
        return Ok(None);
    }
    // One press is one action; several at once no button of ours makes.
    let [action] = payload.actions.as_slice() else { return Ok(None) };
    let (Some(user), Some(container), Some(value)) = (payload.user, payload.container, &action.value) else {
        return Ok(None);
    };
    let (Some(message), Some(channel)) = (container.message_ts, container.channel_id) else { return Ok(None) };
    if action.kind != "button" || container.is_ephemeral {
        return Ok(None);
    }
    // Where the app is installed for an organisation there is no team but the user's.
    let team = payload.team.map(|team| team.id).or(user.team_id).unwrap_or_default();
    let from = From { user: user.id, team, app: payload.api_app_id };
    let trigger = payload.trigger_id.and_then(Trigger::of);
    Ok(Some(Click { from, channel, message, value: value.clone(), trigger }))
}

/// The body of `/slack/commands`. None: Slack only asks whether anybody is there.
pub fn typed(body: &[u8]) -> Result<Option<Typed>, NotRead> {
    let mut fields = fields(body)?;
    if fields.get("ssl_check").is_some_and(|asked| asked == "1") {
        return Ok(None);
    }
    let mut take = |name: &'static str| fields.remove(name).ok_or(NotRead::Form("a field is missing"));
    let from = From { user: take("user_id")?, team: take("team_id")?, app: take("api_app_id").unwrap_or_default() };
    let text = take("text").unwrap_or_default();
    Ok(Some(Typed { from, text, trigger: take("trigger_id").ok().and_then(Trigger::of) }))
}

/// The same out of the JSON that Socket Mode carries.
pub fn typed_json(json: &[u8]) -> Result<Typed, NotRead> {
    #[derive(Deserialize)]
    struct Command {
        user_id: String,
        team_id: String,
        #[serde(default)]
        api_app_id: String,
        #[serde(default)]
        text: String,
        trigger_id: Option<String>,
    }
    let command: Command = parse_json(json).map_err(|error| NotRead::Json(error.to_string()))?;
    let from = From { user: command.user_id, team: command.team_id, app: command.api_app_id };
    Ok(Typed { from, text: command.text, trigger: command.trigger_id.and_then(Trigger::of) })
}

fn only_field(body: &[u8], name: &'static str) -> Result<String, NotRead> {
    fields(body)?.remove(name).ok_or(NotRead::Form("there is no field `payload`"))
}

/// Each field once: of two with one name, somebody else may have read the other.
fn fields(body: &[u8]) -> Result<BTreeMap<String, String>, NotRead> {
    let mut fields = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(body) {
        if fields.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(NotRead::Form("a field comes twice"));
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn payload() -> Value {
        json!({
            "type": "block_actions", "api_app_id": "A1", "team": {"id": "T1", "domain": "us"},
            "user": {"id": "U1", "username": "ana", "team_id": "T1"},
            "container": {"type": "message", "message_ts": "1.2", "channel_id": "C1", "is_ephemeral": false},
            "actions": [{"type": "button", "action_id": "nightshift_why", "block_id": "b", "value": "why 1 00"}],
            "trigger_id": "1.2.3", "something": {"new": true}
        })
    }

    fn read(payload: &Value) -> Option<Click> {
        let text: String = form_urlencoded::byte_serialize(payload.to_string().as_bytes()).collect();
        click(format!("payload={text}").as_bytes()).unwrap()
    }

    #[test]
    fn a_click_is_who_where_and_what() {
        let from = From { user: "U1".to_owned(), team: "T1".to_owned(), app: "A1".to_owned() };
        let (channel, message, value) = ("C1".to_owned(), "1.2".to_owned(), "why 1 00".to_owned());
        let click = Click { from, channel, message, value, trigger: Trigger::of("1.2.3".to_owned()) };
        assert_eq!(read(&payload()), Some(click.clone()));
        let mut installed_for_all = payload();
        installed_for_all["team"] = Value::Null;
        assert_eq!(read(&installed_for_all), Some(click));
    }

    #[test]
    fn what_no_button_of_ours_sends_is_left_alone() {
        for (place, value) in [
            ("/type", json!("view_submission")),
            ("/user", Value::Null),
            ("/container", Value::Null),
            ("/container/message_ts", Value::Null),
            ("/container/is_ephemeral", json!(true)),
            ("/actions", json!([])),
            ("/actions/0/type", json!("static_select")),
            ("/actions/0/value", Value::Null),
        ] {
            let mut other = payload();
            *other.pointer_mut(place).unwrap() = value;
            assert_eq!(read(&other), None, "{place}");
        }
        let mut two = payload();
        let action = two["actions"][0].clone();
        two["actions"].as_array_mut().unwrap().push(action);
        assert_eq!(read(&two), None);
    }

    #[test]
    fn a_press_is_known_again_by_its_trigger_and_else_by_how_it_came() {
        assert_eq!(once(read(&payload()).unwrap().trigger.as_ref(), "signature"), "1.2.3");
        for odd in [Value::Null, json!(""), json!("1 2"), json!("x".repeat(201)), json!("é"), json!("1\n2")] {
            let mut other = payload();
            other["trigger_id"] = odd.clone();
            assert_eq!(once(read(&other).unwrap().trigger.as_ref(), "signature"), "signature", "{odd}");
        }
        let (form, json) =
            (b"team_id=T1&user_id=U1&trigger_id=9.8", br#"{"team_id":"T1","user_id":"U1","trigger_id":"9.8"}"#);
        assert_eq!(typed(form).unwrap().unwrap(), typed_json(json).unwrap());
    }

    #[test]
    fn garbage_is_refused_and_panics_nowhere() {
        for body in
            [&b""[..], b"payload", b"payload=%7B", b"payload=1", b"payload={}&payload={}", b"\xff\xfe=%zz", b"a=b"]
        {
            assert!(click(body).is_err(), "{body:?}");
        }
        let deep = format!("payload={}", "[".repeat(100_000));
        assert!(click(deep.as_bytes()).is_err());
        assert!(typed(b"text=status").is_err());
    }

    #[test]
    fn a_command_is_read_and_a_check_is_only_answered() {
        let body = b"token=x&team_id=T1&user_id=U1&user_name=ana&api_app_id=A1&command=%2Fnightshift&text=ack+1042";
        let command = typed(body).unwrap().unwrap();
        assert_eq!((command.text.as_str(), command.from.user.as_str()), ("ack 1042", "U1"));
        assert_eq!(typed(b"ssl_check=1&token=x"), Ok(None));
        let json =
            br#"{"user_id": "U1", "team_id": "T1", "api_app_id": "A1", "text": "ack 1042", "command": "/nightshift"}"#;
        assert_eq!(typed_json(json), Ok(command));
    }
}
