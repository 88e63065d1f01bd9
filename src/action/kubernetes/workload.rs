//! A Deployment, StatefulSet or DaemonSet as far as actions read it, and the facts it gives.

use super::{
    ownership::{self, ManagedField},
    rollout::{self, Rollout},
    template::Template,
};
use crate::{
    model::{
        observation::{Facts, Runs},
        target::{Kind, Object},
        time::Micros,
    },
    peer::{
        kubernetes::{Class, Cluster, Place, Resource},
        selector::Selector,
    },
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// nightshift's own Deployment, which nothing may act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Itself {
    pub namespace: String,
    pub deployment: String,
}

impl Itself {
    #[must_use]
    pub fn is(&self, named: Named<'_>) -> bool {
        named.kind == Kind::Deployment && self.namespace == named.namespace && self.deployment == named.name
    }
}

/// A target's object, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    pub namespace: &'a str,
    pub kind: Kind,
    pub name: &'a str,
    pub selector: Option<&'a str>,
}

impl<'a> Named<'a> {
    pub fn of(object: &'a Object) -> Result<Named<'a>, String> {
        match object {
            Object::Workload { namespace, kind, name, selector } => {
                Ok(Named { namespace, kind: *kind, name, selector: selector.as_deref() })
            }
            Object::BlueGreen { .. } => Err("the target is a Service, not a workload".to_owned()),
            Object::Database { .. } | Object::Nothing => Err("the target is not a Kubernetes workload".to_owned()),
        }
    }

    /// By its name alone, for what was done to it already: that it left its set since must not keep us from reading it
    /// or putting it back.
    #[must_use]
    pub fn by_name(self) -> Named<'a> {
        Named { selector: None, ..self }
    }

    #[must_use]
    pub fn place(&self) -> Place<'a> {
        Place::one(Resource::Workload(self.kind), self.namespace, self.name)
    }

    /// `Deployment production/web`.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{} {}/{}", self.kind.word(), self.namespace, self.name)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Workload {
    pub metadata: Meta,
    pub spec: Spec,
    pub status: Status,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub resource_version: String,
    pub annotations: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub owner_references: Vec<Owner>,
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
    pub managed_fields: Vec<ManagedField>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Owner {
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub controller: bool,
}

impl Meta {
    /// Made and looked after by the object with that uid: names are used again, uids are not.
    #[must_use]
    pub fn is_controlled_by(&self, uid: &str) -> bool {
        !uid.is_empty() && self.owner_references.iter().any(|owner| owner.controller && owner.uid == uid)
    }

    /// When it was made, in whole seconds.
    pub fn created(&self) -> Result<Micros, String> {
        let text = self.creation_timestamp.as_deref().unwrap_or_default();
        Micros::parse(text).map_err(|_| format!("{} came without the time when it was made", self.name))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    pub replicas: Option<u32>,
    pub paused: bool,
    /// Of its pods, and of the revisions that it keeps.
    pub selector: Option<Selector>,
    /// Of a Deployment.
    pub strategy: Strategy,
    /// Of a StatefulSet or DaemonSet.
    pub update_strategy: Strategy,
    /// The pod template as it came: what is put back must be all of it.
    pub template: Value,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Strategy {
    #[serde(rename = "type")]
    pub kind: String,
    pub rolling_update: Option<RollingUpdate>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RollingUpdate {
    /// A number, or a percentage of the replicas.
    pub max_unavailable: Option<Value>,
    pub max_surge: Option<Value>,
    pub partition: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    pub observed_generation: i64,
    pub replicas: u32,
    pub updated_replicas: u32,
    pub ready_replicas: u32,
    pub available_replicas: u32,
    pub current_revision: String,
    pub update_revision: String,
    pub desired_number_scheduled: u32,
    pub updated_number_scheduled: u32,
    pub number_available: u32,
    pub number_ready: u32,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

impl Workload {
    /// Reads it. A member of a set must be listed by the set's selector: a label that picks anything else picks nothing.
    pub async fn read(cluster: &Cluster, named: Named<'_>, until: Instant) -> Result<Workload, String> {
        Workload::find(cluster, named, until).await?
    }

    /// The same, for whom "there is none" is an answer: that is the inner error, and the outer one is not to have been told.
    pub async fn find(cluster: &Cluster, named: Named<'_>, until: Instant) -> Result<Result<Workload, String>, String> {
        let workload: Workload = match named.selector {
            None => match cluster.get(named.place(), until).await {
                Ok(workload) => workload,
                Err(problem) if problem.class == Class::NotFound => {
                    return Ok(Err(format!("{} does not exist", named.words())));
                }
                Err(problem) => return Err(problem.says),
            },
            Some(selector) => {
                let field = format!("metadata.name={}", named.name);
                let place = Place { name: None, ..named.place() };
                let query = [("labelSelector", selector), ("fieldSelector", field.as_str())];
                let listed: Vec<Workload> = cluster.list(place, &query, until).await?;
                match listed.into_iter().find(|workload| workload.metadata.name == named.name) {
                    Some(workload) => workload,
                    None => {
                        let words = named.words();
                        return Ok(Err(format!("the label picks {words}, which the set does not list ({selector})")));
                    }
                }
            }
        };
        if workload.metadata.uid.is_empty() {
            return Err(format!("{} came without a uid", named.words()));
        }
        if workload.metadata.deletion_timestamp.is_some() {
            return Ok(Err(format!("{} is being deleted", named.words())));
        }
        Ok(Ok(workload))
    }

    /// How many members the set has that it is picked from. Where that can't be learned nobody is kept waiting by it.
    pub async fn members(cluster: &Cluster, named: Named<'_>, until: Instant) -> Option<u32> {
        let place = Place { name: None, ..named.place() };
        cluster.count(place, named.selector?, until).await.ok()
    }

    /// Without one it selects nothing, never everything.
    pub fn selector(&self) -> Result<&Selector, String> {
        self.spec.selector.as_ref().ok_or_else(|| "it has no selector".to_owned())
    }

    /// Pods that are ready, of whatever kind.
    #[must_use]
    pub fn ready(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Deployment | Kind::StatefulSet => self.status.ready_replicas,
            Kind::DaemonSet => self.status.number_ready,
        }
    }

    /// `spec.replicas`: the API server sets 1 where it is left out. None for a DaemonSet.
    #[must_use]
    pub fn replicas(&self, kind: Kind) -> Option<u32> {
        match kind {
            Kind::Deployment | Kind::StatefulSet => Some(self.spec.replicas.unwrap_or(1)),
            Kind::DaemonSet => None,
        }
    }

    /// One annotation of the pod template.
    #[must_use]
    pub fn template_annotation(&self, name: &str) -> Option<&str> {
        self.spec.template.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    /// Without them a JSON Patch has to make the map first.
    #[must_use]
    pub fn has_template_annotations(&self) -> bool {
        self.spec.template.pointer("/metadata/annotations").is_some_and(Value::is_object)
    }

    /// Its version, and whether all of it is there. None: it has no template that can be read.
    fn runs(&self, kind: Kind) -> Option<Runs> {
        let version = Template::of(&self.spec.template)?.version();
        let wanted = self.replicas(kind).unwrap_or(self.status.desired_number_scheduled);
        let complete = rollout::status(kind, self) == Rollout::Complete && rollout::held_back(kind, self).is_none();
        Some(Runs { version, in_full: complete && wanted > 0 && self.ready(kind) >= wanted })
    }

    #[must_use]
    pub fn facts(&self, named: Named<'_>, itself: Option<&Itself>, now: Micros) -> Facts {
        Facts {
            observed_at: now,
            uid: self.metadata.uid.clone(),
            generation: self.metadata.generation,
            replicas: self.replicas(named.kind),
            ready: self.ready(named.kind),
            paused: self.spec.paused,
            rollout: rollout::running(named.kind, self),
            owner: None,
            is_itself: itself.is_some_and(|itself| itself.is(named)),
            members: None,
            disruption: None,
            edited: ownership::edited(&self.metadata),
            rolls_back: None,
            runs: self.runs(named.kind),
        }
    }
}
