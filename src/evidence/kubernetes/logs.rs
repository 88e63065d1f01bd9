//! `kubernetes/logs`: the last lines of the target's worst pods, of the current and the previous container.
//!
//! `with: {lines: 200, containers: [app]}`. A pod whose logs can't be had is noted in the body: the others still count.

use super::pod::{self, Pod};
use crate::{
    evidence::{BODY_LIMIT, Boxed, Collected, Collector},
    model::target::Object,
    peer::kubernetes::{Cluster, Place, Resource},
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

const NAME: &str = "kubernetes/logs";
const LINES_BY_DEFAULT: u64 = 200;
const MOST_LINES: u64 = 5000;
/// The worst pods tell; more is for a log system.
const PODS_READ: usize = 5;
/// Of one pod, sidecars included.
const CONTAINERS_READ: usize = 6;
/// Of one container; five pods with two containers and their previous ones stay under [`BODY_LIMIT`].
const LOG_LIMIT: usize = 48 << 10;

pub struct Logs {
    cluster: Cluster,
}

struct With {
    lines: u64,
    /// Empty: all.
    containers: Vec<String>,
}

impl Logs {
    #[must_use]
    pub fn new(cluster: Cluster) -> Logs {
        Logs { cluster }
    }

    async fn read(&self, target: &Object, with: &Value, within: Duration) -> Result<Collected, String> {
        let with = parse(with).map_err(|problems| problems.join("; "))?;
        let until = Instant::now() + within;
        let (namespace, _, _) = pod::of_target(target)?;
        let pods = pod::of_workload(&self.cluster, target, until).await?;
        let mut text = String::new();
        let (mut read, mut failed) = (0u32, 0u32);
        for pod in pods.iter().take(PODS_READ) {
            for (container, previous) in wanted(pod, &with.containers) {
                let which = if previous { ", previous run" } else { "" };
                let head = format!("=== {} / {container}{which} ===\n", pod.metadata.name);
                // One kubelet that hangs must not take the time of all.
                let until = until.min(Instant::now() + within / 4);
                let part = match self.log(namespace, &pod.metadata.name, container, previous, with.lines, until).await {
                    Ok(log) => {
                        read += 1;
                        log
                    }
                    Err(problem) => {
                        failed += 1;
                        format!("({problem})")
                    }
                };
                push(&mut text, &head, &part);
            }
        }
        let left_out = pods.len().saturating_sub(PODS_READ);
        if left_out > 0 {
            push(&mut text, "", &format!("({left_out} more pods were not read)"));
        }
        let failed = if failed == 0 { String::new() } else { format!(", {failed} could not be read") };
        let summary = format!("{read} logs of {} of {} pods{failed}", pods.len().min(PODS_READ), pods.len());
        Ok(Collected { body: text.into_bytes(), summary })
    }

    async fn log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
        lines: u64,
        until: Instant,
    ) -> Result<String, String> {
        let lines = lines.to_string();
        let mut query = vec![("container", container), ("tailLines", &lines), ("timestamps", "true")];
        if previous {
            query.push(("previous", "true"));
        }
        let place = Place::one(Resource::Pod, namespace, pod).subresource("log");
        let bytes = self.cluster.text(place, &query, LOG_LIMIT, until).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Which logs of a pod: of each container the current one, and the previous one where it restarted.
fn wanted<'a>(pod: &'a Pod, only: &[String]) -> Vec<(&'a str, bool)> {
    let restarted =
        |name: &str| pod.status.container_statuses.iter().any(|status| status.name == name && status.restart_count > 0);
    pod.spec
        .containers
        .iter()
        .map(|container| container.name.as_str())
        .filter(|name| only.is_empty() || only.iter().any(|one| one == name))
        .take(CONTAINERS_READ)
        .flat_map(|name| {
            let previous = restarted(name).then_some((name, true));
            std::iter::once((name, false)).chain(previous)
        })
        .collect()
}

/// Adds a part as far as [`BODY_LIMIT`] allows.
fn push(text: &mut String, head: &str, part: &str) {
    const CUT: &str = "\n(cut)\n";
    let room = BODY_LIMIT.saturating_sub(text.len() + head.len() + CUT.len() + 1);
    if room == 0 {
        return;
    }
    text.push_str(head);
    if part.len() <= room {
        text.push_str(part);
        if !part.ends_with('\n') {
            text.push('\n');
        }
    } else {
        let end = part.floor_char_boundary(room);
        text.push_str(part.get(..end).unwrap_or_default());
        text.push_str(CUT);
    }
}

fn parse(with: &Value) -> Result<With, Vec<String>> {
    let mut parsed = With { lines: LINES_BY_DEFAULT, containers: Vec::new() };
    let empty = serde_json::Map::new();
    let map = match with {
        Value::Null => &empty,
        Value::Object(map) => map,
        _ => return Err(vec![format!("`with` of {NAME} is not a mapping")]),
    };
    let mut problems = Vec::new();
    for (key, value) in map {
        match key.as_str() {
            "lines" => match value.as_u64() {
                Some(lines) if (1..=MOST_LINES).contains(&lines) => parsed.lines = lines,
                _ => problems.push(format!("`lines: {value}` is not a number from 1 to {MOST_LINES}")),
            },
            "containers" => match value
                .as_array()
                .and_then(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>())
            {
                Some(containers) if !containers.is_empty() => parsed.containers = containers,
                _ => problems.push(format!("`containers: {value}` is not a list of names")),
            },
            _ => problems.push(format!("{NAME} knows no `{key}` in `with`: it knows lines, containers")),
        }
    }
    if problems.is_empty() { Ok(parsed) } else { Err(problems) }
}

impl Collector for Logs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, with: &Value, target: &Object) -> Vec<String> {
        let mut problems = parse(with).err().unwrap_or_default();
        problems.extend(pod::of_target(target).err());
        problems
    }

    fn collect<'a>(
        &'a self,
        target: &'a Object,
        with: &'a Value,
        within: Duration,
    ) -> Boxed<'a, Result<Collected, String>> {
        Box::pin(self.read(target, with, within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_previous_run_is_read_only_where_there_was_one() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-1"}, "spec": {"containers": [{"name": "app"}, {"name": "proxy"}]},
            "status": {"containerStatuses": [{"name": "app", "restartCount": 2}, {"name": "proxy", "restartCount": 0}]}
        }))
        .unwrap();
        assert_eq!(wanted(&pod, &[]), [("app", false), ("app", true), ("proxy", false)]);
        assert_eq!(wanted(&pod, &["proxy".to_owned()]), [("proxy", false)]);
    }

    #[test]
    fn a_body_never_grows_beyond_its_limit() {
        let mut text = String::new();
        let part = "ü".repeat(LOG_LIMIT / 2);
        for _ in 0..100 {
            push(&mut text, "=== head ===\n", &part);
        }
        assert!(text.len() <= BODY_LIMIT && text.contains("(cut)"), "{}", text.len());
    }

    #[test]
    fn all_problems_of_with_are_named() {
        let problems = parse(&json!({"lines": 0, "containers": "app", "tail": 3})).err().unwrap();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(parse(&json!({"lines": 500, "containers": ["app"]})).is_ok());
    }
}
