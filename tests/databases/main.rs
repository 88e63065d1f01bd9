//! Database actions on a real PostgreSQL with real sessions. The judges are the server's own log, and what another
//! superuser sees in `pg_stat_activity`.

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

mod bench;
mod daemon;
mod idle;
mod pooler;
mod rights;
mod slow;
mod trouble;
mod version;
