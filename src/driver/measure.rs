//! Measuring a step's effect: the target, the alerts, the alerting rule and the query, each with its own answer.
//!
//! Only measurements that could change the verdict are worth deciding; the engine drops the others without a trace.

use super::{Context, observe::ASK_WITHIN};
use crate::{
    decide::work::Measure,
    model::{
        input::Input,
        observation::{QueryReading, Reading},
        time::Span,
    },
};
use std::time::Duration;

/// Between two measurements of one step.
pub(super) const PACE: Span = Span::seconds(5);
const TARGET_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn measure(context: &Context, work: &Measure) -> Input {
    let world = &context.world;
    let target = world.target(&work.plan, &work.before, TARGET_WITHIN).await;
    let rule = world.rules(&work.rules, ASK_WITHIN).await;
    let query = match &work.query {
        Some(query) => world.query(query, ASK_WITHIN).await,
        None => QueryReading::NotAsked,
    };
    let firing = world.firing(&work.alerts, context.now(), ASK_WITHIN).await;
    Input::Measured { step: work.step, reading: Reading { at: context.now(), target, firing, rule, query } }
}
