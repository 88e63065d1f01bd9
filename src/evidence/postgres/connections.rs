//! `postgres/connections`: the target's sessions by state, user and application, the oldest of each, and what is left.

use crate::{
    evidence::{Boxed, Collected, Collector},
    model::target::Object,
    peer::postgres::{Databases, crowd::Group, sessions},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

const NAME: &str = "postgres/connections";

pub struct Connections {
    databases: Databases,
}

impl Connections {
    #[must_use]
    pub fn new(databases: Databases) -> Connections {
        Connections { databases }
    }
}

impl Collector for Connections {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, with: &Value, target: &Object) -> Vec<String> {
        let mut problems = Vec::new();
        if !matches!(target, Object::Database { .. }) {
            problems.push(format!("{NAME} needs a target with `postgres`"));
        }
        if !with.is_null() && with.as_object().is_none_or(|map| !map.is_empty()) {
            problems.push(format!("{NAME} takes no `with`"));
        }
        problems
    }

    fn collect<'a>(
        &'a self,
        target: &'a Object,
        _: &'a Value,
        within: Duration,
    ) -> Boxed<'a, Result<Collected, String>> {
        Box::pin(async move {
            let Object::Database { name } = target else { return Err("the target is not a database".to_owned()) };
            let mut line = self.databases.get(name)?.line(Instant::now() + within).await?;
            let note = line.must_see().err().map(|problem| problem.says);
            let connections = line.connections().await?;
            let groups = line.groups().await?;
            Ok(describe(&connections, &groups, note.as_deref()))
        })
    }
}

fn describe(connections: &sessions::Connections, groups: &[Group], note: Option<&str>) -> Collected {
    let body = json!({
        "used": connections.used,
        "max_connections": connections.max_connections,
        "reserved": connections.reserved,
        "by_state": by_state(groups),
        "sessions": groups,
        "note": note,
    });
    // Pretty: people read it. The groups are few and their texts short, so it is far below the limit of a body.
    let body = serde_json::to_vec_pretty(&body).unwrap_or_default();
    let mut states: Vec<(String, i64)> = by_state(groups).into_iter().collect();
    states.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let idle = groups.iter().filter(|group| group.state.as_deref() == Some("idle"));
    let oldest = idle.filter_map(|group| group.oldest_seconds).max();
    let oldest = oldest.map(|seconds| format!(", idle for up to {seconds} s")).unwrap_or_default();
    let unseen = if note.is_some() { "; states of others are not visible to nightshift's role" } else { "" };
    Collected { body, summary: format!("{}: {}{oldest}{unseen}", connections.says(), states.join(", ")) }
}

/// Clients' sessions only: the server's own processes have no state.
fn by_state(groups: &[Group]) -> BTreeMap<String, i64> {
    let mut states = BTreeMap::new();
    for group in groups {
        if let Some(state) = &group.state {
            *states.entry(state.clone()).or_default() += group.sessions;
        }
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(sessions: i64, state: Option<&str>, oldest_seconds: Option<i64>) -> Group {
        Group {
            sessions,
            state: state.map(str::to_owned),
            user: Some("app".to_owned()),
            database: None,
            application: None,
            client: None,
            backend_type: None,
            oldest_seconds,
        }
    }

    #[test]
    fn the_summary_says_how_full_it_is_and_of_whom() {
        let connections = sessions::Connections { used: 9, max_connections: 10, reserved: 3 };
        let groups = [group(2, Some("active"), Some(1)), group(7, Some("idle"), Some(640)), group(4, None, None)];
        let collected = describe(&connections, &groups, None);
        assert_eq!(
            collected.summary,
            "9 of 10 connections are used (3 are reserved): 7 idle, 2 active, idle for up to 640 s"
        );
        let body: Value = serde_json::from_slice(&collected.body).unwrap();
        assert_eq!((&body["by_state"]["idle"], &body["sessions"][0]["user"]), (&json!(7), &json!("app")));
        assert!(describe(&connections, &groups, Some("GRANT …")).summary.ends_with("not visible to nightshift's role"));
    }
}
