//! What every request passes, from the outside in:
//!
//! 1. Metrics: the request is counted and timed under the route that its path matches, whatever its outcome.
//! 2. `ambiguous_framing`: a request that two parsers could read differently is refused.
//! 3. One trailing slash is dropped, before the router sees the path.
//! 4. `unread_body`: an unread body is discarded before the answer.
//! 5. A panic becomes a 500.
//! 6. The router and its handlers, with the fallbacks for unknown routes and wrong methods.
//!
//! Why not axum layers: inside the router, each of them costs one or two allocations a request. Deadlines are not a layer
//! either: each store operation has one, and so has the reading of a body.

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
use super::{error::Error, state::AppState};
use crate::observability::per_thread::PerThread;

/// The middleware around a route table. A handle: cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Stack(Arc<PerThread<Arc<ThreadStack>>>);

/// The stack of one thread: every request counts references to it, and to what it holds.
#[derive(Debug)]
struct ThreadStack {
    router: Router,
    metrics: Arc<RequestMetrics>,
    body_timeout: Duration,
}

/// Puts the middleware around a route table.
#[must_use]
pub fn wrap(table: &Router<AppState>, state: &AppState) -> Stack {
    let (metrics, body_timeout) = (
        Arc::new(RequestMetrics::new(state.metrics().clone())),
        state.body_timeout(),
    );
    let stack = || ThreadStack {
        router: table.clone().with_state(state.detached()),
        metrics: metrics.clone(),
        body_timeout,
    };
    Stack(Arc::new(PerThread::new(|| Arc::new(stack()))))
}

impl Stack {
    /// Answers one request.
    pub fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response> + use<> {
        let started = Instant::now();
        let stack = self.0.get().clone();
        let labels = stack.metrics.labels(request.method(), request.uri().path());
        let unambiguous = ambiguous_framing::is_unambiguous(&request);
        let (mut request, unread) = unread_body::lend(request);
        drop_trailing_slash(&mut request);
        let answer = CatchPanicLayer::custom(answer_panic)
            .layer(stack.router.clone())
            .call(request);
        async move {
            let mut response = if unambiguous {
                answer.await.unwrap_or_else(|never| match never {}).map(Body::new)
            } else {
                // Invariant: no handler has run. A future that was not polled has done nothing.
                drop(answer);
                Error::InvalidRequest.into_response()
            };
            let ThreadStack {
                metrics, body_timeout, ..
            } = &*stack;
            // After a 408 the client has had its time for the body.
            let timed_out = response.status() == StatusCode::REQUEST_TIMEOUT;
            if let Some(unread) = unread.filter(|_| !timed_out) {
                unread.discard(*body_timeout, &mut response).await;
            }
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, no_store);
            if response.status() == StatusCode::NO_CONTENT {
                // The router adds it to answers to HEAD. RFC 9110, section 8.6 forbids it in a 204.
                response.headers_mut().remove(header::CONTENT_LENGTH);
            }
            let (route, method, status) = (metrics.route(labels), labels.method(), response.status());
            let latency = started.elapsed();
            metrics.count(labels, status, latency);
            debug!(route, method, status = status.as_u16(), took = ?latency, "answered");
            response
        }
    }
}

fn answer_panic(_: Box<dyn Any + Send>) -> Response {
    // The message of the panic is on stderr. It may quote input, which must not enter the log.
    error!("a handler panicked");
    Error::Internal.into_response()
}

/// Drops one slash at the end of the path.
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
