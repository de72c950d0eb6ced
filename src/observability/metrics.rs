//! The metrics of one server, in a registry of its own: tests run many servers in one process.
//!
//! Labels come from fixed sets only: a label with a path, an id or a token would be unbounded, and a leak.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
    local::LocalIntCounter,
};

use crate::observability::per_thread::{Count, Counts, PerThread};

/// Why a session was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// By its token.
    Kill,
    /// With all sessions of its id.
    Killsoid,
    /// With all sessions of its app.
    Killall,
}

/// The counters of the near cache: what became of gets that it was asked for.
#[derive(Debug)]
pub struct Nearby {
    /// Answered from it.
    pub hits: IntCounter,
    /// It had nothing to answer.
    pub misses: IntCounter,
    /// It could not be relied on.
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
    parted: Parted,
}

/// What is counted in parts, and not in the registry before it is added up.
#[derive(Default)]
struct Parted(Mutex<Vec<Arc<dyn Counts>>>);

/// A counter that all threads use all the time.
pub(crate) type Busy = Arc<PerThread<Mutex<LocalIntCounter>>>;

impl Count for LocalIntCounter {
    fn add_up(&mut self) {
        self.flush();
    }
}

/// Upper bounds of the latency buckets, in seconds: from a memory read to the default deadline and beyond.
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
    /// If two metrics share a name, which a test would see.
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
            parted: Parted::default(),
            registry,
        }
    }

    /// Something to count in parts, made of what a part counts.
    pub(crate) fn in_parts<T: Count + 'static>(&self, part: impl Fn() -> T) -> Arc<PerThread<Mutex<T>>> {
        let parts = Arc::new(PerThread::new(|| Mutex::new(part())));
        self.parted.lock().push(parts.clone());
        parts
    }

    /// The counter of one route, method and status, to be kept by who counts often.
    #[must_use]
    pub fn requests(&self, route: &str, method: &str, status: &str) -> IntCounter {
        self.requests.with_label_values(&[route, method, status])
    }

    /// The latency histogram of one route and method, to be kept by who observes often.
    #[must_use]
    pub fn latency(&self, route: &str, method: &str) -> Histogram {
        self.latency.with_label_values(&[route, method])
    }

    /// Counts a created session.
    pub fn created(&self) {
        self.created.inc();
    }

    /// Counts sessions that a request removed.
    pub fn killed(&self, reason: KillReason, sessions: u64) {
        self.killed[reason as usize].inc_by(sessions);
    }

    /// Counts sessions that the wiper removed.
    pub fn expired(&self, sessions: u64) {
        self.expired.inc_by(sessions);
    }

    /// Counts a record that the store holds and nobody can read.
    pub fn unreadable(&self) {
        self.unreadable.inc();
    }

    /// The counter of one store operation, for those that are asked for all the time.
    pub(crate) fn busy_operations(&self, operation: &str) -> Busy {
        let whole = self.operations(operation);
        self.in_parts(|| whole.local())
    }

    /// The counter of one store operation.
    #[must_use]
    pub fn operations(&self, operation: &str) -> IntCounter {
        self.operations.with_label_values(&[operation])
    }

    /// The counter of one store operation's failures.
    #[must_use]
    pub fn store_errors(&self, operation: &str) -> IntCounter {
        self.store_errors.with_label_values(&[operation])
    }

    /// The counters of the near cache. They are there from now on.
    #[must_use]
    pub fn nearby(&self) -> Nearby {
        let counter = |result| self.nearby.with_label_values(&[result]);
        Nearby {
            hits: counter("hit"),
            misses: counter("miss"),
            bypassed: counter("bypassed"),
        }
    }

    /// The gauge of the clock's skew, which is there from now on; `NaN` until it is known. To be asked for once.
    ///
    /// # Panics
    ///
    /// The second time.
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

    /// Everything, in the Prometheus text format.
    #[must_use]
    pub fn text(&self) -> String {
        for parts in &*self.parted.lock() {
            parts.add_up();
        }
        // Writing into a string fails only for a metric that has no name.
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }
}

impl Parted {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<dyn Counts>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Parted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parted")
    }
}
