//! The pods of a workload, as the API gives them, worst first.

use crate::{
    model::target::{Kind, Object},
    peer::{
        kubernetes::{Cluster, Place, Resource},
        selector::Selector,
    },
};
use serde::Deserialize;
use tokio::time::Instant;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: Meta,
    pub spec: Spec,
    pub status: Status,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    pub node_name: String,
    pub containers: Vec<Named>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Named {
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    pub phase: String,
    pub reason: String,
    pub conditions: Vec<Condition>,
    pub container_statuses: Vec<Container>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    pub name: String,
    pub ready: bool,
    pub restart_count: u32,
    pub state: State,
    pub last_state: State,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct State {
    pub running: Option<serde_json::Value>,
    pub waiting: Option<Waiting>,
    pub terminated: Option<Terminated>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Waiting {
    pub reason: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Terminated {
    pub reason: String,
    pub exit_code: i32,
    pub finished_at: Option<String>,
}

impl Pod {
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
    }

    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.status.container_statuses.iter().fold(0, |sum, container| sum.saturating_add(container.restart_count))
    }
}

#[derive(Deserialize)]
struct Workload {
    spec: WorkloadSpec,
}

#[derive(Deserialize)]
struct WorkloadSpec {
    selector: Selector,
}

/// What a target is called, or why it has no pods.
pub fn of_target(target: &Object) -> Result<(&str, Kind, &str), String> {
    match target {
        Object::Workload { namespace, kind, name, .. } => Ok((namespace, *kind, name)),
        Object::BlueGreen { .. } => Err("the target is a Service: name its Deployments as targets".to_owned()),
        Object::Database { .. } | Object::Nothing => {
            Err("the target is not a Kubernetes workload: it has no pods".to_owned())
        }
    }
}

/// The workload's pods: those that are not ready first, then those that restarted most.
pub async fn of_workload(cluster: &Cluster, target: &Object, until: Instant) -> Result<Vec<Pod>, String> {
    let (namespace, kind, name) = of_target(target)?;
    let workload: Workload = cluster.get(Place::one(Resource::Workload(kind), namespace, name), until).await?;
    let selector = workload.spec.selector.words()?;
    let place = Place::all(Resource::Pod, namespace);
    let mut pods: Vec<Pod> = cluster.list(place, &[("labelSelector", &selector)], until).await?;
    pods.sort_by(|a, b| {
        let badness = |pod: &Pod| (pod.is_ready(), u32::MAX - pod.restarts());
        badness(a).cmp(&badness(b)).then_with(|| a.metadata.name.cmp(&b.metadata.name))
    });
    Ok(pods)
}
