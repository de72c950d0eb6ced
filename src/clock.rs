//! The clocks: every rule about time takes the current second from one of these.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::session::Seconds;

/// A source of time, in seconds since the Unix epoch.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The clock of the operating system.
    System,
    /// The clock of the operating system with an offset, in seconds: for tests of a machine whose clock is wrong.
    Off(i64),
    /// The clock of the store, which all instances share.
    Reference(Arc<ReferenceTime>),
    /// A clock that a test sets, so that sessions expire without sleeping.
    Manual(Arc<AtomicU64>),
    /// Two clocks that a test sets: for tests of a wall clock that jumps.
    Jumping {
        /// Seconds since the Unix epoch.
        wall: Arc<AtomicU64>,
        /// Monotonic seconds since an arbitrary moment.
        uptime: Arc<AtomicU64>,
    },
}

impl Clock {
    /// The current second.
    #[must_use]
    pub fn now(&self) -> Seconds {
        match self {
            Self::System => system().as_secs(),
            Self::Off(seconds) => system().as_secs().saturating_add_signed(*seconds),
            Self::Reference(time) => time.now(),
            Self::Manual(wall) | Self::Jumping { wall, .. } => wall.load(Ordering::SeqCst),
        }
    }

    /// Monotonic time since an arbitrary moment.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match self {
            Self::System | Self::Off(_) => START.elapsed(),
            Self::Reference(time) => time.local.uptime(),
            Self::Manual(seconds) | Self::Jumping { uptime: seconds, .. } => {
                Duration::from_secs(seconds.load(Ordering::SeqCst))
            }
        }
    }

    /// The time since the Unix epoch, with fractions of a second if the source has them.
    #[must_use]
    pub fn precise(&self) -> Duration {
        match self {
            Self::System => system(),
            Self::Off(seconds) => {
                let now = system();
                Duration::new(now.as_secs().saturating_add_signed(*seconds), now.subsec_nanos())
            }
            Self::Reference(_) | Self::Manual(_) | Self::Jumping { .. } => Duration::from_secs(self.now()),
        }
    }
}

/// The operating system's time since the Unix epoch.
fn system() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time of a server that several instances share, extrapolated by this machine's monotonic clock.
///
/// Between two readings of the server's clock a jump of the wall clock changes nothing, and asking for the time costs no
/// round trip. Until the first reading it follows the local clock.
#[derive(Debug)]
pub struct ReferenceTime {
    local: Clock,
    start: Instant,
    /// The server's time at `start`, in microseconds since the Unix epoch; or [`PENDING`] or [`REFUSED`].
    base: AtomicU64,
}

/// No reading yet.
const PENDING: u64 = 0;
/// The server does not tell its time: the local clock counts.
const REFUSED: u64 = 1;

impl ReferenceTime {
    /// A reference that follows `local` until its first reading.
    #[must_use]
    pub fn new(local: Clock) -> Self {
        Self {
            local,
            start: Instant::now(),
            base: AtomicU64::new(PENDING),
        }
    }

    /// The clock of this machine.
    #[must_use]
    pub fn local(&self) -> &Clock {
        &self.local
    }

    /// The current second.
    #[must_use]
    pub fn now(&self) -> Seconds {
        self.precise().map_or_else(|| self.local.now(), |time| time.as_secs())
    }

    /// The time of the server since the Unix epoch. `None` without a reading.
    #[must_use]
    pub fn precise(&self) -> Option<Duration> {
        match self.base.load(Ordering::Acquire) {
            PENDING | REFUSED => None,
            micros => Some(Duration::from_micros(micros) + self.start.elapsed()),
        }
    }

    /// Whether neither a reading nor a refusal has arrived.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.base.load(Ordering::Acquire) == PENDING
    }

    /// Records that the server's clock shows `time` now.
    pub fn set(&self, time: Duration) {
        let base = time.saturating_sub(self.start.elapsed());
        let micros = u64::try_from(base.as_micros()).unwrap_or(u64::MAX);
        self.base.store(micros.max(REFUSED + 1), Ordering::Release);
    }

    /// Records that the server refuses to tell its time. An earlier reading stays: the monotonic clock goes on.
    pub fn refuse(&self) {
        let _ = self
            .base
            .compare_exchange(PENDING, REFUSED, Ordering::AcqRel, Ordering::Acquire);
    }
}
