//! The whole way, for real: a Prometheus rule fires, Alertmanager sends, nightshift (the whole daemon, in this process)
//! changes an object on a Kubernetes API server, and Slack is told. The judges are the API server's audit log, Slack's
//! messages, and the journal: every story ends with the journal verified and decided anew.
//!
//! `story.rs` runs one story and reads its log lines, `stage.rs` sets up everybody but nightshift, `night.rs` is the
//! running daemon. The other files are stories, one file a group.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../../src/notify/slack/tests_support/corpus.rs"]
mod corpus;
#[path = "../../src/notify/slack/tests_support/judge.rs"]
mod judge;
#[path = "../support/mod.rs"]
mod support;

/// As the judge names it.
use nightshift::notify;

mod absent_cluster;
mod acting;
mod clicking;
mod deciding;
mod eviction;
mod flip;
mod following;
mod holding;
mod hostile;
mod night;
mod outages;
mod pagerduty;
mod people;
mod rollback;
mod row;
mod socket;
mod stage;
mod statuspage;
mod storm;
mod story;
mod switches;
mod telling;
mod verifying;
mod whole;
mod writing;
