//! The time of Redis, by which every instance lives: an instance whose own clock is off would end sessions of others.
//!
//! Redis is asked for its `TIME` every few seconds, beside the requests. In between, the monotonic clock of this machine
//! counts on from there, so that a jump of the wall clock changes nothing, and a request costs no round trip.
//!
//! The wall clock is compared with that of Redis all the same: somebody has to set one of the two right. The skew is a
//! metric, and one beyond [`BOUND`] is logged and keeps this instance from wiping, which nobody could undo.

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

/// The largest skew that is taken for a clock that is right. NTP keeps clocks within a tenth of a second, and a check for
/// disagreements forgives as much between peers.
const BOUND: f64 = 5.0;
/// Between two questions.
const EVERY: Duration = Duration::from_secs(5);
/// The same until the first answer.
const SOON: Duration = Duration::from_millis(500);
/// An answer that took longer is too vague to replace a sharper one.
const SHARP: Duration = Duration::from_millis(500);
/// Between two lines in the log about the same.
const QUIET: Duration = Duration::from_mins(10);

/// The time of Redis, as far as it is known.
pub(crate) struct ClockSync {
    reference: Arc<ReferenceTime>,
    /// Whether Redis is to be asked at all. The clock of a test is alone in its world.
    asks: bool,
    skew: Option<Gauge>,
    told: Mutex<Told>,
}

/// What the log has been told.
#[derive(Default)]
struct Told {
    off: bool,
    skew: Option<Instant>,
    unknown: Option<Instant>,
    kept: Option<Instant>,
}

impl ClockSync {
    pub(crate) fn new(local: Clock, metrics: &Metrics) -> Self {
        let asks = !matches!(local, Clock::Manual(_) | Clock::Jumping { .. });
        Self {
            reference: Arc::new(ReferenceTime::new(local)),
            asks,
            skew: asks.then(|| metrics.clock_skew()),
            told: Mutex::default(),
        }
    }

    /// The clock of every instance on this Redis.
    pub(crate) fn clock(&self) -> Clock {
        Clock::Reference(self.reference.clone())
    }

    /// The current second for an operation that took `now` from [`ClockSync::now`]. Before the first answer of Redis it is asked
    /// for one; if it cannot be reached, neither can the operation reach it.
    pub(crate) async fn settled(&self, topology: &Topology, now: Seconds) -> Result<Seconds, Error> {
        if !self.asks || !self.reference.is_pending() {
            return Ok(now);
        }
        Box::pin(self.ask(topology)).await?;
        Ok(self.reference.now())
    }

    /// The current second to wipe by; `None` if the clocks differ too much, or by nobody knows how much.
    pub(crate) async fn to_wipe_by(&self, topology: &Topology, now: Seconds) -> Result<Option<Seconds>, Error> {
        if !self.asks {
            return Ok(Some(now));
        }
        self.ask(topology).await?;
        if self.skew().is_some_and(|skew| skew.abs() <= BOUND) {
            return Ok(Some(self.reference.now()));
        }
        if due(&mut self.told().kept) {
            tracing::warn!(
                "expired sessions are not wiped by this instance: its clock is off, or that of Redis is not known"
            );
        }
        Ok(None)
    }

    /// Asks from time to time, for ever.
    pub(crate) async fn follow(self: Arc<Self>, topology: Arc<Topology>) {
        if !self.asks {
            return;
        }
        loop {
            // Why it failed is logged.
            let known = self.ask(&topology).await.is_ok();
            tokio::time::sleep(if known { EVERY } else { SOON }).await;
        }
    }

    async fn ask(&self, topology: &Topology) -> Result<(), Error> {
        let asked = Instant::now();
        match topology.time().await {
            Ok(time) => {
                let took = asked.elapsed();
                // Redis looked at its clock somewhere in between.
                if took <= SHARP || self.reference.precise().is_none() {
                    self.reference.set(time + took / 2);
                    if let Some(skew) = self.skew() {
                        self.report(skew);
                    }
                }
                Ok(())
            }
            Err(CommandError::Refused) => {
                self.reference.refuse();
                if due(&mut self.told().unknown) {
                    tracing::warn!(
                        "Redis does not tell its time: this instance goes by its own clock and wipes no expired sessions; \
                         the user of Redis needs the right +time"
                    );
                }
                Ok(())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// How many seconds the clock of this machine is ahead of that of Redis.
    fn skew(&self) -> Option<f64> {
        let reference = self.reference.precise()?;
        Some(self.reference.local().precise().as_secs_f64() - reference.as_secs_f64())
    }

    fn report(&self, skew: f64) {
        if let Some(gauge) = &self.skew {
            // No test and no operator needs more than milliseconds.
            gauge.set((skew * 1000.0).round() / 1000.0);
        }
        let mut told = self.told();
        // A skew at the bound must not fill the log.
        let off = skew.abs() > if told.off { BOUND * 0.8 } else { BOUND };
        if off && due(&mut told.skew) {
            let ahead = if skew > 0.0 { "ahead of" } else { "behind" };
            tracing::warn!(
                "the clock of this machine is {:.1} s {ahead} that of Redis: this instance goes by the clock of Redis and wipes \
                 no expired sessions; set the clocks right (NTP)",
                skew.abs()
            );
        } else if told.off && !off {
            tracing::info!("the clock of this machine agrees with that of Redis again");
        }
        told.off = off;
    }

    /// A panic under the lock leaves it whole: each change is a single step.
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ClockSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockSync(…)")
    }
}

/// Whether a line may be logged again. Notes that it is.
fn due(last: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let due = last.is_none_or(|last| now - last >= QUIET);
    if due {
        *last = Some(now);
    }
    due
}
