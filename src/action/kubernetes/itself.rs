//! Which Deployment nightshift runs in, when nobody says so: its pod's owner's owner.

use super::workload::{Itself, Meta};
use crate::peer::kubernetes::{Cluster, Place, Resource};
use serde::Deserialize;
use std::time::Duration;

#[derive(Deserialize)]
struct Owned {
    metadata: Meta,
}

/// Asks for the pod `name` and follows its controllers. `Ok(None)`: it belongs to no Deployment (a bare pod, a Job).
/// Errors where the cluster can't be asked: then it is unknown, and the settings should name it.
pub async fn find(cluster: &Cluster, namespace: &str, pod: &str, within: Duration) -> Result<Option<Itself>, String> {
    let until = super::deadline(within);
    let pod: Owned = cluster.get(Place::one(Resource::Pod, namespace, pod), until).await?;
    let Some(set) = controller(&pod.metadata, "ReplicaSet") else { return Ok(None) };
    let set: Owned = cluster.get(Place::one(Resource::ReplicaSet, namespace, set), until).await?;
    Ok(controller(&set.metadata, "Deployment")
        .map(|name| Itself { namespace: namespace.to_owned(), deployment: name.to_owned() }))
}

fn controller<'a>(meta: &'a Meta, kind: &str) -> Option<&'a str> {
    meta.owner_references.iter().find(|owner| owner.controller && owner.kind == kind).map(|owner| owner.name.as_str())
}
