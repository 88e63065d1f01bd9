//! Who else writes a field, as `metadata.managedFields` records it.
//!
//! A GitOps controller that has the field in its manifests puts it back at its next sync: that is not fought over. For
//! everybody else the record only says whom to name when something was changed since, and whether a person was at work
//! here a moment ago.

use super::workload::Meta;
use crate::{
    model::{observation::Edited, time::Micros},
    peer::kubernetes::FIELD_MANAGER,
};
use serde::Deserialize;
use serde_json::Value;

/// `spec.replicas` of a workload.
pub const REPLICAS: &str = "/f:spec/f:replicas";
/// `spec.selector` of a Service.
pub const SELECTOR: &str = "/f:spec/f:selector";
/// `spec.minReplicas` of an autoscaler.
pub const MIN_REPLICAS: &str = "/f:spec/f:minReplicas";

/// The pod template of a workload.
pub const TEMPLATE: &str = "/f:spec/f:template";
/// What `kubectl rollout restart` and ours write into it.
pub const RESTARTED_AT: &str = "/f:spec/f:template/f:metadata/f:annotations/f:kubectl.kubernetes.io~1restartedAt";

/// The names that GitOps controllers write under, and what people call them.
const GITOPS: [(&str, &str); 4] = [
    ("argocd-controller", "Argo CD"),
    ("argocd-application-controller", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
];

/// How GitOps controllers mark the objects that they made, and what people call them.
const GITOPS_MARKS: [(&str, &str); 4] = [
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
];
/// The label by which Argo CD tracks what it made unless told otherwise. Helm and people set it too, so who wrote it counts.
const TRACKING_LABEL: &str = "/f:metadata/f:labels/f:app.kubernetes.io~1instance";
/// Tools that a person edits with, as they name themselves: OpenShift's client, k9s, a browser (Rancher and other
/// consoles), Lens, the Kubernetes dashboard, Headlamp.
const PERSONS_TOOLS: [&str; 8] =
    ["oc", "k9s", "Mozilla", "node-fetch", "Lens", "dashboard", "kubernetes-dashboard", "headlamp"];
/// kubectl's names are `kubectl` and `kubectl-VERB`.
const KUBECTL: &str = "kubectl";

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ManagedField {
    pub manager: String,
    pub time: String,
    pub subresource: String,
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

/// The GitOps controller that made the whole object, by what it wrote in `field` or by its mark on the object.
#[must_use]
pub fn gitops_object(meta: &Meta, field: &str) -> Option<String> {
    let marked = || {
        let has = |mark: &str| meta.labels.contains_key(mark) || meta.annotations.contains_key(mark);
        let (mark, name) = GITOPS_MARKS.iter().find(|(mark, _)| has(mark))?;
        Some(format!("{name} ({mark})"))
    };
    gitops(meta, field).or_else(marked).or_else(|| gitops(meta, TRACKING_LABEL))
}

/// Another object whose controller made this one and rewrites it: `Rollout web`.
#[must_use]
pub fn controller(meta: &Meta) -> Option<String> {
    let owner = meta.owner_references.iter().find(|owner| owner.controller)?;
    Some(format!("{} {}", owner.kind, owner.name))
}

/// A person's last edit. Kubernetes records the tool, not who held it; a pipeline that uses kubectl looks the same. What
/// went through the scale subresource has no time, so it can't count.
#[must_use]
pub fn edited(meta: &Meta) -> Option<Edited> {
    let by_person = meta.managed_fields.iter().filter(|one| one.subresource != "status" && is_persons(&one.manager));
    let edits =
        by_person.filter_map(|one| Some(Edited { by: one.manager.clone(), at: Micros::parse(&one.time).ok()? }));
    edits.max_by_key(|edited| edited.at)
}

fn is_persons(manager: &str) -> bool {
    PERSONS_TOOLS.contains(&manager)
        || manager.strip_prefix(KUBECTL).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
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
    fn what_argo_cd_tracks_by_a_label_is_its_own_also_where_another_wrote_the_field() {
        let labelled = |manager: &str| {
            let label = json!({"f:metadata": {"f:labels": {"f:app.kubernetes.io/instance": {}}}});
            meta(json!([
                {"manager": manager, "operation": "Update", "time": "2026-03-01T02:00:00Z", "fieldsV1": label},
                written("kubectl-edit", "2026-03-01T02:01:00Z", "f:selector")
            ]))
        };
        let owner = gitops_object(&labelled("argocd-controller"), SELECTOR);
        assert_eq!(owner.as_deref(), Some("Argo CD (argocd-controller)"));
        assert_eq!(gitops_object(&labelled("helm"), SELECTOR), None, "Helm sets the label too, and puts nothing back");
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
    fn a_gitops_mark_owns_the_object_whoever_wrote_the_field() {
        let marked = |place: &str, mark: &str| -> Meta { serde_json::from_value(json!({place: {mark: "x"}})).unwrap() };
        let argo = marked("annotations", "argocd.argoproj.io/tracking-id");
        assert_eq!(gitops_object(&argo, TEMPLATE).as_deref(), Some("Argo CD (argocd.argoproj.io/tracking-id)"));
        let flux = marked("labels", "kustomize.toolkit.fluxcd.io/name");
        assert_eq!(gitops_object(&flux, TEMPLATE).as_deref(), Some("Flux (kustomize.toolkit.fluxcd.io/name)"));
        assert_eq!(gitops_object(&marked("labels", "app.kubernetes.io/instance"), TEMPLATE), None);
    }

    #[test]
    fn a_persons_last_edit_is_seen_and_a_controllers_is_not() {
        let mut fields = vec![
            written("kubectl-edit", "2026-03-01T02:00:00Z", "f:template"),
            written("kubectl", "2026-03-01T02:05:00Z", "f:replicas"),
            written("kube-controller-manager", "2026-03-01T02:09:00Z", "f:template"),
            written("kubectlish", "2026-03-01T02:09:00Z", "f:template"),
            written(FIELD_MANAGER, "2026-03-01T02:09:00Z", "f:template"),
        ];
        let at = |text| Micros::parse(text).unwrap();
        let by = |name: &str, time| Some(Edited { by: name.to_owned(), at: at(time) });
        assert_eq!(edited(&meta(json!(fields))), by("kubectl", "2026-03-01T02:05:00Z"));
        let mut status = written("kubectl-edit", "2026-03-01T02:10:00Z", "f:status");
        status["subresource"] = json!("status");
        fields.push(status);
        assert_eq!(edited(&meta(json!(fields))), by("kubectl", "2026-03-01T02:05:00Z"));
        assert_eq!(edited(&meta(json!([written("helm", "2026-03-01T02:09:00Z", "f:template")]))), None);
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
