//! PagerDuty's V3 webhooks: what happened to its incidents.
//!
//! [`signature`] says that PagerDuty sent it, [`payload`] what happened (pure), [`route`] is the way in.

pub mod payload;
pub mod route;
pub mod signature;
