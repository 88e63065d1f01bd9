//! nightshift: the engineer who takes the 3 AM page first.
//!
//! One alert's way through the crate, which is also the map of it:
//!
//! 1. [`source`] authenticates a webhook, parses the peer's JSON and gives alerts. It decides nothing.
//! 2. [`engine`] is the one writer: it lets [`decide`] answer each input, appends the entries to the [`journal`]
//!    in one transaction, and only then answers senders and wakes the others.
//! 3. [`decide`] is pure: classification, guards, budgets, approvals, ladders, leases, pause.
//! 4. [`driver`] performs what was journalled: steps through [`action`], letters through [`notify`].
//! 5. Outcomes come back to the engine as inputs.
//!
//! [`rules`] and [`config`] read what people write, [`routing`] what they write for Alertmanager.
//! [`peer`] asks Kubernetes, Alertmanager and Prometheus, for whoever needs an answer.
//! [`model`] holds the nouns and names nothing else of the crate. Plug-ins ([`source`], [`action`], [`notify`],
//! [`evidence`]) never name each other. Only [`app`] and [`cli`] see everything.

pub mod action;
pub mod app;
pub mod cli;
pub mod config;
pub mod decide;
pub mod driver;
pub mod engine;
pub mod evidence;
pub mod http;
pub mod journal;
pub mod model;
pub mod notify;
pub mod peer;
pub mod routing;
pub mod rules;
pub mod source;
pub mod telemetry;
