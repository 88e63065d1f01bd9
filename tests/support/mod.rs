//! What integration tests share: a real Kubernetes without containers, real peers (Prometheus, Alertmanager,
//! PostgreSQL), strict stand-ins for Slack, PagerDuty and Statuspage, and proxies that lose bytes and answers on
//! purpose.
//!
//! A test binary says `mod support;`. It uses what it needs, so unused items are no fault here. Nothing in here knows
//! nightshift: tests judge it from outside, by the audit log of the API server and by what the peers were told.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: it fails loudly, and its clock is the real one"
)]

pub mod api_proxy;
pub mod audit;
pub mod background;
pub mod certificates;
pub mod control_plane;
pub mod failing;
pub mod namespace;
pub mod pagerduty;
pub mod pagerduty_rules;
pub mod peers;
pub mod postgres;
pub mod postgres_proxy;
pub mod proxy;
pub mod slack;
pub mod slack_rules;
pub mod slack_socket;
pub mod statuspage;
pub mod stub;
pub mod supervised;
pub mod wait;

pub use control_plane::ControlPlane;
pub use namespace::TestNamespace;
pub use wait::wait_until;

/// Whether the user asked for tests that need nothing but this crate (`NIGHTSHIFT_TESTS=hermetic`): the only way to
/// skip the tests that need the control plane or a real peer. Anything else in that variable is a mistake and fails.
pub fn hermetic() -> bool {
    match std::env::var("NIGHTSHIFT_TESTS") {
        Err(_) => false,
        Ok(mode) if mode.is_empty() => false,
        Ok(mode) if mode == "hermetic" => {
            eprintln!("skipped: NIGHTSHIFT_TESTS=hermetic");
            true
        }
        Ok(mode) => panic!("NIGHTSHIFT_TESTS is {mode:?}; the one word it knows is \"hermetic\""),
    }
}
