//! What people ask for in Slack: buttons under messages, and `/nightshift`.
//!
//! [`signature`] says that Slack sent it, [`payload`] what was asked (pure), [`asker`] whether whoever asked is somebody,
//! [`answers`] asks the engine and words what came of it, at the [`desk`]. [`route`] is the way in over HTTP, [`socket`]
//! the one over Socket Mode.

pub mod answers;
pub mod asker;
pub mod desk;
pub mod payload;
pub mod route;
pub mod signature;
pub mod socket;
