//! The metrics of requests: found by path, and kept at hand, as looking them up by their labels costs more than counting.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use prometheus::local::{LocalHistogram, LocalIntCounter};

use crate::{
    http::extract::segments,
    http::{AppState, router::paths},
    observability::per_thread::{Count, PerThread},
};

/// The label of a path that is no route.
const UNMATCHED: &str = "unmatched";

/// Methods with a label of their own; clients may make up more.
const METHODS: [&str; 8] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "other"];

/// The meters of one server.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    state: AppState,
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    path: &'static str,
    /// The fixed word of the path, and where it is.
    word: &'static str,
    segments: usize,
    methods: [OnceLock<Arc<PerThread<Mutex<At>>>>; METHODS.len()],
}

/// What is counted for one route and method, by one thread.
#[derive(Debug)]
struct At {
    latency: LocalHistogram,
    /// The answer that is usual here, and its counter: the first success.
    usual: Option<(StatusCode, LocalIntCounter)>,
}

impl Count for At {
    fn add_up(&mut self) {
        self.latency.flush();
        if let Some((_, counter)) = &self.usual {
            counter.flush();
        }
    }
}

/// Where a request is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    route: usize,
    method: usize,
}

impl Meter {
    /// The label of the method.
    pub(crate) fn method(self) -> &'static str {
        METHODS[self.method]
    }
}

impl RequestMetrics {
    pub(crate) fn new(state: AppState) -> Self {
        let routes = paths().into_iter().chain([UNMATCHED]).map(|path| {
            let segments: Vec<_> = segments(path).collect();
            Route {
                path,
                word: segments.get(1).or(segments.first()).copied().unwrap_or_default(),
                segments: segments.len(),
                methods: Default::default(),
            }
        });
        Self {
            routes: routes.collect(),
            state,
        }
    }

    /// Where to count a request. The segments that may be anything are not looked at.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Meter {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut parts = segments(path);
        let (first, second) = (parts.next(), parts.next());
        let segments = usize::from(first.is_some()) + usize::from(second.is_some()) + parts.count();
        let word = second.or(first).unwrap_or_default();
        let matches = |route: &Route| route.segments == segments && route.word == word;
        let unmatched = self.routes.len() - 1;
        let named = METHODS.iter().position(|name| *name == method.as_str());
        Meter {
            route: self.routes.iter().position(matches).unwrap_or(unmatched),
            method: named.unwrap_or(METHODS.len() - 1),
        }
    }

    /// The label of the route.
    pub(crate) fn route(&self, meter: Meter) -> &'static str {
        self.routes[meter.route].path
    }

    /// Counts an answered request.
    pub(crate) fn count(&self, meter: Meter, status: StatusCode, took: Duration) {
        let (route, method) = (self.route(meter), meter.method());
        let metrics = self.state.metrics();
        let at = self.routes[meter.route].methods[meter.method].get_or_init(|| {
            let latency = metrics.latency(route, method);
            metrics.in_parts(|| At {
                latency: latency.local(),
                usual: None,
            })
        });
        let mut at = at.count();
        at.latency.observe(took.as_secs_f64());
        let counter = || metrics.requests(route, method, status.as_str());
        if !status.is_success() {
            return counter().inc();
        }
        let (usual, counts) = at.usual.get_or_insert_with(|| (status, counter().local()));
        if *usual == status {
            counts.inc();
        } else {
            counter().inc();
        }
    }
}
