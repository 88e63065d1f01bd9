//! Building, starting and stopping the daemon: the only place that sees every part.

pub mod policy;
pub mod world;

use crate::{config::Settings, model::problem::Problem};

/// Runs the daemon until it is told to stop. `problems`: the settings' warnings, to be told once there is a log.
pub async fn serve(_settings: Settings, problems: Vec<Problem>) -> anyhow::Result<()> {
    for problem in problems {
        tracing::warn!("{problem}");
    }
    anyhow::bail!("this build has no daemon")
}
