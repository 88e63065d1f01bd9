//! A smoke test: one address of a colour, asked a few times, until it answers with the status that is expected.
//!
//! It goes to hosts of `smoke_hosts` only, follows no redirect, sends no credentials and keeps nothing of the answer.

use super::colours::COLOR;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// All attempts together: the target is read in ten seconds, and the rest of it wants some of them.
const LONGEST: Duration = Duration::from_secs(7);
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 2;
const LATE: &str = "it did not answer in time";
/// A page that is well is small.
const BODY_LIMIT: usize = 256 << 10;

/// One test, as a plan keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smoke {
    /// `{color}` stands for the colour.
    url: String,
    expect_status: u16,
    timeout_milliseconds: u64,
    attempts: u32,
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Smoked {
    Green,
    /// Something answered, and not as it should.
    Red(String),
    /// Nobody answered: the colour, or the way there.
    Silent(String),
    /// It may not go there.
    NotAllowed(String),
    /// There was no time, or nobody to make it.
    NotRun(String),
}

/// What is wrong with one answer, or that there was none.
enum Wrong {
    Answer(String),
    Silence(&'static str),
}

/// Who makes the tests: where they may go, and by what client.
#[derive(Debug, Clone)]
pub struct Smoker {
    /// None: the settings are not known.
    hosts: Option<Vec<String>>,
    client: Option<Client>,
}

impl Smoke {
    /// `with: {smoke: {url, expect_status, timeout, attempts}}`.
    pub fn of_with(with: &Value) -> Result<Option<Smoke>, String> {
        let Some(written) = with.get("smoke") else { return Ok(None) };
        let Some(map) = written.as_object() else {
            return Err(format!("`smoke` is a mapping like {{url: https://host/healthz}}, not {written}"));
        };
        let known = ["url", "expect_status", "timeout", "attempts"];
        if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("`smoke` knows no {key}: it knows {}", known.join(", ")));
        }
        let url = map.get("url").and_then(Value::as_str).ok_or("`smoke` needs a url")?.to_owned();
        let expect_status = match map.get("expect_status") {
            None => 200,
            Some(given) => match given.as_u64().and_then(|status| u16::try_from(status).ok()) {
                Some(status) if (200..=599).contains(&status) => status,
                _ => return Err(format!("`smoke` expects a status from 200 to 599, not {given}")),
            },
        };
        let timeout = match map.get("timeout") {
            None => TIMEOUT,
            Some(given) => match given.as_str().map(crate::model::time::Span::parse) {
                Some(Ok(span)) if span.to_std() > Duration::ZERO => span.to_std(),
                _ => return Err(format!("`smoke` has a timeout like `2s`, not {given}")),
            },
        };
        let attempts = match map.get("attempts") {
            None => ATTEMPTS,
            Some(given) => match given.as_u64().and_then(|attempts| u32::try_from(attempts).ok()) {
                Some(attempts) if attempts > 0 => attempts,
                _ => return Err(format!("`smoke` makes at least one of its attempts, not {given}")),
            },
        };
        let timeout_milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let smoke = Smoke { url, expect_status, timeout_milliseconds, attempts };
        let (longest, most) = (smoke.longest(), LONGEST);
        if longest > most {
            let (longest, most) = (longest.as_secs(), most.as_secs());
            return Err(format!("`smoke` may take {longest}s with all its attempts and pauses: at most {most}s"));
        }
        Ok(Some(smoke))
    }

    /// Its address is another one for each colour.
    pub fn asks_each_colour(&self) -> bool {
        self.url.contains(COLOR)
    }

    /// All attempts and the pauses between them.
    pub fn longest(&self) -> Duration {
        let one = Duration::from_millis(self.timeout_milliseconds);
        one.saturating_mul(self.attempts).saturating_add(PAUSE.saturating_mul(self.attempts.saturating_sub(1)))
    }
}

impl Smoker {
    /// By a client that follows no redirect, as all clients of `http` are: a redirect would leave the listed hosts.
    #[must_use]
    pub fn connected(hosts: &[String], client: Client) -> Smoker {
        Smoker { hosts: Some(hosts.to_vec()), client: Some(client) }
    }

    /// Enough to check rules.
    #[must_use]
    pub fn unconnected(hosts: &[String]) -> Smoker {
        Smoker { hosts: Some(hosts.to_vec()), client: None }
    }

    /// Where it may go is not known: nothing is refused, and nothing is tested.
    #[must_use]
    pub fn unknown() -> Smoker {
        Smoker { hosts: None, client: None }
    }

    /// Why a test of this colour would not be made.
    pub fn refuses(&self, smoke: &Smoke, color: &str) -> Option<String> {
        self.address(smoke, color).err()
    }

    fn address(&self, smoke: &Smoke, color: &str) -> Result<Url, String> {
        let wrong = || "`smoke` has a url that is no http or https address".to_owned();
        let url = Url::parse(&smoke.url.replace(COLOR, color)).map_err(|_| wrong())?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).ok_or_else(wrong)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("`smoke` has a url with a user name or password: the journal would show it".to_owned());
        }
        match &self.hosts {
            Some(hosts) if !hosts.iter().any(|listed| listed.eq_ignore_ascii_case(host)) => {
                Err(format!("`smoke` goes to {host}, which is not among smoke_hosts in nightshift.yaml"))
            }
            _ => Ok(url),
        }
    }

    /// Asks until it is green or the attempts are used up.
    pub async fn test(&self, smoke: &Smoke, color: &str, until: Instant) -> Smoked {
        let url = match self.address(smoke, color) {
            Ok(url) => url,
            Err(why) => return Smoked::NotAllowed(why),
        };
        let (Some(client), Some(_)) = (&self.client, &self.hosts) else {
            return Smoked::NotRun("the smoke test has no client to go by".to_owned());
        };
        if Instant::now() + smoke.longest() > until {
            return Smoked::NotRun("there was no time left for the smoke test".to_owned());
        }
        let (mut answered, mut silent) = (None, "it was not asked");
        for attempt in 0..smoke.attempts {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match once(client, &url, smoke).await {
                Ok(()) => return Smoked::Green,
                Err(Wrong::Answer(why)) => answered = Some(why),
                Err(Wrong::Silence(why)) => silent = why,
            }
        }
        match answered {
            Some(why) => Smoked::Red(format!("the smoke test of {color} is red: {why}")),
            None => Smoked::Silent(format!("the smoke test of {color} had no answer: {silent}")),
        }
    }
}

async fn once(client: &Client, url: &Url, smoke: &Smoke) -> Result<(), Wrong> {
    let timeout = Duration::from_millis(smoke.timeout_milliseconds);
    let exchange = async {
        let mut answer = client.get(url.clone()).timeout(timeout).send().await.map_err(|error| silence(&error))?;
        let mut bytes = 0_usize;
        while let Some(chunk) = answer.chunk().await.map_err(|error| silence(&error))? {
            bytes = bytes.saturating_add(chunk.len());
            if bytes > BODY_LIMIT {
                return Err(Wrong::Answer(format!("its answer is larger than {} KiB", BODY_LIMIT >> 10)));
            }
        }
        Ok(answer.status().as_u16())
    };
    // The client's own time-out covers the body too; this one is for what it forgets.
    let status = tokio::time::timeout(timeout, exchange).await.map_err(|_| Wrong::Silence(LATE))??;
    match status {
        _ if status == smoke.expect_status => Ok(()),
        300..=399 => Err(Wrong::Answer(format!("it answered {status}, and redirects are not followed"))),
        _ => Err(Wrong::Answer(format!("it answered {status}, not {}", smoke.expect_status))),
    }
}

/// Without the address, which may hold more than is to be shown.
fn silence(error: &reqwest::Error) -> Wrong {
    Wrong::Silence(match error {
        _ if error.is_timeout() => LATE,
        _ if error.is_connect() => "it could not be reached",
        _ => "its answer broke off",
    })
}
