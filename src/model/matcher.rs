//! Alertmanager's matchers (an interim shape; the full syntax follows).

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    pub name: String,
    pub value: String,
}

impl Matcher {
    /// `name = "value"`.
    pub fn parse(text: &str) -> Result<Matcher, String> {
        let (name, value) = text.split_once('=').ok_or("no `=`")?;
        Ok(Matcher { name: name.trim().to_owned(), value: value.trim().trim_matches('"').to_owned() })
    }

    #[must_use]
    pub fn matches(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        labels.get(&self.name).map_or("", String::as_str) == self.value
    }

    #[must_use]
    pub fn equality(&self) -> Option<(&str, &str)> {
        (!self.value.is_empty()).then_some((self.name.as_str(), self.value.as_str()))
    }
}
