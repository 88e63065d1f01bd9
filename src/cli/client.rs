//! Talks to the running daemon: its API, with the caller's token or, on loopback, the caller's name.

use super::{ConfigArgs, output::Told};
use crate::{
    config::{Settings, process_variables},
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
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

const USUAL_URL: &str = "http://127.0.0.1:9394";

/// Where the daemon is, and who asks.
#[derive(Debug, Clone, Args)]
pub struct Daemon {
    /// The daemon's admin listener [default: listen.admin of the settings, else http://127.0.0.1:9394]
    #[arg(long, env = "NIGHTSHIFT_URL", hide_env_values = true)]
    url: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// A file that holds an API token
    #[arg(long, value_name = "FILE", env = "NIGHTSHIFT_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
    /// Authorities to trust besides the system's, in PEM
    #[arg(long, value_name = "FILE", env = "NIGHTSHIFT_CA_FILE", hide_env_values = true)]
    ca_file: Option<PathBuf>,
    /// Your name, where the API has no tokens: others read who has an incident, and who approved [default: $USER]
    #[arg(long = "as", alias = "user", value_name = "NAME", env = "USER", hide_env = true)]
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
        Ok(Connection { client, base: self.base(), token, user })
    }

    fn base(&self) -> String {
        if let Some(url) = &self.url {
            return url.trim_end_matches('/').to_owned();
        }
        let listens = Settings::admin_listener(self.config.config.as_deref(), process_variables());
        listens.and_then(|(address, tls)| url_of(address, tls)).unwrap_or_else(|| USUAL_URL.to_owned())
    }
}

/// Where a listener is reached from its own machine. None: its port is known to the running daemon alone.
fn url_of(address: SocketAddr, tls: bool) -> Option<String> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let scheme = if tls { "https" } else { "http" };
    (address.port() != 0).then(|| format!("{scheme}://{}", SocketAddr::new(ip, address.port())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        let url = |address: &str, tls| url_of(address.parse().unwrap(), tls);
        assert_eq!(url("0.0.0.0:7000", false).as_deref(), Some("http://127.0.0.1:7000"));
        assert_eq!(url("[::]:7000", true).as_deref(), Some("https://[::1]:7000"));
        assert_eq!(url("10.0.0.7:9394", false).as_deref(), Some("http://10.0.0.7:9394"));
        assert_eq!(url("127.0.0.1:0", false), None);
    }
}
