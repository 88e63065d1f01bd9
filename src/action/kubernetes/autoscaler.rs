//! HorizontalPodAutoscalers: who decides about a workload's replicas, and whether that can be shared.
//!
//! An autoscaler overwrites `spec.replicas` at its next sync. What it does respect is its own floor, `minReplicas`:
//! raising that is how to ask it for more. It decides alone about fewer.

use super::workload::{Meta, Named};
use crate::{
    model::target::Kind,
    peer::kubernetes::{Cluster, Place, Resource},
};
use serde::Deserialize;
use tokio::time::Instant;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Autoscaler {
    pub metadata: Meta,
    pub spec: AutoscalerSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AutoscalerSpec {
    pub scale_target_ref: ScaleTarget,
    /// The API server sets 1 where it is left out.
    pub min_replicas: Option<u32>,
    pub max_replicas: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ScaleTarget {
    pub api_version: String,
    pub kind: String,
    pub name: String,
}

/// Who owns `spec.replicas`.
#[derive(Debug, Clone, PartialEq)]
pub enum Owned {
    ByNobody,
    By(Box<Autoscaler>),
    /// In words: an owner that does not let it be shared.
    NotShared(String),
}

impl Autoscaler {
    #[must_use]
    pub fn min(&self) -> u32 {
        self.spec.min_replicas.unwrap_or(1)
    }

    /// `HorizontalPodAutoscaler web`.
    #[must_use]
    pub fn words(&self) -> String {
        format!("HorizontalPodAutoscaler {}", self.metadata.name)
    }

    fn targets(&self, kind: Kind, name: &str) -> bool {
        let target = &self.spec.scale_target_ref;
        // Without a group it can only be ours: `apiVersion` is optional there.
        let group = target.api_version.split_once('/').map_or("", |(group, _)| group);
        target.kind == kind.word() && target.name == name && (group == "apps" || target.api_version.is_empty())
    }

    /// KEDA makes and rewrites autoscalers of its own.
    fn keda(&self) -> Option<String> {
        let owner = self.metadata.owner_references.iter().find(|owner| owner.kind == "ScaledObject");
        let name = owner.map(|owner| owner.name.as_str());
        let name = name.or_else(|| self.metadata.labels.get("scaledobject.keda.sh/name").map(String::as_str))?;
        Some(format!("KEDA ScaledObject {name}"))
    }
}

/// Asks for all autoscalers of the namespace. That they can't be listed is an error: not knowing is no permission.
pub async fn owned(cluster: &Cluster, named: Named<'_>, until: Instant) -> Result<Owned, String> {
    let place = Place::all(Resource::HorizontalPodAutoscaler, named.namespace);
    let listed: Vec<Autoscaler> = cluster.list(place, &[], until).await?;
    Ok(choose(listed, named))
}

/// The one autoscaler by its name; it must still target the workload.
pub async fn named(cluster: &Cluster, named: Named<'_>, name: &str, until: Instant) -> Result<Autoscaler, String> {
    let place = Place::one(Resource::HorizontalPodAutoscaler, named.namespace, name);
    let found: Autoscaler = cluster.get(place, until).await?;
    if found.targets(named.kind, named.name) {
        Ok(found)
    } else {
        Err(format!("{} does not scale {} any more", found.words(), named.words()))
    }
}

fn choose(listed: Vec<Autoscaler>, named: Named<'_>) -> Owned {
    let mut ours: Vec<Autoscaler> = listed.into_iter().filter(|one| one.targets(named.kind, named.name)).collect();
    if ours.len() > 1 {
        let mut names: Vec<&str> = ours.iter().map(|one| one.metadata.name.as_str()).collect();
        names.sort_unstable();
        return Owned::NotShared(format!("{} HorizontalPodAutoscalers at once ({})", names.len(), names.join(", ")));
    }
    match ours.pop() {
        None => Owned::ByNobody,
        Some(one) => match one.keda() {
            Some(keda) => Owned::NotShared(keda),
            None => Owned::By(Box::new(one)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn autoscaler(name: &str, api_version: &str, kind: &str, target: &str) -> Autoscaler {
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": "h"},
            "spec": {"scaleTargetRef": {"apiVersion": api_version, "kind": kind, "name": target}, "maxReplicas": 9}
        }))
        .unwrap()
    }

    const WEB: Named<'_> = Named { namespace: "production", kind: Kind::Deployment, name: "web", selector: None };

    #[test]
    fn only_an_autoscaler_of_this_very_object_owns_it() {
        for other in [
            autoscaler("a", "apps/v1", "StatefulSet", "web"),
            autoscaler("a", "apps/v1", "Deployment", "api"),
            autoscaler("a", "argoproj.io/v1", "Deployment", "web"),
        ] {
            assert_eq!(choose(vec![other], WEB), Owned::ByNobody);
        }
        for own in [autoscaler("a", "apps/v1", "Deployment", "web"), autoscaler("a", "", "Deployment", "web")] {
            assert_eq!(choose(vec![own.clone()], WEB), Owned::By(Box::new(own)));
        }
    }

    #[test]
    fn two_autoscalers_of_one_object_are_named_and_not_shared() {
        let two =
            vec![autoscaler("b", "apps/v1", "Deployment", "web"), autoscaler("a", "apps/v1", "Deployment", "web")];
        assert_eq!(choose(two, WEB), Owned::NotShared("2 HorizontalPodAutoscalers at once (a, b)".to_owned()));
    }

    #[test]
    fn an_autoscaler_of_keda_is_kedas() {
        let mut owned = autoscaler("keda-hpa-web", "apps/v1", "Deployment", "web");
        owned.metadata.owner_references =
            serde_json::from_value(json!([{"kind": "ScaledObject", "name": "web-so", "controller": true}])).unwrap();
        assert_eq!(choose(vec![owned], WEB), Owned::NotShared("KEDA ScaledObject web-so".to_owned()));
        let mut labelled = autoscaler("keda-hpa-web", "apps/v1", "Deployment", "web");
        labelled.metadata.labels.insert("scaledobject.keda.sh/name".to_owned(), "web-so".to_owned());
        assert_eq!(choose(vec![labelled], WEB), Owned::NotShared("KEDA ScaledObject web-so".to_owned()));
    }
}
