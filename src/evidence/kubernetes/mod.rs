//! Evidence from Kubernetes: how a workload's pods are, and what they wrote.

pub mod logs;
pub mod pod;
pub mod pods;

use super::Registry;
use crate::peer::kubernetes::Cluster;
use std::sync::Arc;

/// Every Kubernetes collector.
pub fn register(registry: &mut Registry, cluster: &Cluster) {
    registry.add(Arc::new(pods::Pods::new(cluster.clone())));
    registry.add(Arc::new(logs::Logs::new(cluster.clone())));
}
