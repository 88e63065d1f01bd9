//! Reading `with` of the database actions: every wrong value is told, each in a sentence that names its key.

use crate::{
    action::postgres::NAMES_A_DATABASE,
    model::{target::Object, time::Span},
    peer::postgres::sessions::Filter,
};
use serde_json::Value;
use std::net::IpAddr;

/// A plan lists each of them, and the journal holds plans.
pub const MOST_AT_ONCE: u32 = 200;
pub const DEFAULT_MAX: u32 = 50;
/// Between any two statements of a client its session is idle for a moment.
const SHORTEST: Span = Span::seconds(1);
const LONGEST: Span = Span::hours(31 * 24);
/// Entries of a list of names.
const MOST_NAMES: usize = 50;
/// PostgreSQL cuts names, an application's too, to this.
const LONGEST_NAME_BYTES: usize = 63;
/// The largest number that stands for sessions to keep: no server has more.
const MOST_KEPT: u32 = 100_000;

/// The keys by which both actions choose sessions.
pub const FILTERS: [&str; 4] = ["database", "user", "application", "client"];

/// Reads one action's `with`, collecting problems.
pub struct With<'a> {
    with: &'a Value,
    pub problems: Vec<String>,
}

impl<'a> With<'a> {
    /// `known`: the action's own keys, besides [`FILTERS`].
    pub fn new(action: &str, with: &'a Value, known: &[&str]) -> With<'a> {
        let mut problems = Vec::new();
        match with {
            Value::Null => {}
            Value::Object(map) => {
                let known: Vec<&str> = known.iter().chain(&FILTERS).copied().collect();
                for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
                    problems.push(format!("{action} knows no `{key}` in `with`: it knows {}", known.join(", ")));
                }
            }
            _ => problems.push(format!("`with` of {action} is not a mapping")),
        }
        With { with, problems }
    }

    /// Only a database has sessions.
    pub fn target(&mut self, action: &str, target: &Object) {
        if !matches!(target, Object::Database { .. }) {
            self.problems.push(format!("{action} {NAMES_A_DATABASE}"));
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.with.get(key).filter(|value| !value.is_null())
    }

    /// Microseconds.
    pub fn span(&mut self, key: &str) -> Option<i64> {
        let value = self.get(key)?;
        let Some(text) = value.as_str() else {
            self.problems.push(format!("`{key}: {value}` is not a duration: write a number and a unit, like `10m`"));
            return None;
        };
        match Span::parse(text) {
            Ok(span) if span < SHORTEST => {
                self.problems.push(format!("`{key}: {text}` is shorter than {SHORTEST}: it would end what is in use"));
                None
            }
            Ok(span) if span > LONGEST => {
                self.problems.push(format!("`{key}: {text}` is longer than {LONGEST}"));
                None
            }
            Ok(span) => Some(span.0),
            Err(_) => {
                self.problems.push(format!("`{key}: {text}` is not a duration: write a number and a unit, like `10m`"));
                None
            }
        }
    }

    pub fn max(&mut self) -> u32 {
        let Some(value) = self.get("max") else { return DEFAULT_MAX };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (1..=MOST_AT_ONCE).contains(number)) {
            Some(number) => number,
            None => {
                self.problems.push(format!("`max: {value}` is not a number from 1 to {MOST_AT_ONCE}"));
                DEFAULT_MAX
            }
        }
    }

    pub fn keep(&mut self) -> u32 {
        let Some(value) = self.get("keep") else { return 0 };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| *number <= MOST_KEPT) {
            Some(number) => number,
            None => {
                self.problems.push(format!("`keep: {value}` is not a number of sessions from 0 to {MOST_KEPT}"));
                0
            }
        }
    }

    pub fn flag(&mut self, key: &str) -> bool {
        let Some(value) = self.get(key) else { return false };
        value.as_bool().unwrap_or_else(|| {
            self.problems.push(format!("`{key}: {value}` is neither true nor false"));
            false
        })
    }

    /// A name, or a list of them.
    pub fn names(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.get(key)?;
        let listed = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        if listed.is_empty() {
            self.problems.push(format!("`{key}` is an empty list: remove it, or name something"));
        }
        if listed.len() > MOST_NAMES {
            self.problems.push(format!("`{key}` has {} names, more than {MOST_NAMES}", listed.len()));
        }
        let mut names = Vec::new();
        for item in listed.iter().take(MOST_NAMES) {
            match item.as_str() {
                Some(name) if name.is_empty() || name.chars().any(char::is_control) => {
                    self.problems.push(format!("`{key}: {item}` is not a name"));
                }
                Some(name) if name.len() > LONGEST_NAME_BYTES => {
                    let what = format!("`{key}` has a name of {} bytes, and no name has more than", name.len());
                    self.problems.push(format!("{what} {LONGEST_NAME_BYTES}"));
                }
                Some(name) => names.push(name.to_owned()),
                None => self.problems.push(format!("`{key}: {item}` is not a name: write a text or a list of texts")),
            }
        }
        Some(names)
    }

    pub fn filter(&mut self) -> Filter {
        let clients = self.names("client");
        for client in clients.iter().flatten().filter(|client| !is_client(client)) {
            self.problems.push(format!(
                "`client: {client}` is neither an address (10.1.2.3), a network (10.1.0.0/16), nor `local`"
            ));
        }
        Filter {
            databases: self.names("database"),
            users: self.names("user"),
            applications: self.names("application"),
            clients,
            never_users: Vec::new(),
            never_applications: Vec::new(),
        }
    }
}

fn is_client(text: &str) -> bool {
    if text == "local" {
        return true;
    }
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, bits.parse::<u8>().ok()),
        None => (text, Some(0)),
    };
    let longest = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.is_some_and(|bits| bits <= longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(with: &Value, read: impl FnOnce(&mut With<'_>)) -> Vec<String> {
        let mut with = With::new("postgres/kill_idle", with, &["idle_for", "max", "keep", "allow", "terminate"]);
        read(&mut with);
        with.problems
    }

    #[test]
    fn every_wrong_value_has_its_own_sentence() {
        let one = |with: Value, read: fn(&mut With<'_>), says: &str| {
            let told = told(&with, read);
            assert_eq!(told, [says], "{with}");
        };
        let span: fn(&mut With<'_>) = |with| _ = with.span("idle_for");
        let not_a_duration =
            |value: &str| format!("`idle_for: {value}` is not a duration: write a number and a unit, like `10m`");
        one(json!({"idle_for": 10}), span, &not_a_duration("10"));
        one(json!({"idle_for": "soon"}), span, &not_a_duration("soon"));
        one(json!({"idle_for": "10ms"}), span, "`idle_for: 10ms` is shorter than 1s: it would end what is in use");
        one(json!({"idle_for": "5w"}), span, "`idle_for: 5w` is longer than 31d");
        let max: fn(&mut With<'_>) = |with| _ = with.max();
        for wrong in [json!(0), json!(201), json!(-1), json!("many"), json!(1.5)] {
            one(json!({"max": wrong}), max, &format!("`max: {wrong}` is not a number from 1 to 200"));
        }
        one(json!({"keep": -1}), |with| _ = with.keep(), "`keep: -1` is not a number of sessions from 0 to 100000");
        one(
            json!({"terminate": "yes"}),
            |with| _ = with.flag("terminate"),
            "`terminate: \"yes\"` is neither true nor false",
        );
        let filter: fn(&mut With<'_>) = |with| _ = with.filter();
        one(json!({"user": []}), filter, "`user` is an empty list: remove it, or name something");
        one(json!({"user": [7]}), filter, "`user: 7` is not a name: write a text or a list of texts");
        one(json!({"user": ""}), filter, "`user: \"\"` is not a name");
        one(
            json!({"database": "d".repeat(64)}),
            filter,
            "`database` has a name of 64 bytes, and no name has more than 63",
        );
        one(json!({"user": vec!["u"; 51]}), filter, "`user` has 51 names, more than 50");
        for wrong in ["web", "10.1", "10.0.0.0/33", "10.0.0.0/", "::1/129"] {
            let says =
                format!("`client: {wrong}` is neither an address (10.1.2.3), a network (10.1.0.0/16), nor `local`");
            one(json!({"client": wrong}), filter, &says);
        }
        let told = told(&json!({"idle": "5m"}), |_| {});
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("postgres/kill_idle knows no `idle` in `with`: it knows idle_for, "), "{told:?}");
        assert_eq!(With::new("a", &json!(7), &[]).problems, ["`with` of a is not a mapping"]);
    }

    #[test]
    fn what_is_right_is_taken() {
        let with =
            json!({"user": "app", "database": ["one", "two"], "client": ["10.0.0.0/8", "::1", "local"], "max": 7});
        let mut with = With::new("a", &with, &["max"]);
        let filter = with.filter();
        assert_eq!((with.max(), with.keep(), with.span("idle_for")), (7, 0, None));
        assert!(with.problems.is_empty(), "{:?}", with.problems);
        assert_eq!(filter.users.unwrap(), ["app"]);
        assert_eq!(filter.databases.unwrap(), ["one", "two"]);
        assert_eq!(filter.clients.unwrap().len(), 3);
    }
}
