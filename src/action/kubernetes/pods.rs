//! The pods that a workload owns, by the uids of its controllers: a label alone makes no pod the workload's.

use super::workload::{Condition, Meta, Named, Workload};
use crate::{
    model::target::Kind,
    peer::kubernetes::{Cluster, Place, Resource},
};
use serde::Deserialize;
use tokio::time::Instant;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: Meta,
    pub status: PodStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    pub conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Owned {
    metadata: Meta,
}

impl Pod {
    /// Ready, and not on its way out.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let ready = |condition: &Condition| condition.kind == "Ready" && condition.status == "True";
        !self.is_ending() && self.status.conditions.iter().any(ready)
    }

    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

/// All of them. A Deployment's are those of its ReplicaSets.
pub async fn owned(
    cluster: &Cluster,
    named: Named<'_>,
    workload: &Workload,
    until: Instant,
) -> Result<Vec<Pod>, String> {
    let selector = workload.selector()?.words()?;
    let query = [("labelSelector", selector.as_str())];
    let list_pods = cluster.list::<Pod>(Place::all(Resource::Pod, named.namespace), &query, until);
    let uid = workload.metadata.uid.as_str();
    let (owners, mut pods) = match named.kind {
        Kind::Deployment => {
            let place = Place::all(Resource::ReplicaSet, named.namespace);
            let (sets, pods) = tokio::join!(cluster.list::<Owned>(place, &query, until), list_pods);
            let sets = sets?.into_iter().filter(|set| set.metadata.is_controlled_by(uid));
            (sets.map(|set| set.metadata.uid).collect(), pods?)
        }
        Kind::StatefulSet | Kind::DaemonSet => (vec![uid.to_owned()], list_pods.await?),
    };
    pods.retain(|pod| owners.iter().any(|owner| pod.metadata.is_controlled_by(owner)));
    Ok(pods)
}

/// The pod of that name, if there is one, whoever owns it.
pub async fn named(cluster: &Cluster, namespace: &str, pod: &str, until: Instant) -> Result<Option<Pod>, String> {
    // By a list: the rights that evidence needs are enough.
    let field = format!("metadata.name={pod}");
    let place = Place::all(Resource::Pod, namespace);
    let listed: Vec<Pod> = cluster.list(place, &[("fieldSelector", field.as_str())], until).await?;
    Ok(listed.into_iter().find(|one| one.metadata.name == pod))
}
