//! Evidence for people: collected, stored outside the chain, named by its digest. It never decides and never blocks.

use super::Context;
use crate::model::{id::IncidentId, input::Input, rung::Collector};
use std::time::Duration;

pub(super) const GATHER_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn gather(context: &Context, incident: IncidentId, collector: &Collector, within: Duration) -> Input {
    let result = context.world.gather(collector, context.now(), within).await;
    Input::Gathered { incident, collector: collector.collect.clone(), target: collector.target.key().0, result }
}
