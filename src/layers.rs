//! The whole middleware stack. From the outside in:
//!
//! 1. one trailing slash is dropped, before the router looks at the path;
//! 2. the request is counted and timed, under the route that it matched, whatever comes of it;
//! 3. a panic becomes a 500, so that it is counted like any other answer;
//! 4. the router and its handlers, with the fallbacks for unknown routes and methods.
//!
//! Deadlines are no layer: the store has one for each operation, and the body has its own while it is read.

use std::{any::Any, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, Uri, header, uri::PathAndQuery},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{debug, error};

use crate::{error::Error, routes::AppState};

/// Puts the stack around a route table; the trailing slash is dropped by [`without_trailing_slash`], in front of it.
pub fn wrap(table: Router<AppState>, state: AppState) -> Router {
    table
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let took = started.elapsed();
    state.metrics.request(route, method, response.status().as_str(), took);
    debug!(route, method, status = response.status().as_u16(), ?took, "answered");
    response
}

/// A client may make up methods; labels come from a fixed set.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    // What the panic says went to stderr; it may quote its input, which is not for the log.
    error!("a handler panicked");
    Error::Internal.into_response()
}

/// The same request without the slash at the end of its path, if it has one.
#[must_use]
pub fn without_trailing_slash<B>(mut request: hyper::Request<B>) -> hyper::Request<B> {
    let path = request.uri().path();
    if let Some(shorter) = path
        .strip_suffix('/')
        .filter(|path| !path.is_empty() && !path.ends_with('/'))
    {
        let path_and_query = match request.uri().query() {
            Some(query) => format!("{shorter}?{query}"),
            None => shorter.to_owned(),
        };
        if let Ok(path_and_query) = PathAndQuery::try_from(path_and_query) {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(path_and_query);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}
