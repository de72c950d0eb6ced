//! The time of Redis, by which every instance lives: an instance whose own clock is off would end sessions of others.
//!
//! Redis is asked for its `TIME` every few seconds, beside the requests. In between, the monotonic clock of this machine
//! counts on from there, so that a jump of the wall clock changes nothing, and a request costs no round trip.
//!
//! The wall clock is compared with that of Redis all the same: somebody has to set one of the two right. The skew is a
//! metric, and one beyond [`BOUND`] is logged and keeps this instance from wiping, which nobody could undo.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus::Gauge;

use super::{failure::Failure, servers::Servers};
use crate::{error::Error, metrics::Metrics, service::Clock, session::Seconds};

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

/// What [`Time::base`] says where there is no answer yet.
const UNKNOWN: u64 = 0;
/// What it says where Redis will not tell: requests go by the clock of this machine.
const UNTOLD: u64 = 1;

/// The time of Redis, as far as it is known.
pub struct Time {
    local: Clock,
    /// Whether Redis is to be asked at all. The clock of a test is alone in its world.
    asks: bool,
    start: Instant,
    /// The time of Redis at the start, in microseconds since the Unix epoch; or [`UNKNOWN`] or [`UNTOLD`].
    base: AtomicU64,
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

impl Time {
    pub(super) fn new(local: Clock, metrics: &Metrics) -> Self {
        let asks = !matches!(local, Clock::Manual(_) | Clock::Jumping { .. });
        Self {
            local,
            asks,
            start: Instant::now(),
            base: AtomicU64::new(UNKNOWN),
            skew: asks.then(|| metrics.clock_skew()),
            told: Mutex::default(),
        }
    }

    /// The current second by the clock of Redis, or by that of this machine where it is not known.
    #[must_use]
    pub fn now(&self) -> Seconds {
        match self.base() {
            Some(base) => (base + self.start.elapsed()).as_secs(),
            None => self.local.now(),
        }
    }

    /// The time since some moment, by the clock of this machine that nobody sets.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.local.uptime()
    }

    fn base(&self) -> Option<Duration> {
        match self.base.load(Ordering::Acquire) {
            UNKNOWN | UNTOLD => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// The current second for an operation that took `now` from [`Time::now`]. Before the first answer of Redis it is asked
    /// for one; if it cannot be reached, neither can the operation reach it.
    pub(super) async fn settled(&self, servers: &Servers, now: Seconds) -> Result<Seconds, Error> {
        if !self.asks || self.base.load(Ordering::Acquire) != UNKNOWN {
            return Ok(now);
        }
        Box::pin(self.ask(servers)).await?;
        Ok(self.now())
    }

    /// The current second to wipe by; `None` if the clocks differ too much, or by nobody knows how much.
    pub(super) async fn to_wipe_by(&self, servers: &Servers, now: Seconds) -> Result<Option<Seconds>, Error> {
        if !self.asks {
            return Ok(Some(now));
        }
        self.ask(servers).await?;
        let skew = self.base().map(|base| self.skew_from(base));
        if skew.is_some_and(|skew| skew.abs() <= BOUND) {
            return Ok(Some(self.now()));
        }
        if due(&mut self.told().kept) {
            tracing::warn!(
                "expired sessions are not wiped by this instance: its clock is off, or that of Redis is not known"
            );
        }
        Ok(None)
    }

    /// Asks from time to time, for ever.
    pub(super) async fn follow(&self, servers: &Servers) {
        if !self.asks {
            return;
        }
        loop {
            // Why it failed is logged.
            let known = self.ask(servers).await.is_ok();
            tokio::time::sleep(if known { EVERY } else { SOON }).await;
        }
    }

    async fn ask(&self, servers: &Servers) -> Result<(), Error> {
        let asked = Instant::now();
        match servers.time().await {
            Ok(time) => {
                let took = asked.elapsed();
                // Redis looked at its clock somewhere in between.
                let base = (time + took / 2).saturating_sub(self.start.elapsed());
                if took <= SHARP || self.base().is_none() {
                    let micros = u64::try_from(base.as_micros()).unwrap_or(u64::MAX);
                    self.base.store(micros.max(UNTOLD + 1), Ordering::Release);
                    self.report(self.skew_from(base));
                }
                Ok(())
            }
            Err(Failure::Refused) => {
                // What was known stays: this machine's monotonic clock goes on.
                let _ = self
                    .base
                    .compare_exchange(UNKNOWN, UNTOLD, Ordering::AcqRel, Ordering::Acquire);
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
    fn skew_from(&self, base: Duration) -> f64 {
        self.local.precise().as_secs_f64() - (base + self.start.elapsed()).as_secs_f64()
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

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time(…)")
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
