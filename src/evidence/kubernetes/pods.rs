//! `kubernetes/pods`: how the target's pods are: phase, readiness, restarts, why a container last ended, node.

use super::pod::{self, Container, Pod};
use crate::{
    evidence::{Boxed, Collected, Collector},
    model::target::Object,
    peer::kubernetes::Cluster,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Pods described; the rest, the better ones, are counted.
const PODS_SHOWN: usize = 100;

pub struct Pods {
    cluster: Cluster,
}

impl Pods {
    #[must_use]
    pub fn new(cluster: Cluster) -> Pods {
        Pods { cluster }
    }
}

impl Collector for Pods {
    fn name(&self) -> &'static str {
        "kubernetes/pods"
    }

    fn check(&self, with: &Value, target: &Object) -> Vec<String> {
        let mut problems: Vec<String> = pod::of_target(target).err().into_iter().collect();
        if !with.is_null() && with.as_object().is_none_or(|map| !map.is_empty()) {
            problems.push("kubernetes/pods takes no `with`".to_owned());
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
            let pods = pod::of_workload(&self.cluster, target, Instant::now() + within).await?;
            Ok(describe(&pods))
        })
    }
}

fn describe(pods: &[Pod]) -> Collected {
    let shown: Vec<Value> = pods.iter().take(PODS_SHOWN).map(one).collect();
    let body = json!({"pods": shown, "not_shown": pods.len() - shown.len()});
    // Pretty: people read it.
    let body = serde_json::to_vec_pretty(&body).unwrap_or_default();
    let ready = pods.iter().filter(|pod| pod.is_ready()).count();
    let restarts = pods.iter().fold(0u32, |sum, pod| sum.saturating_add(pod.restarts()));
    let ended = pods.iter().flat_map(|pod| &pod.status.container_statuses).find_map(ended);
    let ended = ended.map(|words| format!(", {words}")).unwrap_or_default();
    Collected { body, summary: format!("{ready} of {} pods ready, {restarts} restarts{ended}", pods.len()) }
}

fn one(pod: &Pod) -> Value {
    let containers: Vec<Value> = pod.status.container_statuses.iter().map(container).collect();
    json!({
        "name": pod.metadata.name,
        "phase": pod.status.phase,
        "reason": pod.status.reason,
        "ready": pod.is_ready(),
        "restarts": pod.restarts(),
        "node": pod.spec.node_name,
        "created": pod.metadata.creation_timestamp,
        "being_deleted_since": pod.metadata.deletion_timestamp,
        "containers": containers,
    })
}

fn container(container: &Container) -> Value {
    let state = match (&container.state.waiting, &container.state.terminated, &container.state.running) {
        (Some(waiting), _, _) => format!("waiting: {}", waiting.reason),
        (None, Some(terminated), _) => format!("terminated: {} ({})", terminated.reason, terminated.exit_code),
        (None, None, Some(_)) => "running".to_owned(),
        (None, None, None) => "unknown".to_owned(),
    };
    let last = container
        .last_state
        .terminated
        .as_ref()
        .map(|last| json!({"reason": last.reason, "exit_code": last.exit_code, "finished_at": last.finished_at}));
    json!({
        "name": container.name, "ready": container.ready, "restarts": container.restart_count,
        "state": state, "last_end": last,
    })
}

/// Why a container last ended, in words.
fn ended(container: &Container) -> Option<String> {
    let last = container.last_state.terminated.as_ref().or(container.state.terminated.as_ref())?;
    Some(format!("{} last ended with {} ({})", container.name, last.reason, last.exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_is_wrong() {
        let pods: Vec<Pod> = serde_json::from_value(json!([
            {"metadata": {"name": "web-1"}, "status": {"phase": "Running",
             "conditions": [{"type": "Ready", "status": "False"}],
             "containerStatuses": [{"name": "app", "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}},
            {"metadata": {"name": "web-2"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        ]))
        .unwrap();
        let collected = describe(&pods);
        assert_eq!(collected.summary, "1 of 2 pods ready, 7 restarts, app last ended with OOMKilled (137)");
        let body: Value = serde_json::from_slice(&collected.body).unwrap();
        assert_eq!(body["pods"][0]["containers"][0]["state"], "waiting: CrashLoopBackOff");
        assert_eq!(body["pods"][0]["containers"][0]["last_end"]["exit_code"], 137);
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let pods = vec![Pod::default(); PODS_SHOWN + 5];
        let body: Value = serde_json::from_slice(&describe(&pods).body).unwrap();
        assert_eq!(body["pods"].as_array().unwrap().len(), PODS_SHOWN);
        assert_eq!(body["not_shown"], 5);
    }
}
