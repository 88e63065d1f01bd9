//! A small Slack on loopback: it keeps messages and threads, checks what it is sent, and fails as it is told.

use super::judge;
use crate::notify::slack::blocks::Rendered;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::task::JoinSet;

pub const TOKEN: &str = "xoxb-1-not-a-real-one";
pub const CHANNEL: &str = "C0INCIDENTS";

/// What it does with the next call instead of answering well.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// 200 and `ok: false`.
    Error(&'static str),
    Status(u16),
    Limited(Option<&'static str>),
    /// 200 and this body.
    Body(&'static str),
    /// Carries it out, and says so with an error all the same.
    DoneBut(&'static str),
    /// Carries it out, and answers after the caller's patience.
    DoneLate(Duration),
}

#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub body: Value,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub ts: String,
    pub body: Value,
    pub updates: usize,
}

#[derive(Default)]
pub struct Kept {
    pub trouble: VecDeque<Trouble>,
    pub calls: Vec<Seen>,
    pub messages: Vec<Message>,
    pub wrong: Vec<String>,
    /// The token has no right to read.
    pub may_not_read: bool,
    /// Channels that were made: name, id, creator.
    pub channels: Vec<(String, String, String)>,
}

/// Our bot's user.
pub const BOT: &str = "U0BOT0001";

pub struct Fake {
    pub url: String,
    kept: Arc<Mutex<Kept>>,
    _serving: JoinSet<()>,
}

impl Fake {
    pub async fn start() -> Fake {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&shared);
                let serve = service_fn(move |request| answer(Arc::clone(&kept), request));
                connections.spawn(async move {
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        Fake { url, kept, _serving: serving }
    }

    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    pub fn next(&self, trouble: Trouble) {
        self.kept().trouble.push_back(trouble);
    }

    pub fn methods(&self) -> Vec<String> {
        self.kept().calls.iter().map(|call| call.method.clone()).collect()
    }

    pub fn assert_nothing_wrong(&self) {
        assert!(self.kept().wrong.is_empty(), "{:#?}", self.kept().wrong);
    }
}

async fn answer(kept: Arc<Mutex<Kept>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let method = head.uri.path().strip_prefix("/api/").unwrap_or("not below /api/").to_owned();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let is_read = head.method == "GET";
    let (status, said, late) = {
        let mut kept = kept.lock().unwrap();
        if header("authorization").as_deref() != Some(&format!("Bearer {TOKEN}")) {
            kept.wrong.push(format!("{method}: authorization"));
        }
        if !is_read && header("content-type").as_deref() != Some("application/json; charset=utf-8") {
            kept.wrong.push(format!("{method}: content type {:?}", header("content-type")));
        }
        let body: Value =
            if is_read { query(head.uri.query().unwrap_or("")) } else { serde_json::from_slice(&bytes).unwrap() };
        kept.calls.push(Seen { method: method.clone(), body: body.clone() });
        let trouble = kept.trouble.pop_front();
        let refused = |error: &str| json!({"ok": false, "error": error}).to_string();
        match trouble {
            None => (200, carry_out(&mut kept, &method, &body).to_string(), None),
            Some(Trouble::Error(error)) => (200, refused(error), None),
            Some(Trouble::Status(status)) => (status, "<html>".to_owned(), None),
            Some(Trouble::Body(said)) => (200, said.to_owned(), None),
            Some(Trouble::Limited(after)) => {
                let mut response = Response::builder().status(429);
                if let Some(after) = after {
                    response = response.header("retry-after", after);
                }
                return Ok(response.body(Full::from(refused("ratelimited"))).unwrap());
            }
            Some(Trouble::DoneBut(error)) => {
                carry_out(&mut kept, &method, &body);
                (200, refused(error), None)
            }
            Some(Trouble::DoneLate(late)) => (200, carry_out(&mut kept, &method, &body).to_string(), Some(late)),
        }
    };
    if let Some(late) = late {
        tokio::time::sleep(late).await;
    }
    Ok(Response::builder().status(status).body(Full::from(said)).unwrap())
}

/// Our values need no decoding beyond this.
fn query(text: &str) -> Value {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

fn carry_out(kept: &mut Kept, method: &str, body: &Value) -> Value {
    let error = |error: &str| json!({"ok": false, "error": error});
    if matches!(method, "chat.postMessage" | "chat.update") {
        let rendered = Rendered {
            text: body["text"].as_str().unwrap_or_default().to_owned(),
            blocks: body["blocks"].as_array().cloned().unwrap_or_default(),
        };
        for wrong in [judge::limits(&rendered), judge::inert(&rendered)].into_iter().filter_map(Result::err) {
            kept.wrong.push(wrong);
        }
        if body["parse"] != "none" || body["link_names"] != false {
            kept.wrong.push(format!("{method}: Slack looks for links and names"));
        }
    }
    match method {
        "chat.postMessage" => {
            let asked = body["channel"].as_str().unwrap_or_default();
            let made = kept.channels.iter().find(|(_, id, creator)| id == asked && creator == BOT);
            let channel = match (asked, made) {
                ("#incidents" | CHANNEL, _) => CHANNEL.to_owned(),
                (_, Some((_, id, _))) => id.clone(),
                _ => return error("channel_not_found"),
            };
            if body["unfurl_links"] != false || body["unfurl_media"] != false {
                kept.wrong.push("unfurls".to_owned());
            }
            let threads: Vec<&Value> = kept.messages.iter().map(|message| &message.body["thread_ts"]).collect();
            if let Some(thread) = body["thread_ts"].as_str()
                && !kept.messages.iter().zip(threads).any(|(message, of)| message.ts == thread && of.is_null())
            {
                return error("thread_not_found");
            }
            let ts = format!("1772330000.{:06}", kept.messages.len() + 1);
            let mut body = body.clone();
            body["channel"] = channel.clone().into();
            kept.messages.push(Message { ts: ts.clone(), body, updates: 0 });
            json!({"ok": true, "channel": channel, "ts": ts})
        }
        "chat.update" => {
            let is_it = |message: &&mut Message| {
                let posted_to = message.body["channel"].as_str().unwrap_or_default();
                let posted_to = if posted_to == "#incidents" { CHANNEL } else { posted_to };
                body["ts"] == message.ts && body["channel"] == posted_to
            };
            let found = kept.messages.iter_mut().find(is_it);
            let Some(message) = found else { return error("message_not_found") };
            message.updates += 1;
            message.body["text"] = body["text"].clone();
            message.body["blocks"] = body["blocks"].clone();
            json!({"ok": true, "channel": body["channel"], "ts": body["ts"]})
        }
        "auth.test" => json!({"ok": true, "user_id": BOT, "team_id": "T0", "bot_id": "B0"}),
        "conversations.create" => {
            let name = body["name"].as_str().unwrap_or_default();
            let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
            if name.is_empty() || name.len() > 80 || !name.bytes().all(is_fine) {
                return error("invalid_name_specials");
            }
            if kept.channels.iter().any(|(known, ..)| known == name) {
                return error("name_taken");
            }
            let id = format!("C0INCIDENT{}", 1042 + kept.channels.len());
            kept.channels.push((name.to_owned(), id.clone(), BOT.to_owned()));
            json!({"ok": true, "channel": {"id": id, "name": name, "creator": BOT}})
        }
        "conversations.list" if kept.may_not_read => error("missing_scope"),
        // Two on a page.
        "conversations.list" => {
            let from: usize = body["cursor"].as_str().unwrap_or_default().parse().unwrap_or(0);
            let shown =
                |(name, id, creator): &(String, String, String)| json!({"id": id, "name": name, "creator": creator});
            let page: Vec<Value> = kept.channels.iter().skip(from).take(2).map(shown).collect();
            let next = if from + 2 < kept.channels.len() { (from + 2).to_string() } else { String::new() };
            json!({"ok": true, "channels": page, "response_metadata": {"next_cursor": next}})
        }
        "conversations.history" | "conversations.replies" if kept.may_not_read => error("missing_scope"),
        "conversations.history" | "conversations.replies" => {
            let shown = |message: &&Message| match method {
                "conversations.replies" => message.body["thread_ts"] == body["ts"],
                _ => message.body.get("thread_ts").is_none(),
            };
            let messages: Vec<Value> = kept
                .messages
                .iter()
                .filter(shown)
                .map(|message| json!({"ts": message.ts, "metadata": message.body["metadata"]}))
                .collect();
            json!({"ok": true, "messages": messages})
        }
        _ => error("unknown_method"),
    }
}
