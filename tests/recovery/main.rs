//! The real process, killed, frozen, starved and damaged: what must survive is read back from its journal, and what
//! it did is judged by the API server.
//!
//! The usual run takes about a minute and a half. The long sweep prints its own figures, and how to make them again
//! (`NIGHTSHIFT_SEED`): `NIGHTSHIFT_KILLS=10000 cargo test --release --test recovery -- --ignored --nocapture`.
//! On two cores 450 kills of the first kind, 240 and 96 trials of the second take ten minutes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: it fails loudly, and its clock is the real one"
)]

#[path = "../support/mod.rs"]
mod support;

mod acknowledged;
mod acting;
mod books;
mod clicked;
mod crash_loop;
mod daemon;
mod damage;
mod dice;
mod duplicates;
mod full_disk;
mod instances;
mod letters;
mod lost;
mod paging;
mod played;
mod published;
mod reloading;
mod replayed;
mod settling;
mod stopping;
mod switches;
mod webhooks;
