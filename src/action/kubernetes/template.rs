//! A pod template as it is compared and put back: without what a controller or a serializer adds to it.
//!
//! Plans hold its hash, never itself: templates may have secrets in their environment.

use crate::model::plan::hex;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The Deployment controller's own label: it makes the ReplicaSets' templates differ from the Deployment's.
const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// The annotation of `kubectl rollout restart`: the same version, with newer pods.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// A reason why what has this template must not be rolled back.
const NO_ROLLBACK: &str = "nightshift.dev/no-rollback";

#[derive(Debug, Clone, PartialEq)]
pub struct Template(Value);

impl Template {
    /// From a workload, a ReplicaSet, or the patch that a ControllerRevision keeps. None: it is no template.
    pub fn of(written: &Value) -> Option<Template> {
        let mut template = without_nulls(written);
        template.as_object_mut()?.remove("$patch");
        if !template.get("spec").is_some_and(Value::is_object) {
            return None;
        }
        forget(&mut template, "labels", POD_TEMPLATE_HASH);
        Some(Template(template))
    }

    /// What is written.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// SHA-256 of all of it.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.0.to_string()))
    }

    /// SHA-256 of what runs: a restart does not change it.
    pub fn version(&self) -> String {
        let mut version = self.0.clone();
        forget(&mut version, "annotations", RESTARTED_AT);
        hex(&Sha256::digest(version.to_string()))
    }

    /// Why it must not be left behind, if it says so.
    pub fn no_rollback(&self) -> Option<&str> {
        let found = self.0.get("metadata")?.get("annotations")?.get(NO_ROLLBACK)?;
        found.as_str()
    }

    /// Names and images of its containers.
    pub fn images(&self) -> Vec<(&str, &str)> {
        let containers = self.0.pointer("/spec/containers").and_then(Value::as_array);
        containers
            .into_iter()
            .flatten()
            .filter_map(|container| Some((container.get("name")?.as_str()?, container.get("image")?.as_str()?)))
            .collect()
    }
}

/// Removes one entry of a map in the metadata, and the map when nothing is left in it.
fn forget(template: &mut Value, map: &str, key: &str) {
    let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) {
        entries.remove(key);
        if entries.is_empty() {
            metadata.remove(map);
        }
    }
}

/// Older servers write `creationTimestamp: null` into templates.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(metadata: Value) -> Template {
        Template::of(&json!({"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}))
            .unwrap()
    }

    #[test]
    fn what_controllers_and_serializers_add_is_no_difference() {
        let plain = template(json!({"labels": {"app": "web"}}));
        let of_replica_set =
            template(json!({"labels": {"app": "web", "pod-template-hash": "7d9"}, "creationTimestamp": null}));
        assert_eq!(plain.hash(), of_replica_set.hash());
        let of_revision = json!({"$patch": "replace", "metadata": {"labels": {"app": "web"}},
                                 "spec": {"containers": [{"name": "app", "image": "app:1"}]}});
        assert_eq!(Template::of(&of_revision).unwrap(), plain);
        assert_eq!(Template::of(&json!({"metadata": {}})), None);
    }

    #[test]
    fn a_restart_is_another_template_of_the_same_version() {
        let plain = template(json!({"labels": {"app": "web"}}));
        let restarted =
            template(json!({"labels": {"app": "web"}, "annotations": {RESTARTED_AT: "2026-03-01T02:12:09Z"}}));
        assert_ne!(plain.hash(), restarted.hash());
        assert_eq!(plain.version(), restarted.version());
        let other = template(json!({"labels": {"app": "web"}, "annotations": {"somebody": "else"}}));
        assert_ne!(plain.version(), other.version());
    }
}
