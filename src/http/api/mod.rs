//! The admin listener: health, metrics, and the API that CLI, page and scripts use.
//!
//! [`routes`] is the one table of what there is and which right each needs; [`answer`] what goes wrong, as JSON.
//! [`shapes`] are the bodies, [`read`] and [`mod@write`] make them, [`trace`] and [`list`] are their texts for people: the
//! same text in API and CLI, because the API sends it along.

pub mod answer;
pub mod list;
pub mod read;
pub mod routes;
pub mod shapes;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod write;

use crate::{
    engine::EngineHandle,
    http::{api_auth::ApiAuth, limits::InFlight, reloadable::Reloadable},
    journal,
    model::{problem::Problem, time::Micros},
    telemetry::{metrics::Metrics, notices::Notices, slack_socket::SocketBoard},
};
use serde::{Deserialize, Serialize};
use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};

/// Bytes of the API's bodies held at a time. Their own: webhooks in a storm must not keep a pause out.
pub const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// What a reload brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The policy's hash.
    pub policy: String,
    pub rules: usize,
    pub warnings: Vec<Problem>,
}

/// Reads rules, secrets and certificates anew, in the name of whom it is given.
pub type Reload =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<Reloaded, Vec<Problem>>> + Send>> + Send + Sync>;

/// What does not change while the process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub version: String,
    pub started_at: Micros,
    /// The holder of the leadership.
    pub replica: String,
    /// `SQLite nightshift.db`: never a URL, which may hold a password.
    pub journal: String,
    /// Where rules come from.
    pub rules: String,
    pub webhooks: String,
    pub admin: String,
    /// Peers that are configured: `alertmanager`, `kubernetes`, `prometheus`, `slack`.
    pub peers: Vec<String>,
}

/// Everything that the admin routes need.
#[derive(Clone)]
pub struct AdminState {
    pub engine: EngineHandle,
    pub journal: journal::Handle,
    pub metrics: Metrics,
    pub auth: Arc<Reloadable<ApiAuth>>,
    pub reload: Reload,
    pub pause_file: Option<PathBuf>,
    pub facts: Arc<Facts>,
    pub slack_socket: Option<SocketBoard>,
    pub notices: Notices,
    pub in_flight: InFlight,
}
