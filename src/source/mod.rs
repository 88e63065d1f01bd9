//! Where alerts come from. A source authenticates, parses, and gives alerts or news; it decides nothing.
//!
//! Sources never name each other. `payload` is pure in each; the route stands beside it.

pub mod alertmanager;
