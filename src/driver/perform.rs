//! The one place that lets an action write: an intent, checked for the last time, performed once, awaited to its end.

use super::Context;
use crate::{
    decide::work::Intent,
    model::{
        id::StepId,
        input::{Input, Op},
        observation::Outcome,
        plan::Plan,
        time::Micros,
    },
};
use std::time::Duration;

const READ_BACK_WITHIN: Duration = Duration::from_secs(10);

/// What the last look before the write says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LastLook {
    Go(Duration),
    /// Certainly not called, and never will be.
    NotNow(&'static str),
    /// Another leadership began it: it may have called. Its outcome is read back, not repeated.
    NotOurs,
}

pub(super) fn last_look(intent: &Intent, epoch: u64, paused: bool, now: Micros) -> LastLook {
    if intent.epoch() != epoch {
        return LastLook::NotOurs;
    }
    if paused && !intent.by_person() {
        return LastLook::NotNow("paused before the call");
    }
    if now >= intent.perform_by() {
        return LastLook::NotNow("its time to act had passed before the call");
    }
    LastLook::Go((intent.perform_by() - now).to_std())
}

/// None: nothing was done here, and what another leadership did is read back later.
pub(super) async fn perform(context: &Context, intent: &Intent) -> Option<Input> {
    let paused = context.engine.pause_flag().is_set();
    let epoch = context.engine.published().epoch();
    let outcome = match last_look(intent, epoch, paused, context.now()) {
        LastLook::NotOurs => return None,
        LastLook::NotNow(why) => Outcome::NotApplied { why: why.to_owned(), changed_since: false },
        LastLook::Go(within) => context.world.apply(intent.plan(), within).await,
    };
    Some(Input::Performed { step: intent.step(), op: Op::Apply, outcome })
}

pub(super) async fn read_back(context: &Context, step: StepId, plan: &Plan) -> Input {
    let outcome = context.world.read_back(plan, READ_BACK_WITHIN).await;
    Input::Performed { step, op: Op::ReadBack, outcome }
}
