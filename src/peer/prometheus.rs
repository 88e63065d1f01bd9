//! Asks Prometheus: is an alerting rule evaluated and healthy, and what does a query return?
//!
//! Only data is good news: a comparison that does not hold and a series that does not exist look alike.

use super::{fetch, url};
use crate::model::{
    observation::{QueryReading, RuleReading},
    time::Micros,
};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// A server that ignores `rule_name[]` sends all its rules with their alerts.
const RULES_LIMIT: usize = 32 << 20;
/// A verification query returns a few series.
const QUERY_ANSWER_LIMIT: usize = 4 << 20;

#[derive(Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    url: String,
}

/// Whether an expression is PromQL, as Prometheus itself sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    Well,
    Wrong {
        says: String,
    },
    /// It could not be asked.
    NotKnown {
        problem: String,
    },
}

#[derive(Deserialize)]
struct Answer<T> {
    status: String,
    data: Option<T>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    /// Partial answers of Thanos and its like.
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: String,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    health: String,
    #[serde(default)]
    last_error: String,
    #[serde(default)]
    last_evaluation: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Queried {
    result_type: String,
    result: Value,
}

/// Why there is no answer to read.
enum Failed {
    /// The question itself is wrong.
    BadData(String),
    Otherwise(String),
}

impl Failed {
    fn says(self) -> String {
        match self {
            Failed::BadData(says) | Failed::Otherwise(says) => says,
        }
    }
}

impl Prometheus {
    /// `url`: the base address, with a path prefix where there is one.
    #[must_use]
    pub fn new(http: reqwest::Client, url: &str) -> Prometheus {
        Prometheus { http, url: url.trim_end_matches('/').to_owned() }
    }

    /// The health of all alerting rules of these names, and the oldest of their last evaluations.
    pub async fn rules(&self, names: &[String], within: Duration) -> RuleReading {
        if names.is_empty() {
            return RuleReading::Unread { problem: "no alert has an alertname to ask Prometheus about".to_owned() };
        }
        let mut pairs = vec![("type", "alert")];
        pairs.extend(names.iter().map(|name| ("rule_name[]", name.as_str())));
        let mut query = url::query(&pairs);
        if query.len() > fetch::QUERY_LIMIT {
            query = "?type=alert".to_owned();
        }
        match self.get::<Groups>(&format!("/api/v1/rules{query}"), RULES_LIMIT, within).await {
            Ok(groups) => judge(&groups, names),
            Err(failed) => RuleReading::Unread { problem: failed.says() },
        }
    }

    /// An instant query.
    pub async fn query(&self, expression: &str, within: Duration) -> QueryReading {
        match self.ask(expression, within).await {
            Ok(queried) => read(&queried),
            Err(failed) => QueryReading::Unread { problem: failed.says() },
        }
    }

    /// Parses an expression by asking it once.
    pub async fn parse(&self, expression: &str, within: Duration) -> Parsed {
        match self.ask(expression, within).await {
            Ok(_) => Parsed::Well,
            Err(Failed::BadData(says)) => Parsed::Wrong { says },
            Err(Failed::Otherwise(problem)) => Parsed::NotKnown { problem },
        }
    }

    async fn ask(&self, expression: &str, within: Duration) -> Result<Queried, Failed> {
        let query = url::query(&[("query", expression)]);
        self.get(&format!("/api/v1/query{query}"), QUERY_ANSWER_LIMIT, within).await
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str, limit: usize, within: Duration) -> Result<T, Failed> {
        let otherwise = |problem: String| Failed::Otherwise(format!("Prometheus: {problem}"));
        let url = format!("{}{path}", self.url);
        let (status, body) = fetch::get(&self.http, &url, limit, within).await.map_err(otherwise)?;
        let answer: Answer<T> = serde_json::from_slice(&body).map_err(|error| match status {
            200 => otherwise(format!("its answer can't be read: {error}")),
            _ => otherwise(format!("it answered {status}: {}", fetch::beginning(&body))),
        })?;
        if answer.error_type == "bad_data" {
            return Err(Failed::BadData(format!("Prometheus: {}", answer.error)));
        }
        match answer.data {
            // Half of the truth is none.
            Some(_) if !answer.warnings.is_empty() => Err(otherwise(answer.warnings.join("; "))),
            Some(data) if answer.status == "success" => Ok(data),
            _ if answer.error.is_empty() => Err(otherwise(format!("it answered {status}"))),
            _ => Err(otherwise(answer.error)),
        }
    }
}

fn judge(groups: &Groups, names: &[String]) -> RuleReading {
    let mut oldest: Option<Micros> = None;
    let alerting = |rule: &&Rule| rule.r#type.is_empty() || rule.r#type == "alerting";
    for name in names {
        let rules = groups.groups.iter().flat_map(|group| &group.rules).filter(alerting);
        let mut found = false;
        for rule in rules.filter(|rule| rule.name == *name) {
            found = true;
            if rule.health != "ok" {
                let why = if rule.last_error.is_empty() { &rule.health } else { &rule.last_error };
                return RuleReading::Unhealthy { says: format!("alerting rule {name}: {why}") };
            }
            let Ok(at) = Micros::parse(&rule.last_evaluation) else {
                return RuleReading::Unhealthy { says: format!("alerting rule {name} was never evaluated") };
            };
            oldest = Some(oldest.map_or(at, |oldest| oldest.min(at)));
        }
        if !found {
            return RuleReading::Unhealthy { says: format!("Prometheus has no alerting rule {name}") };
        }
    }
    oldest.map_or(RuleReading::NotAsked, |at| RuleReading::Evaluated { at })
}

fn read(queried: &Queried) -> QueryReading {
    let value = |sample: &Value| sample.get(1).and_then(Value::as_str).unwrap_or("?").to_owned();
    match (queried.result_type.as_str(), &queried.result) {
        ("scalar" | "string", sample) => QueryReading::Data { says: value(sample) },
        (_, Value::Array(series)) => match series.first() {
            None => QueryReading::Empty,
            Some(first) => {
                let sample = first.get("value").map_or_else(|| "?".to_owned(), value);
                let rest = series.len() - 1;
                let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
                QueryReading::Data { says: format!("{sample}{more}") }
            }
        },
        _ => QueryReading::Unread { problem: "Prometheus: its answer has no result".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::stub::{Stub, http};
    use serde_json::json;

    const WITHIN: Duration = Duration::from_secs(5);

    /// A Prometheus with these rules; queries are answered by what stands in them.
    async fn prometheus(rules: Value) -> Prometheus {
        let data = json!({"status": "success", "data": {"groups": [{"name": "g", "rules": rules}]}}).to_string();
        let vector = |result: Value| {
            json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string()
        };
        let stub = Stub::start(move |asked| match (asked.path.as_str(), asked.query.as_str()) {
            ("/api/v1/rules", "type=alert&rule_name%5B%5D=Up") => (200, data.clone()),
            ("/api/v1/query", "query=up") => (200, vector(json!([{"metric": {}, "value": [1.0, "0.42"]}]))),
            ("/api/v1/query", "query=a%20%3C%200.8") => (200, vector(json!([]))),
            ("/api/v1/query", "query=1") => {
                let data = json!({"status": "success", "data": {"resultType": "scalar", "result": [1.0, "1"]}});
                (200, data.to_string())
            }
            ("/api/v1/query", "query=partial") => {
                let mut data: Value = serde_json::from_str(&vector(json!([{"value": [1.0, "1"]}]))).unwrap();
                data["warnings"] = json!(["one store is gone"]);
                (200, data.to_string())
            }
            ("/api/v1/query", "query=a%20%3C") => {
                let error = json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
                (400, error.to_string())
            }
            _ => (503, "starting".to_owned()),
        })
        .await;
        Prometheus::new(http(), &format!("{}/", stub.url))
    }

    fn rule(name: &str, health: &str, at: &str) -> Value {
        json!({"name": name, "type": "alerting", "health": health, "lastEvaluation": at, "query": "up == 0"})
    }

    #[tokio::test]
    async fn the_oldest_evaluation_of_all_rules_of_the_names_counts() {
        let (early, late) = ("2026-03-01T02:12:09.123456789Z", "2026-03-01T02:13:09Z");
        let names = ["Up".to_owned()];
        let peer = prometheus(json!([rule("Up", "ok", late), rule("Up", "ok", early), rule("Other", "err", early)]));
        let at = Micros::parse(early).unwrap();
        assert_eq!(peer.await.rules(&names, WITHIN).await, RuleReading::Evaluated { at });
        for rules in [
            json!([rule("Up", "ok", late), rule("Up", "err", late)]),
            json!([rule("Up", "unknown", late)]),
            json!([rule("Other", "ok", late)]),
            json!([]),
            json!([rule("Up", "ok", "")]),
        ] {
            let reading = prometheus(rules.clone()).await.rules(&names, WITHIN).await;
            assert!(matches!(reading, RuleReading::Unhealthy { .. }), "{rules}: {reading:?}");
        }
    }

    #[tokio::test]
    async fn only_data_is_data() {
        let peer = prometheus(json!([])).await;
        assert_eq!(peer.query("up", WITHIN).await, QueryReading::Data { says: "0.42".to_owned() });
        assert_eq!(peer.query("1", WITHIN).await, QueryReading::Data { says: "1".to_owned() });
        assert_eq!(peer.query("a < 0.8", WITHIN).await, QueryReading::Empty);
        for expression in ["partial", "busy", "a <"] {
            let reading = peer.query(expression, WITHIN).await;
            assert!(matches!(reading, QueryReading::Unread { .. }), "{expression}: {reading:?}");
        }
    }

    #[tokio::test]
    async fn an_expression_is_parsed_by_asking_it() {
        let peer = prometheus(json!([])).await;
        assert_eq!(peer.parse("a < 0.8", WITHIN).await, Parsed::Well);
        assert_eq!(peer.parse("a <", WITHIN).await, Parsed::Wrong { says: "Prometheus: parse error".to_owned() });
        assert!(matches!(peer.parse("busy", WITHIN).await, Parsed::NotKnown { .. }));
    }
}
