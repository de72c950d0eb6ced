//! The metrics of one server, in a registry of its own, since tests run many servers in one process.
//!
//! Invariant: labels come from fixed sets. A path, an id or a token as a label would be unbounded, and a leak.

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

/// Why a session was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// `kill`, by its token.
    Kill,
    /// `killsoid`, with all sessions of its id.
    Killsoid,
    /// `killall`, with all sessions of its app.
    Killall,
}

/// The counters of the near cache, by the outcome of a get.
#[derive(Debug)]
pub struct NearCacheCounters {
    /// The cache answered.
    pub hits: IntCounter,
    /// The cache held no such session.
    pub misses: IntCounter,
    /// The cache could not be trusted at that moment.
    pub bypassed: IntCounter,
}

/// The counters and histograms of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    latency: HistogramVec,
    created: IntCounter,
    killed: [IntCounter; 3],
    expired: IntCounter,
    unreadable: IntCounter,
    operations: IntCounterVec,
    store_errors: IntCounterVec,
    nearby: IntCounterVec,
}

/// Upper bounds of the latency buckets, in seconds: from a read in memory to beyond the default deadline.
const BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A fresh registry with every counter at 0.
    ///
    /// # Panics
    ///
    /// If two metrics share a name: a defect that every test would show.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("a valid name");
            registry.register(Box::new(counter.clone())).expect("a unique name");
            counter
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name");
            registry.register(Box::new(counters.clone())).expect("a unique name");
            counters
        };
        let latency = HistogramVec::new(
            HistogramOpts::new(
                "rest_sessions_http_request_duration_seconds",
                "Time from the request's head to its answer.",
            )
            .buckets(BUCKETS.to_vec()),
            &["route", "method"],
        )
        .expect("a valid name");
        registry.register(Box::new(latency.clone())).expect("a unique name");
        let killed = counters(
            "rest_sessions_killed_total",
            "Sessions removed on request, by the route that did it.",
            &["reason"],
        );
        Self {
            requests: counters(
                "rest_sessions_http_requests_total",
                "Requests answered, by matched route, method and status.",
                &["route", "method", "status"],
            ),
            latency,
            created: counter("rest_sessions_created_total", "Sessions created."),
            killed: ["kill", "killsoid", "killall"].map(|reason| killed.with_label_values(&[reason])),
            expired: counter("rest_sessions_expired_total", "Expired sessions removed by the wiper."),
            unreadable: counter(
                "rest_sessions_unreadable_records_total",
                "Times a stored record could not be read and counted as missing.",
            ),
            operations: counters(
                "rest_sessions_store_operations_total",
                "Operations asked of the store.",
                &["operation"],
            ),
            store_errors: counters(
                "rest_sessions_store_errors_total",
                "Operations that the store failed or did not finish in time.",
                &["operation"],
            ),
            nearby: counters(
                "rest_sessions_near_cache_total",
                "Reads of a session that the near cache was asked for, by what became of them.",
                &["result"],
            ),
            registry,
        }
    }

    /// The counter of one route, method and status. The lookup is slow: keep the result.
    #[must_use]
    pub fn requests(&self, route: &str, method: &str, status: &str) -> IntCounter {
        self.requests.with_label_values(&[route, method, status])
    }

    /// The latency histogram of one route and method. The lookup is slow: keep the result.
    #[must_use]
    pub fn latency(&self, route: &str, method: &str) -> Histogram {
        self.latency.with_label_values(&[route, method])
    }

    /// Counts a created session.
    pub fn created(&self) {
        self.created.inc();
    }

    /// Counts sessions that requests removed.
    pub fn killed(&self, reason: KillReason, sessions: u64) {
        self.killed[reason as usize].inc_by(sessions);
    }

    /// Counts sessions that the wiper removed.
    pub fn expired(&self, sessions: u64) {
        self.expired.inc_by(sessions);
    }

    /// Counts a stored record that cannot be read.
    pub fn unreadable(&self) {
        self.unreadable.inc();
    }

    /// The counter of one store operation.
    #[must_use]
    pub fn operations(&self, operation: &str) -> IntCounter {
        self.operations.with_label_values(&[operation])
    }

    /// The counter of the failures of one store operation.
    #[must_use]
    pub fn store_errors(&self, operation: &str) -> IntCounter {
        self.store_errors.with_label_values(&[operation])
    }

    /// Registers and returns the counters of the near cache.
    #[must_use]
    pub fn nearby(&self) -> NearCacheCounters {
        let counter = |result| self.nearby.with_label_values(&[result]);
        NearCacheCounters {
            hits: counter("hit"),
            misses: counter("miss"),
            bypassed: counter("bypassed"),
        }
    }

    /// Registers and returns the gauge of the clock skew, which is `NaN` until the skew is known.
    ///
    /// # Panics
    ///
    /// If it is called twice.
    #[must_use]
    pub fn clock_skew(&self) -> Gauge {
        let gauge = Gauge::new(
            "rest_sessions_clock_skew_seconds",
            "Seconds that the clock of this machine is ahead of that of Redis.",
        )
        .expect("a valid name");
        gauge.set(f64::NAN);
        self.registry.register(Box::new(gauge.clone())).expect("a unique name");
        gauge
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn text(&self) -> String {
        // Encoding fails only for a metric without a name.
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }
}
