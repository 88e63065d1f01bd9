//! Asks Alertmanager whether alerts still fire. *Absent is not resolved*: its API drops resolved alerts, and is empty
//! after a restart.
//!
//! All peers are asked at once. One that lists an alert active is enough, and one that suppresses it is enough
//! against; a peer that does not answer says nothing. When none answers the alerts' state is unknown.

use super::{fetch, url};
use crate::{
    decide::work::AskedAlert,
    model::{
        firing::{Firing, FiringAnswer},
        id::Fingerprint,
        time::Micros,
    },
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::task::JoinSet;

/// Some 30,000 alerts; beyond, a filter by alertname is needed and the peer counts as unreachable.
const ANSWER_LIMIT: usize = 32 << 20;

/// The peers of `alertmanager.urls`.
#[derive(Clone)]
pub struct Alertmanagers {
    http: reqwest::Client,
    urls: Vec<String>,
}

/// What one peer says of one alert.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Listed {
    fingerprint: Fingerprint,
    #[serde(rename = "startsAt")]
    starts_at: String,
    status: Status,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    state: String,
    #[serde(default)]
    silenced_by: Vec<String>,
    #[serde(default)]
    inhibited_by: Vec<String>,
    #[serde(default)]
    muted_by: Vec<String>,
}

impl Alertmanagers {
    /// `urls`: base addresses, with a path prefix where there is one.
    #[must_use]
    pub fn new(http: reqwest::Client, urls: &[String]) -> Alertmanagers {
        Alertmanagers { http, urls: urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect() }
    }

    /// `now`: when the asking begins; what is answered is no older.
    pub async fn ask(&self, alerts: &[AskedAlert], now: Micros, within: Duration) -> FiringAnswer {
        if self.urls.is_empty() {
            return FiringAnswer::NotAsked;
        }
        let query = filter(alerts);
        let mut asked = JoinSet::new();
        for base in &self.urls {
            let (http, url) = (self.http.clone(), format!("{base}/api/v2/alerts{query}"));
            asked.spawn(async move { ask_one(&http, &url, within).await });
        }
        let mut answers = Vec::new();
        let mut problems = BTreeSet::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(listed)) => answers.push(listed),
                Ok(Err(problem)) => drop(problems.insert(problem)),
                Err(_) => drop(problems.insert("the question broke off".to_owned())),
            }
        }
        if answers.is_empty() {
            let problems = problems.into_iter().collect::<Vec<_>>().join("; ");
            return FiringAnswer::Unreachable { problem: format!("no Alertmanager could be asked: {problems}") };
        }
        let listed = by_fingerprint(&answers);
        let alerts = alerts
            .iter()
            .map(|alert| (alert.fingerprint.clone(), merge(alert.starts_at, listed.get(&alert.fingerprint))))
            .collect::<BTreeMap<Fingerprint, Firing>>();
        FiringAnswer::Answered { at: now, alerts }
    }
}

async fn ask_one(http: &reqwest::Client, url: &str, within: Duration) -> Result<Vec<Listed>, String> {
    let (status, body) = fetch::get(http, url, ANSWER_LIMIT, within).await?;
    if status != 200 {
        return Err(format!("it answered {status}: {}", fetch::beginning(&body)));
    }
    serde_json::from_slice(&body).map_err(|error| format!("its answer can't be read: {error}"))
}

/// `?filter=…` that lets at least all of `alerts` through, or nothing where no filter would.
fn filter(alerts: &[AskedAlert]) -> String {
    let names: Option<BTreeSet<&str>> =
        alerts.iter().map(|alert| alert.labels.get("alertname").map(String::as_str)).collect();
    let names = names.unwrap_or_default();
    let matcher = match (names.first(), names.len()) {
        (None, _) => return String::new(),
        (Some(name), 1) => format!("alertname={}", quote(name)),
        _ => {
            let any = names.iter().map(|name| regex::escape(name)).collect::<Vec<_>>().join("|");
            format!("alertname=~{}", quote(&any))
        }
    };
    let query = url::query(&[("filter", &matcher)]);
    if query.len() > fetch::QUERY_LIMIT { String::new() } else { query }
}

/// A matcher's value, by the escapes that both of Alertmanager's parsers know.
fn quote(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn by_fingerprint(answers: &[Vec<Listed>]) -> BTreeMap<&Fingerprint, Vec<&Listed>> {
    let mut listed: BTreeMap<&Fingerprint, Vec<&Listed>> = BTreeMap::new();
    for one in answers.iter().flatten() {
        listed.entry(&one.fingerprint).or_default().push(one);
    }
    listed
}

/// `asked`: the start of the firing that is asked about. Peers may hold different ones; it is preferred, else the latest.
fn merge(asked: Micros, listed: Option<&Vec<&Listed>>) -> Firing {
    let listed = listed.map(Vec::as_slice).unwrap_or_default();
    let state = |state: &'static str| listed.iter().filter(move |one| one.status.state == state);
    if state("suppressed").next().is_some() {
        let by: BTreeSet<&String> = state("suppressed")
            .flat_map(|one| [&one.status.silenced_by, &one.status.inhibited_by, &one.status.muted_by])
            .flatten()
            .collect();
        return Firing::Suppressed { by: by.into_iter().cloned().collect() };
    }
    let starts: Vec<Micros> = state("active").filter_map(|one| Micros::parse(&one.starts_at).ok()).collect();
    let same = starts.iter().find(|at| at.millis() == asked.millis());
    match same.or_else(|| starts.iter().max()) {
        Some(&starts_at) => Firing::Active { starts_at },
        None if listed.is_empty() => Firing::Absent,
        // Unprocessed, a state that we don't know, or a start that we can't read: not known.
        None => Firing::Unprocessed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alert::Source;
    use crate::peer::stub::{Stub, http, nobody};
    use serde_json::{Value, json};

    const WITHIN: Duration = Duration::from_secs(5);
    const START: &str = "2026-03-01T02:12:09.123Z";

    fn asked(name: &str) -> AskedAlert {
        AskedAlert {
            fingerprint: Fingerprint::new("6cd90da8e8f10998"),
            source: Source::Alertmanager,
            starts_at: Micros::parse("2026-03-01T02:12:09.123456Z").unwrap(),
            labels: [("alertname".to_owned(), name.to_owned())].into(),
        }
    }

    fn listed(state: &str, starts_at: &str, silenced_by: &[&str]) -> Value {
        json!({"fingerprint": "6cd90da8e8f10998", "startsAt": starts_at, "endsAt": "2026-03-01T02:16:09.123Z",
               "status": {"state": state, "silencedBy": silenced_by, "inhibitedBy": []}, "labels": {"a": "b"}})
    }

    /// A peer that lists this.
    async fn peer(body: Value) -> Stub {
        Stub::start(move |asked| match asked.path.as_str() {
            "/am/api/v2/alerts" => (200, body.to_string()),
            _ => (404, String::new()),
        })
        .await
    }

    fn url(stub: &Stub) -> String {
        format!("{}/am/", stub.url)
    }

    async fn firing(urls: &[String]) -> Firing {
        let answer = Alertmanagers::new(http(), urls).ask(&[asked("Up")], Micros(7), WITHIN).await;
        let FiringAnswer::Answered { at, alerts } = answer else { panic!("{answer:?}") };
        assert_eq!(at, Micros(7));
        alerts.into_values().next().unwrap()
    }

    #[tokio::test]
    async fn the_peers_words_are_merged() {
        let active = url(&peer(json!([listed("active", START, &[])])).await);
        let older = url(&peer(json!([listed("active", "2026-03-01T01:00:00.000Z", &[])])).await);
        let silenced = url(&peer(json!([listed("suppressed", START, &["s1"])])).await);
        let unprocessed = url(&peer(json!([listed("unprocessed", START, &[])])).await);
        let empty = url(&peer(json!([])).await);
        let gone = nobody().await;
        let starts_at = Micros::parse(START).unwrap();
        let active_now = Firing::Active { starts_at };
        assert_eq!(firing(&[active.clone(), empty.clone()]).await, active_now);
        assert_eq!(firing(&[older, active.clone(), gone]).await, active_now);
        assert_eq!(firing(&[active.clone(), silenced]).await, Firing::Suppressed { by: vec!["s1".to_owned()] });
        assert_eq!(firing(&[active, unprocessed.clone()]).await, active_now);
        assert_eq!(firing(&[unprocessed, empty.clone()]).await, Firing::Unprocessed);
        assert_eq!(firing(&[empty]).await, Firing::Absent);
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_known() {
        assert_eq!(
            Alertmanagers::new(http(), &[]).ask(&[asked("Up")], Micros(7), WITHIN).await,
            FiringAnswer::NotAsked
        );
        let broken = url(&peer(json!({"not": "a list"})).await);
        let answer = Alertmanagers::new(http(), &[nobody().await, broken]).ask(&[asked("Up")], Micros(7), WITHIN).await;
        let FiringAnswer::Unreachable { problem } = answer else { panic!("{answer:?}") };
        assert!(problem.contains("can't be read") && !problem.contains("127.0.0.1"), "{problem}");
    }

    #[tokio::test]
    async fn an_alerts_name_filters_and_can_say_nothing_else() {
        let stub = peer(json!([])).await;
        let peers = Alertmanagers::new(http(), &[url(&stub)]);
        peers.ask(&[asked("a\"b\\c&x=1")], Micros(7), WITHIN).await;
        peers.ask(&[asked("Up"), asked("Do.wn")], Micros(7), WITHIN).await;
        let nameless = AskedAlert { labels: BTreeMap::new(), ..asked("") };
        peers.ask(&[asked("Up"), nameless], Micros(7), WITHIN).await;
        assert_eq!(
            stub.asked().iter().map(|asked| asked.query.clone()).collect::<Vec<_>>(),
            ["filter=alertname%3D%22a%5C%22b%5C%5Cc%26x%3D1%22", "filter=alertname%3D~%22Do%5C%5C.wn%7CUp%22", ""]
        );
    }
}
