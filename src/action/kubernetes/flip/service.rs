//! The Service as it is read, and its endpoints.

use super::colours::{Colours, words};
use crate::{
    action::kubernetes::{
        ownership::{self, SELECTOR},
        pods::Pod,
        workload::Meta,
    },
    peer::kubernetes::{Cluster, Place, Resource},
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// Argo Rollouts writes the selectors of the Services that it marks so.
const ROLLOUTS_MARK: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";
/// How many stray endpoints are named.
const SHOWN: usize = 2;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Service {
    pub metadata: Meta,
    pub spec: ServiceSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    pub selector: BTreeMap<String, String>,
}

impl Service {
    pub async fn read(cluster: &Cluster, colours: Colours<'_>, until: Instant) -> Result<Service, String> {
        let place = Place::one(Resource::Service, colours.namespace, colours.service);
        let service: Service = cluster.get(place, until).await?;
        if service.metadata.uid.is_empty() {
            return Err(format!("{} came without a uid", colours.words()));
        }
        if service.metadata.deletion_timestamp.is_some() {
            return Err(format!("{} is being deleted", colours.words()));
        }
        Ok(service)
    }

    /// Who would put the selector back.
    pub fn owner(&self) -> Option<String> {
        let rollouts = self.metadata.annotations.get(ROLLOUTS_MARK).map(|name| format!("Rollout {name}"));
        ownership::gitops_object(&self.metadata, SELECTOR)
            .or(rollouts)
            .or_else(|| ownership::controller(&self.metadata))
    }

    /// How its selector differs from what it should be, and who made it so; None: it does not.
    pub fn difference(&self, from: &BTreeMap<String, String>) -> Option<String> {
        if self.spec.selector == *from {
            return None;
        }
        let by = ownership::last_other(&self.metadata, SELECTOR).map(|by| format!(" (set by {by})"));
        let (is, was) = (words(&self.spec.selector), words(from));
        Some(format!("its selector is {is}{}, not {was}", by.unwrap_or_default()))
    }
}

#[derive(Deserialize)]
struct Slice {
    // An empty one of the controller is `null`.
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    conditions: Conditions,
    target_ref: Option<TargetRef>,
    #[serde(default)]
    addresses: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct TargetRef {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
}

/// Where a Service sends traffic.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Uids of pods. A pod with two addresses is one.
    pods: BTreeSet<String>,
    /// What is no pod, or a pod, by name.
    names: BTreeMap<String, String>,
}

impl Endpoints {
    pub async fn read(cluster: &Cluster, colours: Colours<'_>, until: Instant) -> Result<Endpoints, String> {
        let mine = format!("kubernetes.io/service-name={}", colours.service);
        let place = Place::all(Resource::EndpointSlice, colours.namespace);
        let slices: Vec<Slice> = cluster.list(place, &[("labelSelector", mine.as_str())], until).await?;
        let mut endpoints = Endpoints::default();
        for endpoint in slices.into_iter().filter_map(|slice| slice.endpoints).flatten() {
            // Without a word about it, it is ready.
            if endpoint.conditions.ready == Some(false) {
                continue;
            }
            let (uid, name) = match endpoint.target_ref {
                Some(target) if target.kind == "Pod" && !target.uid.is_empty() => (target.uid, target.name),
                _ => {
                    let address = endpoint.addresses.first().cloned().unwrap_or_default();
                    (format!("address {address}"), address)
                }
            };
            endpoints.names.insert(uid.clone(), name);
            endpoints.pods.insert(uid);
        }
        Ok(endpoints)
    }

    /// Those that are no pod of these: a hand-made slice's, above all.
    pub fn beside(&self, pods: &[Pod]) -> BTreeSet<String> {
        let known: BTreeSet<&str> = pods.iter().map(|pod| pod.metadata.uid.as_str()).collect();
        self.pods.iter().filter(|uid| !known.contains(uid.as_str())).cloned().collect()
    }

    /// Whether they are ready pods of `color`, at least so many, and nothing else but what is there anyway.
    pub fn are(&self, color: &str, pods: &[Pod], wanted: u32, anyway: &BTreeSet<String>) -> Result<u32, String> {
        let ready: BTreeSet<&str> =
            pods.iter().filter(|pod| pod.is_ready()).map(|pod| pod.metadata.uid.as_str()).collect();
        let (ours, others): (Vec<&String>, Vec<&String>) =
            self.pods.iter().partition(|uid| ready.contains(uid.as_str()));
        let strays = others.into_iter().filter(|uid| !anyway.contains(*uid));
        let strays: Vec<&str> = strays.filter_map(|uid| self.names.get(uid)).map(String::as_str).collect();
        if !strays.is_empty() {
            let shown = strays.get(..SHOWN).unwrap_or(&strays).join(", ");
            let says = format!("{} endpoints are no ready pod of {color}: {shown}", strays.len());
            return Err(if strays.len() > SHOWN { format!("{says}, …") } else { says });
        }
        let there = u32::try_from(ours.len()).unwrap_or(u32::MAX);
        if there < wanted {
            return Err(format!("{there} endpoints of {color} are ready, {wanted} are wanted"));
        }
        Ok(there)
    }
}
