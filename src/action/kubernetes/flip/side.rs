//! One colour's Deployment and the pods that its selector would send traffic to.

use super::colours::{Colours, words};
use crate::{
    action::kubernetes::{
        pods::{self, Pod},
        revisions::{Revision, Revisions},
        rollout::{self, Rollout},
        template::Template,
        workload::Workload,
    },
    model::{
        observation::{Forbidden, RollsBack},
        target::Kind,
        time::Micros,
    },
    peer::kubernetes::{Cluster, Place, Resource},
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

#[derive(Debug, Clone)]
pub struct Side {
    pub color: String,
    /// `green (Deployment production/web-green)`.
    words: String,
    pub workload: Workload,
    /// Ready pods that are the Deployment's own by uid and that the Service's selector would choose.
    pub ready: u32,
}

/// Why traffic does not go to a colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum No {
    /// What was seen of it says so.
    Answered(String),
    /// Not all of it was seen.
    Unread(String),
}

impl From<String> for No {
    fn from(problem: String) -> No {
        No::Unread(problem)
    }
}

impl No {
    /// For whom either is as bad.
    pub fn says(self) -> String {
        match self {
            No::Answered(why) | No::Unread(why) => why,
        }
    }
}

impl Side {
    /// `selector`: the Service's, with this colour in it.
    pub async fn read(
        cluster: &Cluster,
        colours: Colours<'_>,
        color: &str,
        selector: &BTreeMap<String, String>,
        until: Instant,
    ) -> Result<Side, No> {
        let deployment = colours.deployment(color);
        let named = colours.named(&deployment);
        let workload = Workload::find(cluster, named, until).await?.map_err(No::Answered)?;
        let (owned, chosen) =
            tokio::join!(pods::owned(cluster, named, &workload, until), chosen_pods(cluster, colours, selector, until));
        let chosen: BTreeSet<String> = chosen?.into_iter().map(|pod| pod.metadata.uid).collect();
        let ready = owned?.iter().filter(|pod| pod.is_ready() && chosen.contains(&pod.metadata.uid)).count();
        Ok(Side {
            color: color.to_owned(),
            words: format!("{color} ({})", named.words()),
            workload,
            ready: u32::try_from(ready).unwrap_or(u32::MAX),
        })
    }

    /// Why traffic does not go there: it must be there in full, and as much of it ready as is wanted.
    pub fn refuses(&self, wanted: u32) -> Option<String> {
        let Side { words, workload, ready, .. } = self;
        if workload.replicas(Kind::Deployment) == Some(0) {
            return Some(format!("{words} has 0 replicas: it is switched off"));
        }
        if workload.spec.paused {
            return Some(format!("the rollout of {words} is paused"));
        }
        match rollout::status(Kind::Deployment, workload) {
            Rollout::Complete => {}
            Rollout::Unfinished(says) | Rollout::Failed(says) | Rollout::NotRolling(says) => {
                return Some(format!("{words} is not rolled out: {says}"));
            }
        }
        (*ready < wanted.max(1)).then(|| format!("{words} has {ready} ready pods, {} are wanted", wanted.max(1)))
    }

    /// What guards need to know of leaving it for the other colour: since when it runs what it runs, and whether that may
    /// be left at all. All that came to it since the other colour's version counts, and all since `recent`: a migration
    /// went with any of them. None: the other colour is not there, and everything counts.
    pub async fn rolls_back(
        &self,
        cluster: &Cluster,
        colours: Colours<'_>,
        other: Option<&Side>,
        recent: Micros,
        until: Instant,
    ) -> Result<RollsBack, String> {
        let (mine, theirs) = tokio::join!(self.revisions(cluster, colours, until), async {
            match other {
                Some(other) => other.revisions(cluster, colours, until).await.map(Some),
                None => Ok(None),
            }
        });
        let ((revisions, current), theirs) = (mine?, theirs?);
        let other_since =
            theirs.as_ref().and_then(|(revisions, current)| Some(revisions.deployed_at(current.as_ref()?)));
        let current = current.ok_or_else(|| format!("since when {} runs what it runs is not known", self.words))?;
        let since = other_since.map_or(Micros(i64::MIN), |since| since.min(recent));
        let left = revisions.left_behind(&current, i64::MIN);
        let mut left = left.filter(|one| one.number == current.number || one.created > since);
        let forbidden = left.find_map(|one| {
            let why = one.template.no_rollback()?.to_owned();
            Some(Forbidden { revision: one.number, why })
        });
        Ok(RollsBack { revision: current.number, deployed_at: revisions.deployed_at(&current), forbidden })
    }

    /// Its Deployment's revisions, and the one of what it runs; None: its controller has made none yet.
    async fn revisions(
        &self,
        cluster: &Cluster,
        colours: Colours<'_>,
        until: Instant,
    ) -> Result<(Revisions, Option<Revision>), String> {
        let deployment = colours.deployment(&self.color);
        let revisions = Revisions::read(cluster, colours.named(&deployment), &self.workload, until).await?;
        let template = Template::of(&self.workload.spec.template);
        let current = template.as_ref().and_then(|template| revisions.of_template(template)).cloned();
        Ok((revisions, current))
    }
}

/// The pods that a selector chooses, whoever owns them.
pub async fn chosen_pods(
    cluster: &Cluster,
    colours: Colours<'_>,
    selector: &BTreeMap<String, String>,
    until: Instant,
) -> Result<Vec<Pod>, String> {
    let query = words(selector);
    let place = Place::all(Resource::Pod, colours.namespace);
    Ok(cluster.list(place, &[("labelSelector", query.as_str())], until).await?)
}
