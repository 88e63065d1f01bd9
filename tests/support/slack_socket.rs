//! The stand-in's end of Socket Mode: web sockets whose addresses are good for one connection, that say hello, send
//! envelopes, want each acknowledged as Slack does, and end in Slack's ways when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::background::Background;
use super::slack::APP;
use super::slack_rules::Broken;
use super::wait::wait_until;

/// The token that opens web sockets, and does nothing else.
pub const APP_TOKEN: &str = "xapp-1-of-the-tests-1234567890";
/// Slack allows no more at a time.
const MOST: usize = 10;
const SOON: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct Sockets {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    tickets: BTreeSet<u64>,
    issued: u64,
    connections: Vec<Connection>,
    sent: BTreeMap<String, Sent>,
    broken: Vec<Broken>,
}

struct Connection {
    orders: mpsc::UnboundedSender<Order>,
    is_open: bool,
    /// How our side was left: the code of nightshift's farewell.
    farewell: Option<u16>,
}

enum Order {
    Say(String),
    /// Nothing is read any more, and so nothing answered: the other side is gone and does not know it.
    GoSilent,
    /// What was not read is read now.
    ReadAgain,
    Close,
    /// Without a farewell.
    Cut,
}

/// An envelope.
#[derive(Clone)]
struct Sent {
    frame: Value,
    /// Over which connections.
    over: Vec<usize>,
    acknowledged: Vec<Value>,
}

impl Sockets {
    pub fn start(background: &Background) -> Self {
        let listener = background.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let sockets = Self { address: listener.local_addr().expect("bound"), kept: Arc::default() };
        let serving = sockets.clone();
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn(serving.clone().serve(stream));
            }
        });
        sockets
    }

    /// Where one connection may begin.
    pub fn address(&self) -> String {
        let mut kept = self.kept.lock().unwrap();
        kept.issued += 1;
        let ticket = kept.issued;
        kept.tickets.insert(ticket);
        format!("ws://{}/link/?ticket={ticket}&app_id=1", self.address)
    }

    /// Connections so far.
    pub fn opened(&self) -> usize {
        self.kept.lock().unwrap().connections.len()
    }

    /// The numbers of those that are open, oldest first.
    pub fn open(&self) -> Vec<usize> {
        let kept = self.kept.lock().unwrap();
        kept.connections.iter().enumerate().filter(|(_, it)| it.is_open).map(|(number, _)| number).collect()
    }

    /// Waits until so many have been opened, and the last of them is open.
    pub async fn until_opened(&self, count: usize) {
        wait_until(&format!("{count} connections"), SOON * 2, async || {
            let (opened, open) = (self.opened(), self.open());
            if opened >= count && open.last() == Some(&(opened - 1)) {
                Ok(())
            } else {
                Err(format!("{opened} {open:?}"))
            }
        })
        .await;
    }

    /// With what code nightshift took leave of a connection.
    pub fn farewell(&self, number: usize) -> Option<u16> {
        self.kept.lock().unwrap().connections[number].farewell
    }

    /// Sends an envelope over the newest connection: its id.
    pub fn send(&self, kind: &str, payload: Value, takes_answer: bool) -> String {
        let newest = *self.open().last().expect("an open connection");
        self.send_over(newest, kind, payload, takes_answer)
    }

    pub fn send_over(&self, connection: usize, kind: &str, payload: Value, takes_answer: bool) -> String {
        let mut kept = self.kept.lock().unwrap();
        let id = format!("00000000-0000-4000-8000-{:012}", kept.sent.len() + 1);
        let frame = json!({
            "envelope_id": id, "type": kind, "payload": payload, "accepts_response_payload": takes_answer,
            "retry_attempt": 0, "retry_reason": "",
        });
        kept.order(connection, Order::Say(frame.to_string()));
        kept.sent.insert(id.clone(), Sent { frame, over: vec![connection], acknowledged: Vec::new() });
        id
    }

    /// The same again over the newest connection, as Slack does when nobody acknowledged it.
    pub fn send_again(&self, id: &str) {
        let newest = *self.open().last().expect("an open connection");
        let mut kept = self.kept.lock().unwrap();
        let sent = kept.sent.get_mut(id).expect("it was sent");
        sent.frame["retry_attempt"] = json!(sent.over.len());
        sent.frame["retry_reason"] = json!("timeout");
        sent.over.push(newest);
        let text = sent.frame.to_string();
        kept.order(newest, Order::Say(text));
    }

    /// The acknowledgements of an envelope, as they were sent.
    pub fn acknowledged(&self, id: &str) -> Vec<Value> {
        self.kept.lock().unwrap().sent[id].acknowledged.clone()
    }

    pub async fn until_acknowledged(&self, id: &str) -> Value {
        wait_until(&format!("envelope {id} is acknowledged"), SOON, async || {
            self.acknowledged(id).pop().ok_or_else(|| "not yet".to_owned())
        })
        .await
    }

    /// Says that a connection will end, or why it ends.
    pub fn disconnect(&self, connection: usize, reason: &str) {
        let frame = json!({"type": "disconnect", "reason": reason, "debug_info": {"host": "wss-tests"}});
        self.kept.lock().unwrap().order(connection, Order::Say(frame.to_string()));
    }

    pub fn go_silent(&self, connection: usize) {
        self.kept.lock().unwrap().order(connection, Order::GoSilent);
    }

    pub fn read_again(&self, connection: usize) {
        self.kept.lock().unwrap().order(connection, Order::ReadAgain);
    }

    pub fn close(&self, connection: usize) {
        self.kept.lock().unwrap().order(connection, Order::Close);
    }

    pub fn cut(&self, connection: usize) {
        self.kept.lock().unwrap().order(connection, Order::Cut);
    }

    pub fn broken(&self) -> Vec<Broken> {
        self.kept.lock().unwrap().broken.clone()
    }

    async fn serve(self, stream: TcpStream) {
        let kept = Arc::clone(&self.kept);
        // A ticket is good once; a second use is a mistake of whoever uses it.
        #[allow(clippy::result_large_err, reason = "the shape that the handshake wants")]
        let door = move |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            let query = request.uri().query().unwrap_or_default();
            let ticket = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "ticket");
            let ticket: Option<u64> = ticket.and_then(|(_, value)| value.parse().ok());
            let mut kept = kept.lock().unwrap();
            if request.uri().path() == "/link/" && ticket.is_some_and(|ticket| kept.tickets.remove(&ticket)) {
                return Ok(response);
            }
            kept.note("ticket", format!("used twice, or never issued: {ticket:?}"));
            let mut refused = ErrorResponse::new(None);
            *refused.status_mut() = hyper::StatusCode::FORBIDDEN;
            Err(refused)
        };
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, door).await else { return };
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let (number, open) = {
            let mut kept = self.kept.lock().unwrap();
            kept.connections.push(Connection { orders, is_open: false, farewell: None });
            (kept.connections.len() - 1, kept.connections.iter().filter(|it| it.is_open).count() + 1)
        };
        let hello = json!({
            "type": "hello", "num_connections": open, "connection_info": {"app_id": APP},
            "debug_info": {"host": "tests", "build_number": 1, "approximate_connection_time": 18_060},
        });
        if socket.send(Message::text(hello.to_string())).await.is_err() {
            return;
        }
        self.kept.lock().unwrap().connections[number].is_open = true;
        if open > MOST {
            self.disconnect(number, "too_many_websockets");
        }
        self.talk(number, &mut socket, &mut ordered).await;
        self.kept.lock().unwrap().connections[number].is_open = false;
    }

    async fn talk(
        &self,
        number: usize,
        socket: &mut WebSocketStream<TcpStream>,
        ordered: &mut mpsc::UnboundedReceiver<Order>,
    ) {
        let mut is_silent = false;
        loop {
            tokio::select! {
                order = ordered.recv() => match order {
                    Some(Order::Say(text)) => if socket.send(Message::text(text)).await.is_err() { return },
                    Some(Order::GoSilent) => is_silent = true,
                    Some(Order::ReadAgain) => is_silent = false,
                    Some(Order::Close) => { let _ = socket.close(None).await; }
                    Some(Order::Cut) | None => return,
                },
                heard = socket.next(), if !is_silent => match heard {
                    Some(Ok(Message::Text(text))) => self.kept.lock().unwrap().acknowledge(number, text.as_str()),
                    Some(Ok(Message::Binary(_))) => self.kept.lock().unwrap().note("binary", "bytes".to_owned()),
                    Some(Ok(Message::Close(farewell))) => {
                        let code = farewell.map(|farewell| farewell.code.into());
                        self.kept.lock().unwrap().connections[number].farewell = code;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
            }
        }
    }
}

impl Kept {
    fn order(&mut self, connection: usize, order: Order) {
        // Whoever is gone hears nothing.
        let _ = self.connections[connection].orders.send(order);
    }

    fn note(&mut self, error: &'static str, what: String) {
        self.broken.push(Broken { error, what });
    }

    fn acknowledge(&mut self, connection: usize, text: &str) {
        let Ok(Value::Object(said)) = serde_json::from_str(text) else {
            return self.note("acknowledgement", format!("no object of JSON: {text}"));
        };
        if let Some(odd) = said.keys().find(|name| !["envelope_id", "payload"].contains(&name.as_str())) {
            return self.note("acknowledgement", format!("has {odd:?}: {text}"));
        }
        let sent = said.get("envelope_id").and_then(Value::as_str).and_then(|id| self.sent.get_mut(id));
        let problem = match sent {
            None => Some("no envelope has this id"),
            Some(sent) if !sent.over.contains(&connection) => Some("it came by another connection"),
            Some(sent) if sent.acknowledged.len() >= sent.over.len() => Some("it was acknowledged already"),
            Some(sent) if said.contains_key("payload") && sent.frame["accepts_response_payload"] != true => {
                Some("an answer where none is taken")
            }
            Some(sent) => {
                sent.acknowledged.push(Value::Object(said));
                None
            }
        };
        if let Some(problem) = problem {
            self.note("acknowledgement", format!("{problem}: {text}"));
        }
    }
}
