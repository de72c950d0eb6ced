//! The time of Redis, which all instances use: an instance with a wrong clock would end sessions of others.
//!
//! A task reads the clock of Redis (`TIME`) every few seconds. In between, the monotonic clock of this machine counts
//! on from the last reading. So a jump of the wall clock changes nothing, and a request costs no round trip.
//!
//! The wall clock of this machine is compared with that of Redis all the same, as one of the two may be wrong. The
//! skew is a metric. A skew above [`MAX_SKEW`] is logged and keeps this instance from wiping, which cannot be undone.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::Gauge;

use crate::{
    clock::{Clock, ReferenceTime},
    observability::metrics::Metrics,
    session::Seconds,
    store::{
        Error,
        redis::{error::CommandError, topology::routing::Topology},
    },
};

/// The largest skew, in seconds, of a clock that counts as right. NTP keeps clocks within a tenth of a second. The
/// consistency check allows the same between peers.
const MAX_SKEW: f64 = 5.0;
/// Between two readings.
const INTERVAL: Duration = Duration::from_secs(5);
/// The pause after a reading that failed.
const RETRY: Duration = Duration::from_millis(500);
/// A reading that took longer is too imprecise to replace an earlier one.
const MAX_DELAY: Duration = Duration::from_millis(500);
/// Between two log lines of the same kind.
const QUIET: Duration = Duration::from_mins(10);

/// The clock of Redis, as last read.
pub(crate) struct ClockSync {
    reference: Arc<ReferenceTime>,
    /// Whether the clock of Redis is read. Tests with a clock of their own use that alone.
    asks: bool,
    skew: Option<Gauge>,
    logged: Mutex<Logged>,
}

/// What was logged, and when.
#[derive(Default)]
struct Logged {
    /// Whether the skew is logged as too large.
    skewed: bool,
    skew: Option<Instant>,
    /// That Redis does not give its time.
    refused: Option<Instant>,
    /// That this instance does not wipe.
    not_wiping: Option<Instant>,
}

impl ClockSync {
    pub(crate) fn new(local: Clock, metrics: &Metrics) -> Self {
        let asks = !matches!(local, Clock::Manual(_) | Clock::Jumping { .. });
        Self {
            reference: Arc::new(ReferenceTime::new(local)),
            asks,
            skew: asks.then(|| metrics.clock_skew()),
            logged: Mutex::default(),
        }
    }

    /// The clock that all instances on this Redis share.
    pub(crate) fn clock(&self) -> Clock {
        Clock::Reference(self.reference.clone())
    }

    /// The current second for an operation that took `now` from [`ClockSync::clock`]. Before the first reading this
    /// takes one; if Redis is unreachable for it, then also for the operation.
    pub(crate) async fn resolve_now(&self, topology: &Topology, now: Seconds) -> Result<Seconds, Error> {
        if !self.asks || !self.reference.is_pending() {
            return Ok(now);
        }
        Box::pin(self.read(topology)).await?;
        Ok(self.reference.now())
    }

    /// The current second for a wipe; `None` if the skew is too large or unknown. Why: a wipe cannot be undone.
    pub(crate) async fn to_wipe_by(&self, topology: &Topology, now: Seconds) -> Result<Option<Seconds>, Error> {
        if !self.asks {
            return Ok(Some(now));
        }
        self.read(topology).await?;
        if self.skew().is_some_and(|skew| skew.abs() <= MAX_SKEW) {
            return Ok(Some(self.reference.now()));
        }
        if due(&mut self.logged().not_wiping) {
            tracing::warn!(
                "this instance wipes no expired sessions: its clock differs from that of Redis, or Redis does not give its \
                 time"
            );
        }
        Ok(None)
    }

    /// Reads the clock of Redis periodically, for ever.
    pub(crate) async fn follow(self: Arc<Self>, topology: Arc<Topology>) {
        if !self.asks {
            return;
        }
        loop {
            // The cause of a failure is logged already.
            let known = self.read(&topology).await.is_ok();
            tokio::time::sleep(if known { INTERVAL } else { RETRY }).await;
        }
    }

    async fn read(&self, topology: &Topology) -> Result<(), Error> {
        let asked = Instant::now();
        match topology.time().await {
            Ok(time) => {
                let took = asked.elapsed();
                // Redis read its clock at an unknown moment in between; half of the delay is the best estimate.
                if took <= MAX_DELAY || self.reference.precise().is_none() {
                    self.reference.set(time + took / 2);
                    if let Some(skew) = self.skew() {
                        self.report(skew);
                    }
                }
                Ok(())
            }
            Err(CommandError::Refused) => {
                self.reference.refuse();
                if due(&mut self.logged().refused) {
                    tracing::warn!(
                        "Redis does not give its time: this instance uses its own clock and wipes no expired sessions; \
                         give the user of Redis the permission +time"
                    );
                }
                Ok(())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// How many seconds the clock of this machine is ahead of that of Redis; `None` before the first reading.
    fn skew(&self) -> Option<f64> {
        let reference = self.reference.precise()?;
        Some(self.reference.local().precise().as_secs_f64() - reference.as_secs_f64())
    }

    fn report(&self, skew: f64) {
        if let Some(gauge) = &self.skew {
            // Milliseconds are precise enough.
            gauge.set((skew * 1000.0).round() / 1000.0);
        }
        let mut logged = self.logged();
        // The lower bound for the way back keeps a skew near the bound from filling the log.
        let skewed = skew.abs() > if logged.skewed { MAX_SKEW * 0.8 } else { MAX_SKEW };
        if skewed && due(&mut logged.skew) {
            let ahead = if skew > 0.0 { "ahead of" } else { "behind" };
            tracing::warn!(
                "the clock of this machine is {:.1} s {ahead} that of Redis: this instance uses the clock of Redis and \
                 wipes no expired sessions; set the clocks right (NTP)",
                skew.abs()
            );
        } else if logged.skewed && !skewed {
            tracing::info!("the clock of this machine agrees with that of Redis again");
        }
        logged.skewed = skewed;
    }

    /// A panic under the lock leaves it whole: each change is a single step.
    fn logged(&self) -> std::sync::MutexGuard<'_, Logged> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ClockSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockSync(…)")
    }
}

/// Whether a line may be logged again. Then `last` is set to now.
fn due(last: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let due = last.is_none_or(|last| now - last >= QUIET);
    if due {
        *last = Some(now);
    }
    due
}
