//! Stories: each line of the decided meanings as a test, told with one small builder.
//!
//! Every story ends by replaying its entries: the same events must come again, byte for byte, and folding them must give
//! the same state.

mod acting;
mod aftermath;
mod again;
mod alerts;
mod braking;
mod calling;
mod channels;
mod children;
mod clicking;
mod clocks;
mod crossing;
mod escalating;
mod eviction;
mod flipping;
mod freezes;
pub(in crate::decide) mod harness;
mod holding;
mod leasing;
mod owing;
mod paging;
mod people;
mod public;
mod restrained;
mod rollback;
mod storms;
mod switches;
mod two_sources;
mod two_sources_later;
mod unattended;
mod verifying;
