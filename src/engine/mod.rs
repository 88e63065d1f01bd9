//! The one writer. It takes inputs from bounded lanes, lets `decide` answer each, commits a batch of entries in one
//! transaction, and only then answers senders and wakes driver and courier. Nothing leaves before the commit.
//!
//! - [`lanes`], [`handle`] — how inputs come in and answers go out
//! - [`run`] — the loop; [`publish`] — what it says after each commit; [`narrate`] — the log lines of it
//! - [`mod@start`] — from a journal to a running engine; [`fold`] — a state from a journal; [`snapshot`] — the second fold
//! - [`entry`] — one row's text; [`replay`] — decides a journal anew and compares
//! - [`clock`] — the only clock; [`pause`] — the kill switch as an atomic

mod batch;
pub mod clock;
mod deliveries;
pub mod entry;
pub mod fold;
mod handle;
mod lanes;
#[cfg(test)]
mod load;
mod narrate;
pub mod pause;
mod publish;
pub mod replay;
mod run;
pub mod snapshot;
pub mod start;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use clock::{Clock, FakeClock, RealClock};
pub use handle::EngineHandle;
pub use lanes::{Answer, BATCH, Refused, Seen};
pub use pause::{PauseFlag, pause_file_present};
pub use publish::{EngineObserver, Health, NoObserver, Published};
pub use run::{Engine, Fatal};
pub use start::{StartError, StartOptions, start};
