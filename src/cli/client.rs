//! Talks to the running daemon: its API, with the caller's token or, on loopback, the caller's name.

use super::output::Told;
use crate::{
    http::{
        api::answer::ErrorBody,
        api_auth::{MAX_NAME, USER_HEADER},
        client::{Client, ClientErrorKind, ClientSettings, MAX_ANSWER},
        secret::read_secret,
    },
    telemetry::text::plain,
};
use clap::Args;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::PathBuf;

/// Where the daemon is, and who asks.
#[derive(Debug, Clone, Args)]
pub struct Daemon {
    /// The daemon's admin listener
    #[arg(long, env = "NIGHTSHIFT_URL", default_value = "http://127.0.0.1:9394", hide_env_values = true)]
    url: String,
    /// A file that holds an API token
    #[arg(long, value_name = "FILE", env = "NIGHTSHIFT_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
    /// Authorities to trust besides the system's, in PEM
    #[arg(long, value_name = "FILE", env = "NIGHTSHIFT_CA_FILE", hide_env_values = true)]
    ca_file: Option<PathBuf>,
    /// Your name in the journal, where the API has no tokens
    #[arg(long, env = "USER", hide_env = true, hide = true)]
    user: Option<String>,
}

/// A connection to the daemon.
pub struct Connection {
    client: Client,
    base: String,
    token: Option<SecretString>,
    user: Option<String>,
}

impl Daemon {
    pub fn connect(&self) -> Result<Connection, Told> {
        let settings = ClientSettings { ca_file: self.ca_file.clone(), ..ClientSettings::default() };
        let client = Client::build(&settings).map_err(|error| Told::new(error.to_string()))?;
        let token = match &self.token_file {
            Some(path) => Some(read_secret(path).map_err(|error| Told::new(error.to_string()))?),
            None => None,
        };
        let is_sendable = |name: &String| {
            (1..=MAX_NAME).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte))
        };
        // With a token its name counts, and nobody needs another.
        let user = self.user.clone().filter(|name| token.is_none() && is_sendable(name));
        Ok(Connection { client, base: self.url.trim_end_matches('/').to_owned(), token, user })
    }
}

impl Connection {
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Told> {
        self.exchange(Method::GET, path, None).await
    }

    /// `body`: None where the route takes none.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, Told> {
        let body = match body {
            Some(body) => Some(serde_json::to_value(body).map_err(|error| Told::new(error.to_string()))?),
            None => None,
        };
        self.exchange(Method::POST, path, body).await
    }

    async fn exchange<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Value>) -> Result<T, Told> {
        let is_write = method == Method::POST;
        let mut request = self.client.request(method, &format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(user) = &self.user {
            request = request.header(USER_HEADER, user);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = self.client.exchange(request, MAX_ANSWER).await.map_err(|error| {
            let told = Told::new(format!("asking the daemon at {}: {error}", plain(&self.base)));
            match error.kind {
                ClientErrorKind::Connect | ClientErrorKind::Timeout { sent: false } => {
                    told.hint("is the daemon running? `nightshift serve` starts it; --url says where it is")
                }
                ClientErrorKind::Timeout { sent: true } | ClientErrorKind::Body if is_write => {
                    told.hint("it may have been done: look with `nightshift status` before you repeat it")
                }
                _ => told,
            }
        })?;
        if !answer.status.is_success() {
            return Err(refused(answer.status.as_u16(), &answer.body));
        }
        serde_json::from_slice(&answer.body).map_err(|_| {
            Told::new(format!("{} does not answer like a nightshift", plain(&self.base)))
                .hint("does --url name the admin listener?")
        })
    }
}

fn refused(status: u16, body: &[u8]) -> Told {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => {
            let told = Told { problems: body.problems, ..Told::new(plain(&body.error)) };
            match body.hint {
                Some(hint) => told.hint(plain(&hint)),
                None => told,
            }
        }
        Err(_) => Told::new(format!("the daemon answered {status}")).hint("does --url name the admin listener?"),
    }
}
