//! What every request passes. From the outside in:
//!
//! 1. it is counted and timed, under the route that its path matches, whatever comes of it;
//! 2. one that can be read in two ways is refused;
//! 3. one trailing slash is dropped, before the router looks at the path;
//! 4. what is left of a body that nobody read is thrown away;
//! 5. a panic becomes a 500;
//! 6. the router and its handlers, with the fallbacks for unknown routes and methods.
//!
//! The layers are around the router rather than in it: there, each would cost an allocation or two for every request.
//! Deadlines are no layer: the store has one for each operation, and a body has its own while it is read.

mod ambiguous_framing;
mod request_metrics;
mod unread_body;

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, StatusCode, Uri, header, uri::PathAndQuery},
    response::{IntoResponse, Response},
};
use hyper::body::Incoming;
use tower_http::catch_panic::CatchPanicLayer;
use tower_layer::Layer;
use tower_service::Service;
use tracing::{debug, error};

use self::request_metrics::RequestMetrics;
use super::{AppState, error::Error};
use crate::observability::per_thread::PerThread;

/// A route table with the layers around it. A handle: cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Stack(Arc<PerThread<Arc<Layers>>>);

/// The same for the requests of one thread: each request counts references to it, and to what is in it.
#[derive(Debug)]
struct Layers {
    router: Router,
    meters: Arc<RequestMetrics>,
    patience: Duration,
}

/// Puts the layers around a route table.
#[must_use]
pub fn wrap(table: &Router<AppState>, state: &AppState) -> Stack {
    let (meters, patience) = (Arc::new(RequestMetrics::new(state.clone())), state.body_timeout());
    let layers = || Layers {
        router: table.clone().with_state(state.detached()),
        meters: meters.clone(),
        patience,
    };
    Stack(Arc::new(PerThread::new(|| Arc::new(layers()))))
}

impl Stack {
    /// The answer to one request.
    pub fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response> + use<> {
        let started = Instant::now();
        let layers = self.0.mine().clone();
        let meter = layers.meters.find(request.method(), request.uri().path());
        let unambiguous = ambiguous_framing::unambiguous(&request);
        let (mut request, rest) = unread_body::lend(request);
        drop_trailing_slash(&mut request);
        let answer = CatchPanicLayer::custom(panicked)
            .layer(layers.router.clone())
            .call(request);
        async move {
            let mut response = if unambiguous {
                answer.await.unwrap_or_else(|never| match never {}).map(Body::new)
            } else {
                // Nothing of it has run yet.
                drop(answer);
                Error::InvalidRequest.into_response()
            };
            let Layers { meters, patience, .. } = &*layers;
            // A body that is late has had its time.
            let late = response.status() == StatusCode::REQUEST_TIMEOUT;
            if let Some(rest) = rest.filter(|_| !late) {
                rest.drain(*patience, &mut response).await;
            }
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, no_store);
            if response.status() == StatusCode::NO_CONTENT {
                // The router adds it to what answers a HEAD; RFC 9110, 8.6 forbids it here.
                response.headers_mut().remove(header::CONTENT_LENGTH);
            }
            let (route, method, status) = (meters.route(meter), meter.method(), response.status());
            let took = started.elapsed();
            meters.count(meter, status, took);
            debug!(route, method, status = status.as_u16(), ?took, "answered");
            response
        }
    }
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    // What the panic says went to stderr; it may quote its input, which is not for the log.
    error!("a handler panicked");
    Error::Internal.into_response()
}

/// Drops the slash at the end of a request's path, if it has one.
fn drop_trailing_slash(request: &mut Request<Body>) {
    let path = request.uri().path();
    let Some(shorter) = path
        .strip_suffix('/')
        .filter(|path| !path.is_empty() && !path.ends_with('/'))
    else {
        return;
    };
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
