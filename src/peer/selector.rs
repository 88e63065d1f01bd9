//! A label selector as Kubernetes objects write it, and as a query writes it.

use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

impl Selector {
    /// As a query writes it. An operator that is not known, or no selector at all, selects nothing.
    pub fn words(&self) -> Result<String, String> {
        let labels = self.match_labels.iter().map(|(key, value)| Ok(format!("{key}={value}")));
        let expressions = self.match_expressions.iter().map(|one| match one.operator.as_str() {
            "In" => Ok(format!("{} in ({})", one.key, one.values.join(","))),
            "NotIn" => Ok(format!("{} notin ({})", one.key, one.values.join(","))),
            "Exists" => Ok(one.key.clone()),
            "DoesNotExist" => Ok(format!("!{}", one.key)),
            other => Err(format!("its selector has an operator `{other}` that is not known")),
        });
        let words = labels.chain(expressions).collect::<Result<Vec<_>, String>>()?.join(",");
        if words.is_empty() { Err("its selector is empty".to_owned()) } else { Ok(words) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_is_written_as_a_query_and_an_empty_one_selects_nothing() {
        let words = |selector| serde_json::from_value::<Selector>(selector).unwrap().words();
        let full = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "NotIn", "values": ["c"]},
            {"key": "y", "operator": "Exists"}, {"key": "z", "operator": "DoesNotExist"}]});
        assert_eq!(words(full).unwrap(), "app=web,tier in (a,b),x notin (c),y,!z");
        assert!(words(json!({})).is_err());
        assert!(words(json!({"matchExpressions": [{"key": "a", "operator": "Like"}]})).is_err());
    }
}
