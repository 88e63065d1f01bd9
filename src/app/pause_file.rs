//! `pause_file`: acting stops when the file appears. It goes on by `resume`, once the file is gone.

use super::signals::pause;
use crate::{engine::EngineHandle, model::input::Via};
use std::{path::PathBuf, time::Duration};
use tokio_util::sync::CancellationToken;

/// The promise is one second, everywhere.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks for the file until `stop`. Works with everything else down: it needs the file system alone.
pub async fn watch(path: PathBuf, engine: EngineHandle, stop: CancellationToken) {
    let mut was_there = false;
    loop {
        // What cannot be looked at counts as there: in doubt nothing acts.
        let is_there = tokio::fs::try_exists(&path).await.unwrap_or(true);
        if is_there && !was_there {
            pause(&engine, "pause file", Via::File, &format!("{} is there", path.display())).await;
        }
        was_there = is_there;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
