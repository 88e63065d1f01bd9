//! HTTP, both ways: the server that takes webhooks and answers people, and the one client that calls out.
//!
//! - [`server`] accepts connections and bounds them; [`connection`] serves one; [`tls`] holds its certificates.
//! - [`identity`] says who is at the other end; [`auth`] checks a webhook's sender, [`api_auth`] a person or a script.
//! - [`limits`] bounds bodies and all that is in flight, [`senders`] how often one sender may come; [`intake`] puts
//!   these and the authentication of webhooks in their order.
//! - [`secret`] reads secret files; [`signature`] checks bodies that their sender signed; [`reloadable`] swaps what is read again upon reload.
//! - [`client`] is the only place where a client is built; [`websocket`] begins web sockets by it.
//!
//! - [`api`] is the admin listener: routes, shapes and texts. It alone knows what a body means; the webhooks' routes
//!   live with their sources.

pub mod api;
pub mod api_auth;
pub mod auth;
pub mod client;
pub mod connection;
pub mod identity;
pub mod intake;
pub mod limits;
pub mod reloadable;
pub mod secret;
pub mod senders;
pub mod server;
pub mod signature;
pub mod tls;
pub mod websocket;

#[cfg(test)]
mod server_tests;
