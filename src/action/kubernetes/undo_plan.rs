//! What a plan of `kubernetes/undo` says, and the one request that does it.
//!
//! A plan names the revision with its uid, and the hash of its template: the template itself is read again when it is
//! written, because it may hold secrets that no journal may have.

use super::{
    revisions::{CHANGE_CAUSE, Revision},
    strategy::certainly_ready,
    template::Template,
    workload::{Named, Workload},
};
use crate::model::{
    observation::{Facts, Proposed},
    plan::{Effect, Proposal},
    target::Kind,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// [`CHANGE_CAUSE`] in a JSON Patch's path.
const CHANGE_CAUSE_IN_PATH: &str = "/metadata/annotations/kubernetes.io~1change-cause";
/// Images named in a summary; the rest is counted.
const IMAGES_SHOWN: usize = 2;

/// A plan's `from`, `to` and `undo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// When the plan was made: it changes when it is rolled back to.
    pub revision: i64,
    /// Of the ReplicaSet or ControllerRevision.
    pub name: String,
    pub uid: String,
    /// SHA-256 of the template.
    pub template: String,
    /// The same without the annotation of a restart.
    pub version: String,
}

/// Travels with the write, beside the generation that the write itself reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Precondition {
    uid: String,
    /// The template that is replaced.
    template: String,
}

impl Version {
    pub fn of(revision: &Revision) -> Version {
        Version {
            revision: revision.number,
            name: revision.name.clone(),
            uid: revision.uid.clone(),
            template: revision.template.hash(),
            version: revision.template.version(),
        }
    }

    pub fn read(value: &Value) -> Result<Version, String> {
        Version::deserialize(value).map_err(|_| format!("`{value}` is not a revision of kubernetes/undo"))
    }
}

/// From `current` to `wanted`.
pub fn made(
    workload: &Workload,
    facts: &Facts,
    named: Named<'_>,
    current: &Revision,
    wanted: &Revision,
    is_undo: bool,
) -> Proposed {
    let (from, to) = (Version::of(current), Version::of(wanted));
    let precondition = Precondition { uid: facts.uid.clone(), template: from.template.clone() };
    Proposed::Made(Box::new(Proposal {
        uid: facts.uid.clone(),
        generation: facts.generation,
        // What an undo did is not undone.
        undo: if is_undo { Value::Null } else { json!(from) },
        from: json!(from),
        to: json!(to),
        precondition: json!(precondition),
        effect: Effect {
            replicas: None,
            min_ready_after: Some(certainly_ready(workload, named.kind)),
            touches: vec!["spec.template".to_owned()],
            destroys: true,
            runs: Some(to.version),
        },
        summary: format!("revision {} → {}{}", from.revision, to.revision, images(&current.template, &wanted.template)),
        undo_summary: (!is_undo).then(|| format!("back to revision {}", from.revision)),
    }))
}

/// The images that differ: ` (app: registry/app:2 → registry/app:1)`.
fn images(from: &Template, to: &Template) -> String {
    let before = from.images();
    let differ: Vec<String> = to
        .images()
        .into_iter()
        .filter_map(|(name, image)| {
            let (_, was) = before.iter().find(|(same, _)| *same == name)?;
            (*was != image).then(|| format!("{name}: {was} → {image}"))
        })
        .collect();
    let shown = differ.get(..IMAGES_SHOWN).unwrap_or(&differ).join(", ");
    match differ.len().saturating_sub(IMAGES_SHOWN) {
        _ if differ.is_empty() => String::new(),
        0 => format!(" ({shown})"),
        more => format!(" ({shown}, and {more} more)"),
    }
}

/// The write: `test`s of the uid and of the generation whose template was compared with the plan's, then the template.
/// `Err`: what the plan rests on is no longer so.
pub fn patch(workload: &Workload, named: Named<'_>, proposal: &Proposal, wanted: &Revision) -> Result<Value, String> {
    let (from, to) = (Version::read(&proposal.from)?, Version::read(&proposal.to)?);
    let precondition = Precondition::deserialize(&proposal.precondition)
        .map_err(|error| format!("the plan's precondition: {error}"))?;
    if workload.metadata.uid != precondition.uid {
        return Err(format!("{} was deleted and made anew", named.words()));
    }
    if workload.spec.paused {
        return Err("its rollout is paused now".to_owned());
    }
    let template = Template::of(&workload.spec.template).ok_or("it has no pod template")?;
    if template.hash() != precondition.template {
        return Err(format!("its template is no longer that of revision {}", from.revision));
    }
    if wanted.template.hash() != to.template {
        return Err(format!("revision {} has another template than the plan found", to.revision));
    }
    let mut ops = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": precondition.uid}),
        json!({"op": "test", "path": "/metadata/generation", "value": workload.metadata.generation}),
        json!({"op": "replace", "path": "/spec/template", "value": wanted.template.value()}),
    ];
    if named.kind == Kind::Deployment {
        ops.extend(change_cause(workload, wanted));
    }
    Ok(Value::Array(ops))
}

/// Without it `kubectl rollout history` would give the revision the reason of the one that it replaces. No other
/// annotation is touched: kubectl's own undo takes away what was added since.
fn change_cause(workload: &Workload, wanted: &Revision) -> Option<Value> {
    let annotations = &workload.metadata.annotations;
    match (annotations.get(CHANGE_CAUSE), &wanted.change_cause) {
        (now, cause) if now == cause.as_ref() => None,
        (_, Some(cause)) if annotations.is_empty() => {
            Some(json!({"op": "add", "path": "/metadata/annotations", "value": {CHANGE_CAUSE: cause}}))
        }
        (_, Some(cause)) => Some(json!({"op": "add", "path": CHANGE_CAUSE_IN_PATH, "value": cause})),
        (_, None) => Some(json!({"op": "remove", "path": CHANGE_CAUSE_IN_PATH})),
    }
}
