//! A web socket to a peer: begun by the one client, so with its certificates, its time-outs and its errors.
//!
//! Messages are bounded, and a message beyond the bound ends the connection. Whether the peer still lives is for whoever
//! holds the socket to ask, by [`Socket::ping`]: a connection of which only one side knows that it is over looks like a
//! quiet one.

use super::client::{Client, ClientBuildError, ClientError, ClientSettings};
use futures_util::{SinkExt, StreamExt};
use reqwest::{
    Method, StatusCode, Upgraded, Url,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use std::{net::IpAddr, time::Duration};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{Utf8Bytes, coding::CloseCode},
        },
    },
};

/// One message leaves, or the peer takes nothing any more.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// A farewell is worth no longer wait.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Messages are a few kilobytes.
const BUFFER: usize = 16 * 1024;

/// Begins web sockets.
#[derive(Debug, Clone)]
pub struct Dialer {
    client: Client,
    max_message: usize,
}

/// Why there is no web socket. No URL is in it: its ticket is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDialled {
    #[error("the address is no web socket's: wss://, or ws:// on this machine")]
    Address,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("it answers, and opens no web socket: {0}")]
    Status(StatusCode),
    #[error("it answers as no web socket does")]
    Handshake,
}

impl NotDialled {
    /// The log's and the status' word.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            NotDialled::Address => "bad_address",
            NotDialled::Client(error) => error.reason,
            NotDialled::Status(_) => "no_upgrade",
            NotDialled::Handshake => "bad_handshake",
        }
    }
}

impl Dialer {
    /// `max_message`: bytes of one message of the peer.
    pub fn build(settings: &ClientSettings, max_message: usize) -> Result<Dialer, ClientBuildError> {
        let settings = ClientSettings { http1_only: true, ..settings.clone() };
        Ok(Dialer { client: Client::build(&settings)?, max_message })
    }

    /// Opens one. In the clear only to this very machine.
    pub async fn dial(&self, url: &str, within: Duration) -> Result<Socket, NotDialled> {
        let url = http_url(url).ok_or(NotDialled::Address)?;
        let key = generate_key();
        let request = self
            .client
            .request(Method::GET, url.as_str())
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .timeout(within);
        let answer = self.client.send(request).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(NotDialled::Status(answer.status()));
        }
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let accepts = header(SEC_WEBSOCKET_ACCEPT) == derive_accept_key(key.as_bytes());
        if !accepts || !header(UPGRADE).eq_ignore_ascii_case("websocket") {
            return Err(NotDialled::Handshake);
        }
        let upgraded = timeout(within, answer.upgrade()).await;
        let stream = upgraded.ok().and_then(Result::ok).ok_or(NotDialled::Handshake)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(self.max_message))
            .max_frame_size(Some(self.max_message));
        Ok(Socket(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await))
    }
}

/// The address as the client takes it.
fn http_url(url: &str) -> Option<Url> {
    let parsed = Url::parse(url).ok()?;
    let host = parsed.host_str()?;
    let is_here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    let other = match parsed.scheme() {
        "wss" => "https",
        "ws" if is_here => "http",
        _ => return None,
    };
    // `set_scheme` does not change between these kinds; the rest of the text stays as it was sent.
    Url::parse(&format!("{other}{}", parsed.as_str().strip_prefix(parsed.scheme())?)).ok()
}

/// A web socket that is open, as far as is known.
#[derive(Debug)]
pub struct Socket(WebSocketStream<Upgraded>);

/// What the peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Text(Utf8Bytes),
    /// It lives: the answer to a ping.
    Pong,
    /// Bytes that are no text.
    Binary,
}

/// Why nothing will be heard, or said, any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    #[error("the peer closed it")]
    Closed,
    #[error("the connection broke")]
    Broken,
    #[error("a message was too large")]
    TooLarge,
    #[error("what came is no web socket's")]
    Protocol,
}

impl Over {
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Over::Closed => "closed",
            Over::Broken => "connection_broke",
            Over::TooLarge => "too_large",
            Over::Protocol => "bad_frame",
        }
    }

    fn of(error: &Error) -> Over {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Over::Closed,
            Error::Capacity(_) | Error::WriteBufferFull(_) => Over::TooLarge,
            Error::Protocol(_) | Error::Utf8(_) | Error::AttackAttempt => Over::Protocol,
            Error::Io(_) | Error::Tls(_) | Error::Url(_) | Error::Http(_) | Error::HttpFormat(_) => Over::Broken,
        }
    }
}

impl Socket {
    /// The next that the peer sends; its pings are answered on the way. Nothing is lost when this is dropped half-way.
    pub async fn hear(&mut self) -> Result<Heard, Over> {
        loop {
            match self.0.next().await {
                None => return Err(Over::Closed),
                Some(Err(error)) => return Err(Over::of(&error)),
                Some(Ok(Message::Text(text))) => return Ok(Heard::Text(text)),
                Some(Ok(Message::Binary(_))) => return Ok(Heard::Binary),
                Some(Ok(Message::Pong(_))) => return Ok(Heard::Pong),
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) => {
                    // Its farewell is answered, and what comes of that no longer matters.
                    let _ = timeout(CLOSE_WITHIN, self.0.flush()).await;
                    return Err(Over::Closed);
                }
            }
        }
    }

    pub async fn say(&mut self, text: String) -> Result<(), Over> {
        self.send(Message::text(text)).await
    }

    /// Asks for a sign of life: [`Heard::Pong`].
    pub async fn ping(&mut self) -> Result<(), Over> {
        self.send(Message::Ping(bytes::Bytes::from_static(b"nightshift"))).await
    }

    /// Says farewell. `too_large`: because of a message that was.
    pub async fn close(mut self, too_large: bool) {
        let code = if too_large { CloseCode::Size } else { CloseCode::Away };
        let farewell = CloseFrame { code, reason: Utf8Bytes::default() };
        let _ = timeout(CLOSE_WITHIN, self.0.close(Some(farewell))).await;
    }

    async fn send(&mut self, message: Message) -> Result<(), Over> {
        match timeout(WRITE_WITHIN, self.0.send(message)).await {
            Ok(sent) => sent.map_err(|error| Over::of(&error)),
            Err(_) => Err(Over::Broken),
        }
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
