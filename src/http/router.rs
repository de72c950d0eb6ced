//! The route table: every path, its method and its handler.

use axum::{
    Router,
    routing::{MethodRouter, delete, get, post, put},
};

use super::{
    AppState,
    error::Error,
    handlers::{auth, descriptions, health, lists, sessions},
};

/// Every route. The paths are part of the contract and case-sensitive.
fn routes() -> [(&'static str, MethodRouter<AppState>); 15] {
    [
        ("/{app}/create/{id}", put(sessions::create)),
        ("/{app}/get/{token}", get(sessions::get)),
        ("/{app}/auth", get(auth::auth)),
        ("/{app}/set/{token}", post(sessions::set)),
        ("/{app}/activity", get(lists::activity)),
        ("/{app}/soapp", get(lists::soapp)),
        ("/{app}/soid/{id}", get(lists::soid)),
        ("/{app}/kill/{token}", delete(sessions::kill)),
        ("/{app}/killsoid/{id}", delete(sessions::killsoid)),
        ("/{app}/killall", delete(sessions::killall)),
        ("/ping", get(health::ping)),
        ("/livez", get(health::livez)),
        ("/readyz", get(health::readyz)),
        ("/metrics", get(descriptions::metrics)),
        ("/openapi.yaml", get(descriptions::openapi)),
    ]
}

/// The paths of all routes, with their parameters in braces.
#[must_use]
pub fn paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}

/// The routes as a router, with fallbacks for unknown paths and wrong methods.
pub fn table() -> Router<AppState> {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
}
