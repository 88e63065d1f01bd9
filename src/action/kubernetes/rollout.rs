//! Whether a rollout is complete, by `kubectl rollout status`' own rules, and whether one is running.
//!
//! The two differ on purpose. *Complete* asks for available pods and is what a verdict needs. *Running* is what keeps
//! an action away from somebody else's deploy: a rollout that was finished and whose pods broke afterwards is not
//! running, or nothing broken could ever be restarted.

use super::workload::Workload;
use crate::model::target::Kind;

/// How a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    Complete,
    /// What is missing.
    Unfinished(String),
    /// It will not finish by itself.
    Failed(String),
    /// Its strategy replaces nothing by itself.
    NotRolling(String),
}

/// `kubectl rollout status`.
#[must_use]
pub fn status(kind: Kind, workload: &Workload) -> Rollout {
    let (spec, status) = (&workload.spec, &workload.status);
    if kind != Kind::Deployment && spec.update_strategy.kind == "OnDelete" {
        return Rollout::NotRolling(format!("{} has the strategy OnDelete: it replaces no pod by itself", kind.word()));
    }
    if workload.metadata.generation > status.observed_generation {
        return Rollout::Unfinished("its controller has not seen the latest spec yet".to_owned());
    }
    match kind {
        Kind::Deployment => deployment(workload),
        Kind::StatefulSet => {
            let replicas = spec.replicas.unwrap_or(1);
            if status.ready_replicas < replicas {
                return Rollout::Unfinished(format!("{} of {replicas} pods are ready", status.ready_replicas));
            }
            let partition = spec.update_strategy.rolling_update.as_ref().and_then(|rolling| rolling.partition);
            if let Some(partition) = partition {
                let wanted = replicas.saturating_sub(partition);
                if status.updated_replicas < wanted {
                    return Rollout::Unfinished(format!("{} of {wanted} pods are updated", status.updated_replicas));
                }
            } else if status.update_revision != status.current_revision {
                return Rollout::Unfinished(format!("{} of {replicas} pods are updated", status.updated_replicas));
            }
            Rollout::Complete
        }
        Kind::DaemonSet => {
            let wanted = status.desired_number_scheduled;
            if status.updated_number_scheduled < wanted {
                return Rollout::Unfinished(format!(
                    "{} of {wanted} pods are updated",
                    status.updated_number_scheduled
                ));
            }
            if status.number_available < wanted {
                return Rollout::Unfinished(format!(
                    "{} of {wanted} updated pods are available",
                    status.number_available
                ));
            }
            Rollout::Complete
        }
    }
}

fn deployment(workload: &Workload) -> Rollout {
    let status = &workload.status;
    let replicas = workload.spec.replicas.unwrap_or(1);
    if progressing(workload) == Some("ProgressDeadlineExceeded") {
        return Rollout::Failed("its rollout exceeded its progress deadline".to_owned());
    }
    if status.updated_replicas < replicas {
        return Rollout::Unfinished(format!("{} of {replicas} pods are updated", status.updated_replicas));
    }
    if status.replicas > status.updated_replicas {
        let old = status.replicas - status.updated_replicas;
        return Rollout::Unfinished(format!("{old} old pods are not gone yet"));
    }
    if status.available_replicas < status.updated_replicas {
        return Rollout::Unfinished(format!(
            "{} of {} updated pods are available",
            status.available_replicas, status.updated_replicas
        ));
    }
    Rollout::Complete
}

/// Pods of a StatefulSet that its partition keeps from the current template: those with the lowest numbers.
#[must_use]
pub fn kept_back(kind: Kind, workload: &Workload) -> u32 {
    let rolling = workload.spec.update_strategy.rolling_update.as_ref();
    let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
    if kind == Kind::StatefulSet { partition.min(workload.spec.replicas.unwrap_or(1)) } else { 0 }
}

/// What is missing until every pod runs the current template, where a rollout is complete: a partition's rollout is so with
/// pods of two revisions.
#[must_use]
pub fn held_back(kind: Kind, workload: &Workload) -> Option<String> {
    let status = &workload.status;
    if kind != Kind::StatefulSet || status.update_revision == status.current_revision {
        return None;
    }
    let (kept, replicas) = (kept_back(kind, workload), workload.spec.replicas.unwrap_or(1));
    Some(match kept {
        0 => format!("its pods are not all of revision {} yet", status.update_revision),
        kept => format!("its partition keeps {kept} of {replicas} pods at revision {}", status.current_revision),
    })
}

fn progressing(workload: &Workload) -> Option<&str> {
    workload
        .status
        .conditions
        .iter()
        .find(|condition| condition.kind == "Progressing")
        .map(|condition| condition.reason.as_str())
}

/// What is unfinished of a rollout that is running, or stuck.
#[must_use]
pub fn running(kind: Kind, workload: &Workload) -> Option<String> {
    let unfinished = match status(kind, workload) {
        Rollout::Complete | Rollout::NotRolling(_) => return None,
        Rollout::Failed(says) => return Some(says),
        Rollout::Unfinished(says) => says,
    };
    let status = &workload.status;
    let seen = workload.metadata.generation <= status.observed_generation;
    // All pods are of the current template: what is missing is their health, not the rollout.
    let finished_before = seen
        && match kind {
            Kind::Deployment => {
                progressing(workload) == Some("NewReplicaSetAvailable")
                    && status.updated_replicas >= workload.spec.replicas.unwrap_or(1)
                    && status.replicas <= status.updated_replicas
            }
            Kind::StatefulSet => {
                !status.update_revision.is_empty() && status.update_revision == status.current_revision
            }
            Kind::DaemonSet => status.updated_number_scheduled >= status.desired_number_scheduled,
        };
    (!finished_before).then_some(unfinished)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn workload(spec: Value, status: Value) -> Workload {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "u", "generation": 3}, "spec": spec, "status": status
        }))
        .unwrap()
    }

    fn deployed(replicas: u32, updated: u32, total: u32, available: u32, reason: &str, observed: i64) -> Workload {
        let conditions = json!([{"type": "Progressing", "status": "True", "reason": reason}]);
        workload(
            json!({ "replicas": replicas }),
            json!({"observedGeneration": observed, "replicas": total, "updatedReplicas": updated,
                   "readyReplicas": available, "availableReplicas": available, "conditions": conditions}),
        )
    }

    #[test]
    fn a_deployment_is_complete_when_kubectl_says_so() {
        // replicas, updated, total, available, reason, observed generation; complete, running
        for (case, complete, runs) in [
            ((4, 4, 4, 4, "NewReplicaSetAvailable", 3), true, false),
            ((4, 4, 4, 4, "NewReplicaSetAvailable", 2), false, true),
            ((4, 3, 4, 4, "ReplicaSetUpdated", 3), false, true),
            ((4, 4, 5, 4, "ReplicaSetUpdated", 3), false, true),
            ((4, 4, 4, 3, "ReplicaSetUpdated", 3), false, true),
            // It was complete, then a pod broke: not complete, and no rollout either.
            ((4, 4, 4, 3, "NewReplicaSetAvailable", 3), false, false),
            ((0, 0, 0, 0, "NewReplicaSetAvailable", 3), true, false),
        ] {
            let (replicas, updated, total, available, reason, observed) = case;
            let workload = deployed(replicas, updated, total, available, reason, observed);
            assert_eq!(status(Kind::Deployment, &workload) == Rollout::Complete, complete, "{case:?}");
            assert_eq!(running(Kind::Deployment, &workload).is_some(), runs, "{case:?}");
        }
    }

    #[test]
    fn a_rollout_past_its_deadline_has_failed_and_still_keeps_others_away() {
        let workload = deployed(4, 2, 5, 3, "ProgressDeadlineExceeded", 3);
        let says = "its rollout exceeded its progress deadline".to_owned();
        assert_eq!(status(Kind::Deployment, &workload), Rollout::Failed(says.clone()));
        assert_eq!(running(Kind::Deployment, &workload), Some(says));
    }

    #[test]
    fn a_stateful_set_counts_ready_pods_and_its_partition() {
        let set = |partition: Value, updated: u32, ready: u32, current: &str| {
            workload(
                json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}}),
                json!({"observedGeneration": 3, "replicas": 3, "readyReplicas": ready, "updatedReplicas": updated,
                       "currentRevision": current, "updateRevision": "b"}),
            )
        };
        for (workload, complete, runs) in [
            (set(json!(0), 3, 3, "b"), true, false),
            (set(json!(0), 2, 3, "a"), false, true),
            (set(json!(0), 2, 2, "a"), false, true),
            (set(json!(2), 1, 3, "a"), true, false),
            (set(Value::Null, 2, 3, "a"), false, true),
            (set(json!(0), 3, 2, "b"), false, false),
        ] {
            assert_eq!(status(Kind::StatefulSet, &workload) == Rollout::Complete, complete, "{workload:?}");
            assert_eq!(running(Kind::StatefulSet, &workload).is_some(), runs, "{workload:?}");
        }
    }

    #[test]
    fn a_partition_holds_pods_back_though_its_rollout_is_complete() {
        let set = |partition: Value, current: &str| {
            workload(
                json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}}),
                json!({"observedGeneration": 3, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3,
                       "currentRevision": current, "updateRevision": "b"}),
            )
        };
        let held =
            |workload: Workload| (kept_back(Kind::StatefulSet, &workload), held_back(Kind::StatefulSet, &workload));
        assert_eq!(held(set(json!(0), "b")), (0, None));
        assert_eq!(held(set(Value::Null, "b")), (0, None));
        assert_eq!(held(set(json!(2), "a")), (2, Some("its partition keeps 2 of 3 pods at revision a".to_owned())));
        assert_eq!(held(set(json!(9), "a")).0, 3, "there are no more");
        assert_eq!(held(set(json!(2), "b")), (2, None), "they run it anyway");
        assert_eq!(held(set(json!(0), "a")), (0, Some("its pods are not all of revision b yet".to_owned())));
        assert_eq!(held_back(Kind::Deployment, &set(json!(2), "a")), None);
    }

    #[test]
    fn a_daemon_set_counts_nodes() {
        let set = |updated: u32, available: u32| {
            workload(
                json!({"updateStrategy": {"type": "RollingUpdate"}}),
                json!({"observedGeneration": 3, "desiredNumberScheduled": 5, "updatedNumberScheduled": updated,
                       "numberAvailable": available}),
            )
        };
        for (workload, complete, runs) in
            [(set(5, 5), true, false), (set(4, 5), false, true), (set(5, 4), false, false)]
        {
            assert_eq!(status(Kind::DaemonSet, &workload) == Rollout::Complete, complete, "{workload:?}");
            assert_eq!(running(Kind::DaemonSet, &workload).is_some(), runs, "{workload:?}");
        }
    }

    #[test]
    fn on_delete_rolls_nothing() {
        let workload = workload(json!({"updateStrategy": {"type": "OnDelete"}}), json!({"observedGeneration": 3}));
        assert!(matches!(status(Kind::DaemonSet, &workload), Rollout::NotRolling(_)));
        assert!(matches!(status(Kind::StatefulSet, &workload), Rollout::NotRolling(_)));
    }
}
