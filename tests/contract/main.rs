//! What every action promises, asked of each of them on its real peer: the API server of the tests' control plane, a real
//! PostgreSQL.
//!
//! 1. Shadow, and what waits for an approval, writes nothing.
//! 2. Twice is once, also after a lost answer.
//! 3. Whichever call fails, and however: what came of it is recorded, and nothing is written twice.
//! 4. Before the first write the journal holds the plan with its way back; or says that there is none, and then what the
//!    action destroys was collected before.
//!
//! `promises` has them, once for all; `stage` and its neighbours set up what each action is done to; `night` is the real
//! engine and driver with the real actions, on a clock that runs ahead where nothing happens. The judges are the API
//! server's audit log, and the log of the database. An action that the daemon has and this table lacks fails
//! [`every_action_is_here`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: it fails loudly, its clock is the real one, and its clients are tasks of their own"
)]

#[path = "../support/mod.rs"]
mod support;

mod kubernetes;
mod night;
mod postgres;
mod promises;
mod stage;

use promises::Calls;
use support::failing::Failure;

/// The tests of each action, and the names of all.
macro_rules! actions {
    ($($module:ident: $action:literal,)*) => {
        const ACTIONS: &[&str] = &[$($action),*];

        $(mod $module {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn unapproved_writes_nothing() {
                promises::unapproved_writes_nothing($action).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn twice_is_once() {
                promises::twice_is_once($action).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_lost_answer_at_each_call_ends_in_a_recorded_outcome() {
                promises::failure_at_each_call($action, Failure::AnswerLost, Calls::UntilMeasured).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "minutes: every kind of failure at every call"]
            async fn every_failure_at_each_call_ends_in_a_recorded_outcome() {
                for failure in Failure::ALL {
                    promises::failure_at_each_call($action, failure, Calls::All).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn any_failure_of_the_write_ends_in_a_recorded_outcome() {
                promises::failure_of_the_write($action).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn the_way_back_is_in_the_journal_first() {
                promises::the_way_back_is_in_the_journal_first($action).await;
            }
        })*
    };
}

actions! {
    scale: "kubernetes/scale",
    restart: "kubernetes/restart",
    undo: "kubernetes/undo",
    flip: "kubernetes/flip",
    delete_pod: "kubernetes/delete_pod",
    kill_idle: "postgres/kill_idle",
    cancel_slow: "postgres/cancel_slow",
    noop: "noop",
}

#[test]
fn every_action_is_here() {
    let all: std::collections::BTreeSet<&str> = nightshift::app::world::Abilities::unknown().actions.names().collect();
    let here = ACTIONS.iter().copied().collect();
    assert_eq!(all, here, "an action comes with its stage in tests/contract, and with its line in `actions!`");
}
