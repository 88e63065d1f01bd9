//! A write of a value that somebody may put back: a number of replicas, a selector.
//!
//! That the value is still what the plan found proves nothing then: a request that a proxy sends once more, after somebody
//! put the value back, would find it so again. So each request rests on the version of the object too, as it was read a moment
//! before, and changes it: it can be done once. What is written beside that value (a status, above all) moves the version as
//! well, so it is looked at again where only that happened. Each request before was refused, which is to say not done.

use super::{NotSent, last_look, outcome};
use crate::{
    model::observation::Outcome,
    peer::kubernetes::{Class, Problem},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// So often one plan is sent at most.
const TRIES: u32 = 3;

/// What a look before a write finds.
pub enum Look {
    /// Of the object, whose value is what the plan found.
    AsPlanned { version: String },
    /// The value is what the plan wants, already.
    AsWanted { why: String },
}

/// Looks, and sends the JSON Patch where all is as planned.
pub async fn write<L, S>(
    ops: &Value,
    within: Duration,
    look: impl Fn(Instant) -> L,
    send: impl Fn(Value) -> S,
) -> Outcome
where
    L: Future<Output = Result<Look, NotSent>>,
    S: Future<Output = Result<(), Problem>>,
{
    let until = last_look(within);
    let mut refused = None;
    for _ in 0..TRIES {
        let version = match (look(until).await, refused) {
            (Ok(Look::AsPlanned { version }), _) if !version.is_empty() => version,
            (Ok(Look::AsPlanned { .. }), _) => {
                return Outcome::NotApplied { why: "it came without a version".to_owned(), changed_since: false };
            }
            (Ok(Look::AsWanted { why }), None) => return Outcome::NotApplied { why, changed_since: true },
            // Refused, and done: perhaps by the same request, which was sent twice.
            (Ok(Look::AsWanted { why }), Some(_)) => return Outcome::Unknown { why },
            (Err(NotSent { why, changed_since }), None) => return Outcome::NotApplied { why, changed_since },
            (Err(_), Some(problem)) => return outcome(Err(problem)),
        };
        match send(resting_on(ops, &version)).await {
            Err(problem) if matches!(problem.class, Class::Conflict | Class::TestFailed) => refused = Some(problem),
            answer => return outcome(answer),
        }
    }
    match (look(until).await, refused) {
        (Ok(Look::AsWanted { why }), _) => Outcome::Unknown { why },
        (_, Some(problem)) => outcome(Err(problem)),
        (_, None) => Outcome::NotApplied { why: "it was not sent".to_owned(), changed_since: false },
    }
}

/// The patch with a `test` of the version before all else.
fn resting_on(ops: &Value, version: &str) -> Value {
    let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
    Value::Array(std::iter::once(test).chain(ops.as_array().into_iter().flatten().cloned()).collect())
}
