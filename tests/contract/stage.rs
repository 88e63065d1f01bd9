//! What an action is done to, ready to have it done again and again; and the judge's word on what was done.

use crate::{kubernetes::Cluster, postgres::Database, support::failing::Failing};
use nightshift::model::{alert::Labels, plan::Plan};
use std::sync::Arc;

/// One action's target on its real peer, behind a proxy.
pub enum Stage {
    Cluster(Box<Cluster>),
    Database(Box<Database>),
    /// `noop` has no peer, and nobody to ask.
    Nothing(Arc<Failing>),
}

/// A window as short as may be.
pub const MEASURED_SOON: &str = "{settle: 1s, resolved_within: 5s}";

/// What the daemon is told of it.
pub struct Written {
    /// Lines of nightshift.yaml.
    pub settings: String,
    /// The target `it`, as rules write it.
    pub target: String,
    /// The action's `with`.
    pub with: &'static str,
    pub verify: &'static str,
}

impl Stage {
    /// `None`: tests with peers are left out.
    pub async fn of(action: &str, test: &str) -> Option<Stage> {
        if crate::support::hermetic() {
            return None;
        }
        Some(match action.split_once('/') {
            Some(("kubernetes", _)) => Stage::Cluster(Box::new(Cluster::set(action, test).await)),
            Some(("postgres", _)) => Stage::Database(Box::new(Database::set(action).await)),
            _ => Stage::Nothing(Arc::default()),
        })
    }

    pub fn written(&self, folder: &std::path::Path) -> Written {
        match self {
            Stage::Cluster(cluster) => cluster.written(),
            Stage::Database(database) => database.written(folder),
            Stage::Nothing(_) => {
                Written { settings: String::new(), target: "{noop: {}}".to_owned(), with: "{}", verify: MEASURED_SOON }
            }
        }
    }

    /// Waits until the action has something to do, and what was done before has come to rest; the alert's labels that
    /// choose. The judge counts from here.
    pub async fn ready(&mut self) -> Labels {
        match self {
            Stage::Cluster(cluster) => cluster.ready().await,
            Stage::Database(database) => database.ready().await,
            Stage::Nothing(_) => Labels::new(),
        }
    }

    /// Says which call fails.
    pub fn failing(&self) -> &Arc<Failing> {
        match self {
            Stage::Cluster(cluster) => cluster.failing(),
            Stage::Database(database) => database.failing(),
            Stage::Nothing(failing) => failing,
        }
    }

    /// How often nightshift changed something since it was ready. Panics where one thing was done twice.
    pub async fn done(&self) -> usize {
        match self {
            Stage::Cluster(cluster) => cluster.done().await,
            Stage::Database(database) => database.done().await,
            Stage::Nothing(_) => 0,
        }
    }

    /// How much that is when a plan is done in full.
    pub fn in_full(&self, plan: &Plan) -> usize {
        match self {
            Stage::Cluster(_) => 1,
            Stage::Database(_) => plan.proposal.from["sessions"].as_array().unwrap().len(),
            Stage::Nothing(_) => 0,
        }
    }

    /// Waits until what was done is to be seen in full.
    pub async fn rests(&self) {
        if let Stage::Cluster(cluster) = self {
            cluster.rests().await;
        }
    }

    /// What a second write would change: generations, endpoints, pods, sessions.
    pub async fn state(&self) -> String {
        match self {
            Stage::Cluster(cluster) => cluster.state().await,
            Stage::Database(database) => database.state().await,
            Stage::Nothing(_) => String::new(),
        }
    }

    /// What a way back leads to.
    pub async fn essence(&self) -> String {
        match self {
            Stage::Cluster(cluster) => cluster.essence().await,
            Stage::Database(_) | Stage::Nothing(_) => String::new(),
        }
    }
}
