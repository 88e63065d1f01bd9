//! How many pods the strategy of a workload takes away at a time while its template changes.

use super::workload::Workload;
use crate::model::target::Kind;
use serde_json::{Value, json};

/// Ready pods that the strategy leaves alone at any moment.
#[must_use]
pub fn certainly_ready(workload: &Workload, kind: Kind) -> u32 {
    let (wanted, strategy) = match kind {
        Kind::Deployment => (workload.spec.replicas.unwrap_or(1), &workload.spec.strategy),
        Kind::StatefulSet => (workload.spec.replicas.unwrap_or(1), &workload.spec.update_strategy),
        Kind::DaemonSet => (workload.status.desired_number_scheduled, &workload.spec.update_strategy),
    };
    if strategy.kind == "Recreate" {
        return 0;
    }
    let rolling = strategy.rolling_update.as_ref();
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    // Kubernetes rounds what may be away down for a Deployment, up for the others, and surge up.
    let away = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let away = match (kind, away) {
        (Kind::Deployment, away) => {
            let away = share(away.unwrap_or(&json!("25%")), wanted, false);
            // Neither surge nor away would never end, so the controller takes one away.
            if away == 0 && share(surge.unwrap_or(&json!("25%")), wanted, true) == 0 { 1 } else { away }
        }
        (Kind::StatefulSet, None) => 1,
        (Kind::StatefulSet, Some(away)) => share(away, wanted, true).max(1),
        (Kind::DaemonSet, None) => 1,
        (Kind::DaemonSet, Some(away)) => {
            let away = share(away, wanted, true);
            if away == 0 && surge.is_none_or(|surge| share(surge, wanted, true) == 0) { 1 } else { away }
        }
    };
    workload.ready(kind).min(wanted.saturating_sub(away))
}

/// A number, or a percentage of `of`. What can't be read counts as all: it promises nothing.
fn share(value: &Value, of: u32, up: bool) -> u32 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|text| text.parse::<u32>().ok());
    match (value.as_u64(), percent) {
        (Some(number), _) => u32::try_from(number).unwrap_or(of),
        (None, Some(percent)) => {
            let exact = u64::from(of) * u64::from(percent);
            u32::try_from(if up { exact.div_ceil(100) } else { exact / 100 }).unwrap_or(of)
        }
        (None, None) => of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(strategy: Value, replicas: u32, ready: u32) -> Workload {
        serde_json::from_value(json!({
            "metadata": {"uid": "u", "generation": 3},
            "spec": {"replicas": replicas, "strategy": strategy},
            "status": {"observedGeneration": 3, "readyReplicas": ready}
        }))
        .unwrap()
    }

    #[test]
    fn a_strategy_says_how_many_pods_certainly_stay() {
        let rolling = |away: Value, surge: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": away, "maxSurge": surge}});
        for (strategy, replicas, ready, stay) in [
            (rolling(json!("25%"), json!("25%")), 4, 4, 3),
            (rolling(json!("25%"), json!("25%")), 3, 3, 3),
            (rolling(json!("25%"), json!("25%")), 1, 1, 1),
            (rolling(json!(0), json!(0)), 2, 2, 1),
            (rolling(json!(2), json!(0)), 4, 1, 1),
            (rolling(json!(9), json!(0)), 4, 4, 0),
            (json!({"type": "Recreate"}), 4, 4, 0),
        ] {
            let workload = deployment(strategy.clone(), replicas, ready);
            assert_eq!(certainly_ready(&workload, Kind::Deployment), stay, "{strategy} {replicas} {ready}");
        }
    }
}
