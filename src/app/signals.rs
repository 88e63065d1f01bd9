//! Signals: SIGTERM and SIGINT stop, SIGHUP reloads, SIGUSR1 pauses.

use super::reload::Reload;
use crate::{
    engine::EngineHandle,
    model::input::{Command, Input, Via},
};
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The handlers, taken before anything else starts: a signal that comes early is not the default's.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    pause: Signal,
}

impl Signals {
    /// Errors where the process may not handle signals.
    pub fn take() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            pause: signal(SignalKind::user_defined1())?,
        })
    }

    /// Runs until `stop`; cancels `ending` on SIGTERM or SIGINT.
    pub async fn run(
        mut self,
        engine: EngineHandle,
        reload: Arc<Reload>,
        ending: CancellationToken,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = self.terminate.recv() => {
                    tracing::info!("SIGTERM: stopping");
                    ending.cancel();
                }
                _ = self.interrupt.recv() => {
                    tracing::info!("SIGINT: stopping");
                    ending.cancel();
                }
                _ = self.hangup.recv() => {
                    let mut reloading = std::pin::pin!(reload.run("signal"));
                    loop {
                        tokio::select! {
                            biased;
                            // A pause never waits for a reload.
                            _ = self.pause.recv() => pause(&engine, "signal", Via::Signal, "SIGUSR1").await,
                            // The outcome is logged, journalled and a metric: there is nobody to answer.
                            _ = &mut reloading => break,
                        }
                    }
                }
                _ = self.pause.recv() => pause(&engine, "signal", Via::Signal, "SIGUSR1").await,
            }
        }
    }
}

/// Pauses at once, then journals it. `by` and `why` are what people read.
pub async fn pause(engine: &EngineHandle, by: &str, via: Via, why: &str) {
    engine.pause_flag().set();
    tracing::warn!(by, "paused: nothing acts until somebody resumes it");
    let command = Command::Pause { reason: why.to_owned() };
    if let Err(problem) = engine.command(Input::Command { by: by.to_owned(), via, command }).await {
        tracing::error!(?problem, "paused in this process, but the pause could not be journalled");
    }
}
