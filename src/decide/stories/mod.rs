//! Stories: each line of the decided meanings as a test, told with one small builder.
//!
//! Every story ends by replaying its entries: the same events must come again, byte for byte, and folding them must give
//! the same state.

mod acting;
mod again;
mod alerts;
mod braking;
mod clicking;
mod clocks;
mod crossing;
mod eviction;
mod flipping;
pub(in crate::decide) mod harness;
mod holding;
mod leasing;
mod paging;
mod people;
mod restrained;
mod rollback;
mod storms;
mod switches;
mod unattended;
mod verifying;
