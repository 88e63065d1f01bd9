//! Gauges that show the state: read from it every few seconds, between two batches of the engine.

use crate::{
    engine::EngineHandle,
    model::mode::Mode,
    telemetry::{
        labels::{IncidentState, Receiver, Restraint},
        metrics::Metrics,
    },
};
use std::{collections::BTreeMap, time::Duration};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(2);

/// Reads until `stop`. An engine that does not answer leaves the heartbeat as it was: that is what it is for.
pub async fn run(engine: EngineHandle, metrics: Metrics, stop: CancellationToken) {
    loop {
        let seen = engine
            .read(|seen| {
                let paused = seen.state.paused().is_some();
                let settling = seen.state.settling_until().is_some_and(|until| until > seen.now);
                let shadow = seen.policy.spec.mode == Mode::Shadow;
                (seen.now, seen.state.counts(), paused, settling, shadow)
            })
            .await;
        if let Ok((now, counts, paused, settling, shadow)) = seen {
            let health = engine.health();
            metrics.engine_alive(now);
            if !health.journal_down {
                metrics.journal_opened(health.seq);
            }
            let mut incidents: BTreeMap<(String, IncidentState), usize> = BTreeMap::new();
            for ((severity, state), count) in counts.incidents {
                let state = match state {
                    "open" => IncidentState::Open,
                    "monitoring" => IncidentState::Monitoring,
                    _ => continue,
                };
                incidents.insert((severity, state), usize::try_from(count).unwrap_or(usize::MAX));
            }
            metrics.set_incidents(&incidents);
            metrics.set_approvals_waiting(usize::try_from(counts.asking).unwrap_or(usize::MAX));
            metrics.set_leases_active(usize::try_from(counts.leases).unwrap_or(usize::MAX));
            metrics.set_letters_owed(Receiver::Slack, usize::try_from(counts.letters_owed).unwrap_or(usize::MAX));
            metrics.set_oldest_letter(counts.oldest_letter.map(|wanted| now - wanted));
            let flagged = engine.pause_flag().is_set();
            let restraints = [
                (paused || flagged, Restraint::Paused),
                (settling, Restraint::Settling),
                (shadow, Restraint::Shadow),
                (health.journal_down, Restraint::Journal),
            ];
            let restraints: Vec<Restraint> = restraints.into_iter().filter(|(on, _)| *on).map(|(_, why)| why).collect();
            metrics.set_restraints(&restraints);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
