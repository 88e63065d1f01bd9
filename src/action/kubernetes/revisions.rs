//! The revisions that a workload keeps: ReplicaSets of a Deployment, ControllerRevisions of the others.
//!
//! Only what the workload owns by its uid counts. A revision's number changes when it is rolled back to; its name does
//! not, so plans name it by both. How well a revision ran once is not said here: the cluster keeps no record of it.

use super::{
    template::Template,
    workload::{Meta, Named, Workload},
};
use crate::{
    model::{
        target::Kind,
        time::{Micros, Span},
    },
    peer::kubernetes::{Cluster, Place, Resource},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

/// The annotation with a ReplicaSet's number.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// The numbers that it had before, `2,4`: each time that it was rolled back to, it got a new one.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// What `kubectl rollout history` shows.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    pub number: i64,
    /// Its numbers before, rising; only a Deployment's are kept.
    pub earlier_numbers: Vec<i64>,
    pub name: String,
    pub uid: String,
    pub created: Micros,
    pub template: Template,
    pub change_cause: Option<String>,
    /// It has pods now, and all of them are available. Only a ReplicaSet says so.
    pub is_available: bool,
}

/// A workload's revisions, oldest number first.
#[derive(Debug, Clone, PartialEq)]
pub struct Revisions(Vec<Revision>);

#[derive(Deserialize)]
struct ReplicaSet {
    metadata: Meta,
    spec: ReplicaSetSpec,
    #[serde(default)]
    status: ReplicaSetStatus,
}

#[derive(Deserialize)]
struct ReplicaSetSpec {
    template: Value,
    replicas: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ReplicaSetStatus {
    available_replicas: u32,
}

#[derive(Deserialize)]
struct ControllerRevision {
    metadata: Meta,
    revision: i64,
    #[serde(default)]
    data: Value,
}

impl Revisions {
    /// Asks for all that the workload owns.
    pub async fn read(
        cluster: &Cluster,
        named: Named<'_>,
        workload: &Workload,
        until: Instant,
    ) -> Result<Revisions, String> {
        let selector = workload.selector()?.words()?;
        let query = [("labelSelector", selector.as_str())];
        let uid = workload.metadata.uid.as_str();
        let mut revisions = match named.kind {
            Kind::Deployment => {
                let place = Place::all(Resource::ReplicaSet, named.namespace);
                let listed: Vec<ReplicaSet> = cluster.list(place, &query, until).await?;
                let owned = listed.into_iter().filter(|one| one.metadata.is_controlled_by(uid));
                // One that its controller has not numbered yet is not a revision yet.
                owned.filter_map(|one| of_replica_set(one).transpose()).collect::<Result<Vec<_>, String>>()?
            }
            Kind::StatefulSet | Kind::DaemonSet => {
                let place = Place::all(Resource::ControllerRevision, named.namespace);
                let listed: Vec<ControllerRevision> = cluster.list(place, &query, until).await?;
                let owned = listed.into_iter().filter(|one| one.metadata.is_controlled_by(uid));
                owned.map(of_controller_revision).collect::<Result<Vec<_>, String>>()?
            }
        };
        revisions.sort_by_key(|one| one.number);
        Ok(Revisions(revisions))
    }

    pub fn numbers(&self) -> Vec<i64> {
        self.0.iter().map(|one| one.number).collect()
    }

    pub fn by_number(&self, number: i64) -> Option<&Revision> {
        self.0.iter().find(|one| one.number == number)
    }

    /// The very object, not a namesake.
    pub fn by_name(&self, name: &str, uid: &str) -> Option<&Revision> {
        self.0.iter().find(|one| one.name == name && one.uid == uid)
    }

    /// The one of this template; None: its controller has made none yet.
    pub fn of_template(&self, template: &Template) -> Option<&Revision> {
        self.0.iter().rev().find(|one| one.template == *template)
    }

    /// Those before `current`, newest first.
    pub fn before<'a>(&'a self, current: &'a Revision) -> impl Iterator<Item = &'a Revision> {
        self.0.iter().rev().filter(|one| one.number < current.number)
    }

    /// What is left behind when `current` is rolled back to `wanted`, newest first: all in between went with it.
    pub fn left_behind<'a>(&'a self, current: &'a Revision, wanted: i64) -> impl Iterator<Item = &'a Revision> {
        self.0.iter().rev().filter(move |one| wanted < one.number && one.number <= current.number)
    }

    /// When what `current` runs came first, whatever restarts made of it since.
    pub fn deployed_at(&self, current: &Revision) -> Micros {
        let version = current.template.version();
        let same = self.0.iter().filter(|one| one.template.version() == version);
        same.map(|one| one.created).min().unwrap_or(current.created)
    }

    /// How long it certainly was the newest one. None: the cluster does not tell.
    ///
    /// It became the newest when it was made, and stopped when the next one was. When something was rolled back to, or for
    /// how long, is recorded nowhere.
    pub fn stood(&self, one: &Revision) -> Option<Span> {
        // Without kept numbers, being older than something with a lower number betrays that it was rolled back to.
        let first = one.earlier_numbers.first().copied().unwrap_or(one.number);
        let began_out_of_order = self.0.iter().any(|other| other.first_number() < first && other.created > one.created);
        if began_out_of_order {
            return None;
        }
        let mut next = self.0.iter().flat_map(|other| other.all_numbers().map(move |number| (number, other)));
        // Numbers count up by one: where one is missing, what came next is gone.
        let (number, next) = next.find(|(number, _)| *number == first + 1)?;
        let began_by_being_made = next.first_number() == number && next.created >= one.created;
        began_by_being_made.then(|| next.created - one.created)
    }
}

impl Revision {
    fn first_number(&self) -> i64 {
        self.earlier_numbers.first().copied().unwrap_or(self.number)
    }

    fn all_numbers(&self) -> impl Iterator<Item = i64> + '_ {
        self.earlier_numbers.iter().copied().chain([self.number])
    }
}

fn of_replica_set(one: ReplicaSet) -> Result<Option<Revision>, String> {
    let Some(number) = one.metadata.annotations.get(REVISION).and_then(|text| text.parse().ok()) else {
        return Ok(None);
    };
    let history = one.metadata.annotations.get(REVISION_HISTORY).map_or("", String::as_str);
    let mut earlier_numbers: Vec<i64> = history.split(',').filter_map(|text| text.trim().parse().ok()).collect();
    earlier_numbers.sort_unstable();
    Ok(Some(Revision {
        number,
        earlier_numbers,
        created: one.metadata.created()?,
        is_available: one.status.available_replicas > 0
            && one.spec.replicas.is_some_and(|wanted| one.status.available_replicas >= wanted),
        template: Template::of(&one.spec.template).ok_or_else(|| unreadable(&one.metadata.name))?,
        change_cause: one.metadata.annotations.get(CHANGE_CAUSE).cloned(),
        name: one.metadata.name,
        uid: one.metadata.uid,
    }))
}

fn of_controller_revision(one: ControllerRevision) -> Result<Revision, String> {
    let template = one.data.pointer("/spec/template").and_then(Template::of);
    Ok(Revision {
        number: one.revision,
        earlier_numbers: Vec::new(),
        created: one.metadata.created()?,
        template: template.ok_or_else(|| unreadable(&one.metadata.name))?,
        change_cause: None,
        is_available: false,
        name: one.metadata.name,
        uid: one.metadata.uid,
    })
}

fn unreadable(name: &str) -> String {
    format!("revision {name} keeps no pod template that can be read")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// A revision of an image, made so many minutes after the first. More numbers: it was rolled back to.
    pub fn revision(numbers: &[i64], image: &str, minute: i64) -> Revision {
        let (number, earlier) = numbers.split_last().unwrap();
        let template =
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image}]}});
        Revision {
            number: *number,
            earlier_numbers: earlier.to_vec(),
            name: format!("web-{image}"),
            uid: format!("uid-{image}"),
            created: Micros(0) + Span::minutes(minute),
            template: Template::of(&template).unwrap(),
            change_cause: None,
            is_available: false,
        }
    }

    pub fn revisions(mut all: Vec<Revision>) -> Revisions {
        all.sort_by_key(|one| one.number);
        Revisions(all)
    }

    /// The same with another restart.
    pub fn restarted(of: &Revision, number: i64, minute: i64) -> Revision {
        let mut template = of.template.value().clone();
        template["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": minute.to_string()});
        let name = format!("{}-restarted", of.name);
        Revision {
            number,
            name: name.clone(),
            uid: name,
            created: Micros(0) + Span::minutes(minute),
            template: Template::of(&template).unwrap(),
            ..of.clone()
        }
    }

    #[test]
    fn a_restart_makes_nothing_younger() {
        let bad = revision(&[2], "b", 10);
        let all = revisions(vec![revision(&[1], "a", 0), bad.clone(), restarted(&bad, 3, 500)]);
        assert_eq!(all.deployed_at(all.by_number(3).unwrap()), bad.created);
    }

    #[test]
    fn how_long_a_revision_stood_is_known_only_where_the_cluster_tells() {
        let stood = |all: &Revisions, number| all.stood(all.by_number(number).unwrap());
        let plain = revisions(vec![revision(&[1], "a", 0), revision(&[2], "b", 90), revision(&[3], "c", 100)]);
        assert_eq!(stood(&plain, 1), Some(Span::minutes(90)));
        assert_eq!(stood(&plain, 2), Some(Span::minutes(10)));
        assert_eq!(stood(&plain, 3), None, "it still stands");
        // a, b, back to a, c: a stood until b; how long b stood nobody knows.
        let back = revisions(vec![revision(&[1, 3], "a", 0), revision(&[2], "b", 90), revision(&[4], "c", 900)]);
        assert_eq!(stood(&back, 3), Some(Span::minutes(90)));
        assert_eq!(stood(&back, 2), None);
        // The same without kept numbers, as StatefulSets have it.
        let back = revisions(vec![revision(&[3], "a", 0), revision(&[2], "b", 90), revision(&[4], "c", 900)]);
        assert_eq!(stood(&back, 3), None);
        assert_eq!(stood(&back, 2), None);
        let gap = revisions(vec![revision(&[1], "a", 0), revision(&[3], "c", 900)]);
        assert_eq!(stood(&gap, 1), None, "what came after it is gone");
    }
}
