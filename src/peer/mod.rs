//! Clients of the peers that are asked: the Kubernetes API, PostgreSQL, Alertmanager, Prometheus, Slack, PagerDuty,
//! Statuspage.
//!
//! They know how to ask, with one deadline and one attempt, and what an answer means. What follows from it is
//! decided elsewhere. They are here, and not in a plug-in, because several plug-ins and the driver ask the same peers.

pub mod alertmanager;
mod fetch;
pub mod kubernetes;
pub mod pagerduty;
pub mod postgres;
pub mod prometheus;
pub mod selector;
pub mod slack;
pub mod statuspage;
mod url;

#[cfg(test)]
pub mod stub;
