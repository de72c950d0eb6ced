//! Counts and times requests by route, method and status.
//!
//! It matches the path itself, so that a request which never reaches a handler is counted too. It keeps the counters of the
//! usual answers at hand: a lookup by labels costs more than the rest of the counting together.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use prometheus::{Histogram, IntCounter};

use crate::{
    http::{extract::segments, router::paths},
    observability::metrics::Metrics,
};

/// The label of a path that matches no route.
const UNMATCHED: &str = "unmatched";

/// The labels of methods. Clients may invent others, which would make the set of labels unbounded.
const METHODS: [&str; 8] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "other"];

/// The request metrics of one server.
#[derive(Debug)]
pub(super) struct RequestMetrics {
    metrics: Arc<Metrics>,
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    path: &'static str,
    /// The fixed segment of the path: the second one, or the only one.
    verb: &'static str,
    segments: usize,
    methods: [OnceLock<Counters>; METHODS.len()],
}

/// The counters of one route and method.
#[derive(Debug)]
struct Counters {
    latency: Histogram,
    /// The counter of the first successful status.
    success: OnceLock<(StatusCode, IntCounter)>,
}

/// The labels of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels {
    route: usize,
    method: usize,
}

impl Labels {
    pub(super) fn method(self) -> &'static str {
        METHODS[self.method]
    }
}

impl RequestMetrics {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let routes = paths().into_iter().chain([UNMATCHED]).map(|path| {
            let segments: Vec<_> = segments(path).collect();
            Route {
                path,
                verb: segments.get(1).or(segments.first()).copied().unwrap_or_default(),
                segments: segments.len(),
                methods: Default::default(),
            }
        });
        Self {
            routes: routes.collect(),
            metrics,
        }
    }

    /// The labels of a request. Segments that hold a parameter match anything.
    pub(super) fn labels(&self, method: &Method, path: &str) -> Labels {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut rest = segments(path);
        let (first, second) = (rest.next(), rest.next());
        let segments = usize::from(first.is_some()) + usize::from(second.is_some()) + rest.count();
        let verb = second.or(first).unwrap_or_default();
        let matches = |route: &Route| route.segments == segments && route.verb == verb;
        let unmatched = self.routes.len() - 1;
        let named = METHODS.iter().position(|name| *name == method.as_str());
        Labels {
            route: self.routes.iter().position(matches).unwrap_or(unmatched),
            method: named.unwrap_or(METHODS.len() - 1),
        }
    }

    /// The matched route, with its parameters in braces.
    pub(super) fn route(&self, labels: Labels) -> &'static str {
        self.routes[labels.route].path
    }

    /// Counts an answered request.
    pub(super) fn count(&self, labels: Labels, status: StatusCode, latency: Duration) {
        let (route, method) = (self.route(labels), labels.method());
        let counters = self.routes[labels.route].methods[labels.method].get_or_init(|| Counters {
            latency: self.metrics.latency(route, method),
            success: OnceLock::new(),
        });
        counters.latency.observe(latency.as_secs_f64());
        let counter = || self.metrics.requests(route, method, status.as_str());
        if status.is_success() {
            let (usual, count) = counters.success.get_or_init(|| (status, counter()));
            if *usual == status {
                return count.inc();
            }
        }
        counter().inc();
    }
}
