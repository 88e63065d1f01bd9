//! Who else writes a field, as `metadata.managedFields` records it.
//!
//! A GitOps controller that has the field in its manifests puts it back at its next sync: that is not fought over. For
//! everybody else the record only says whom to name when something was changed since.

use super::workload::Meta;
use crate::peer::kubernetes::FIELD_MANAGER;
use serde::Deserialize;
use serde_json::Value;

/// `spec.replicas` of a workload.
pub const REPLICAS: &str = "/f:spec/f:replicas";
/// `spec.minReplicas` of an autoscaler.
pub const MIN_REPLICAS: &str = "/f:spec/f:minReplicas";

/// The names that GitOps controllers write under, and what people call them.
const GITOPS: [(&str, &str); 4] = [
    ("argocd-controller", "Argo CD"),
    ("argocd-application-controller", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
];

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ManagedField {
    pub manager: String,
    pub time: String,
    #[serde(rename = "fieldsV1")]
    pub fields: Value,
}

fn writers<'a>(meta: &'a Meta, field: &'a str) -> impl Iterator<Item = &'a ManagedField> {
    meta.managed_fields.iter().filter(move |one| one.fields.pointer(field).is_some())
}

/// The GitOps controller that has the field in its manifests: `Argo CD (argocd-controller)`.
#[must_use]
pub fn gitops(meta: &Meta, field: &str) -> Option<String> {
    writers(meta, field).find_map(|one| {
        let (manager, name) = GITOPS.iter().find(|(manager, _)| *manager == one.manager)?;
        Some(format!("{name} ({manager})"))
    })
}

/// Who besides nightshift wrote the field last.
#[must_use]
pub fn last_other<'a>(meta: &'a Meta, field: &'a str) -> Option<&'a str> {
    // RFC 3339 in UTC sorts as text.
    let last = writers(meta, field).max_by(|a, b| a.time.cmp(&b.time))?;
    (last.manager != FIELD_MANAGER && !last.manager.is_empty()).then_some(last.manager.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn meta(fields: Value) -> Meta {
        serde_json::from_value(json!({"name": "web", "managedFields": fields})).unwrap()
    }

    fn written(manager: &str, time: &str, field: &str) -> Value {
        json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": {"f:spec": {field: {}}}})
    }

    #[test]
    fn a_gitops_controller_owns_what_it_wrote_and_nothing_else() {
        let replicas = meta(json!([written("argocd-controller", "2026-03-01T02:00:00Z", "f:replicas")]));
        assert_eq!(gitops(&replicas, REPLICAS).as_deref(), Some("Argo CD (argocd-controller)"));
        let template = meta(json!([written("argocd-controller", "2026-03-01T02:00:00Z", "f:template")]));
        assert_eq!(gitops(&template, REPLICAS), None);
        let person = meta(json!([written("kubectl", "2026-03-01T02:00:00Z", "f:replicas")]));
        assert_eq!(gitops(&person, REPLICAS), None);
    }

    #[test]
    fn the_last_writer_is_named_unless_it_is_us() {
        let mut fields = vec![
            written("kubectl-edit", "2026-03-01T02:00:00Z", "f:replicas"),
            written("kubectl", "2026-03-01T01:00:00Z", "f:replicas"),
        ];
        assert_eq!(last_other(&meta(json!(fields)), REPLICAS), Some("kubectl-edit"));
        fields.push(written(FIELD_MANAGER, "2026-03-01T03:00:00Z", "f:replicas"));
        assert_eq!(last_other(&meta(json!(fields)), REPLICAS), None);
        assert_eq!(last_other(&meta(json!([])), REPLICAS), None);
    }
}
