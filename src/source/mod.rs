//! Where alerts come from. A source authenticates, parses, and gives alerts or news; it decides nothing.
//!
//! Sources never name each other. `payload` is pure in each; the route stands beside it.

pub mod alertmanager;
pub mod slack;

use axum::{Router, http::StatusCode};

/// The webhooks listener: what each source takes, and for everything else what there is. `paths`: of the sources.
pub fn listener(sources: Vec<Router>, paths: &'static [&'static str]) -> Router {
    let nothing_else = move |status| async move {
        let there = paths.iter().map(|path| format!("POST {path}")).collect::<Vec<_>>().join(", ");
        (status, format!("there is only {there} here\n"))
    };
    let router = sources.into_iter().fold(Router::new(), Router::merge);
    router
        .fallback(move || nothing_else(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(move || nothing_else(StatusCode::METHOD_NOT_ALLOWED))
}
