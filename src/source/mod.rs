//! Where alerts come from. A source authenticates, parses, and gives alerts or news; it decides nothing.
//!
//! Sources never name each other. `payload` is pure in each; the route stands beside it.

pub mod alertmanager;
pub mod pagerduty;
pub mod slack;

use axum::{Router, http::StatusCode, routing::MethodRouter};

/// The webhooks listener: what each source takes, by its path; for everything else, what there is.
pub fn listener(routes: Vec<(&'static str, MethodRouter)>) -> Router {
    let there = routes.iter().map(|(path, _)| format!("POST {path}")).collect::<Vec<_>>().join(", ");
    let nothing_else = move || {
        let text = format!("there is only {there} here\n");
        async move { (StatusCode::NOT_FOUND, text) }
    };
    let router = routes.into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route));
    router.fallback(nothing_else)
}
