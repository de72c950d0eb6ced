//! Whether the wall clock can be trusted to tell what has expired.
//!
//! A clock that jumps ahead makes sessions look expired that are in use, and the wiper would remove them for good. So
//! between two looks of the wiper the wall clock is compared with the monotonic one, which is never set. Beyond [`JUMP`]
//! nothing is wiped until the wall clock is back where it was, or has kept its new time for [`STEADY`]: long enough for an
//! operator or NTP to set it right. Reads go by the wall clock meanwhile; they remove nothing.
//!
//! Limits: a clock that was wrong when the process started is not noticed, and a machine that slept shows as a jump ahead,
//! as its monotonic clock stood still.

use std::time::Duration;

use tracing::{info, warn};

use crate::session::Seconds;

/// What the two clocks may differ by between two looks, in seconds: far more than NTP slews in an hour, and less than
/// most sessions live.
pub(crate) const JUMP: Seconds = 30;
/// How long the wall clock must keep a new time before that counts.
pub(crate) const STEADY: Duration = Duration::from_mins(10);

/// How far the wall clock is ahead of the monotonic one, in seconds.
type Offset = i128;

/// The clocks as the wiper has seen them.
#[derive(Debug)]
pub(crate) struct ClockGuard {
    trusted: Offset,
    /// Another offset since a jump, and when it was first seen by the monotonic clock.
    jumped: Option<(Offset, Duration)>,
}

impl ClockGuard {
    /// Trusts the clock as it is now. `uptime` is the monotonic clock.
    pub(crate) fn new(now: Seconds, uptime: Duration) -> Self {
        Self {
            trusted: offset(now, uptime),
            jumped: None,
        }
    }

    /// Whether what has expired by `now` may be removed.
    pub(crate) fn look(&mut self, now: Seconds, uptime: Duration) -> bool {
        let offset = offset(now, uptime);
        if near(offset, self.trusted) {
            if self.jumped.take().is_some() {
                info!("the system clock is back: expired sessions are wiped again");
            }
            // A drift so slow that no look takes it for a jump is followed.
            self.trusted = offset;
            return true;
        }
        match self.jumped {
            Some((seen, since)) if near(offset, seen) => {
                if uptime.saturating_sub(since) < STEADY {
                    return false;
                }
                info!("the system clock has been steady for ten minutes: expired sessions are wiped again");
                *self = Self::new(now, uptime);
                true
            }
            _ => {
                let seconds = offset - self.trusted;
                warn!(
                    seconds,
                    "the system clock jumped: nothing is wiped until it is set back or has been steady for ten minutes"
                );
                self.jumped = Some((offset, uptime));
                false
            }
        }
    }
}

fn offset(now: Seconds, uptime: Duration) -> Offset {
    Offset::from(now) - Offset::from(uptime.as_secs())
}

fn near(one: Offset, other: Offset) -> bool {
    one.abs_diff(other) <= JUMP.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Seconds = 1_800_000_000;

    fn up(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn time_that_passes_is_no_jump() {
        let mut steady = ClockGuard::new(NOW, up(5));
        for hours in [1, 2, 3, 1000] {
            assert!(steady.look(NOW + hours * 3600, up(5 + hours * 3600)));
        }
    }

    #[test]
    fn a_jump_stops_the_wiper_until_the_clock_is_set_back() {
        for wrong in [NOW + 7200, NOW - 7200, 0, u64::MAX] {
            let mut steady = ClockGuard::new(NOW, up(0));
            assert!(!steady.look(wrong, up(600)));
            assert!(!steady.look(wrong.saturating_add(100), up(700)));
            assert!(steady.look(NOW + 710, up(710)));
        }
    }

    #[test]
    fn a_new_time_that_is_kept_counts_after_a_while() {
        let mut steady = ClockGuard::new(NOW, up(0));
        assert!(!steady.look(NOW + 7200, up(60)));
        assert!(!steady.look(NOW + 7200 + 599, up(60 + 599)));
        assert!(steady.look(NOW + 7200 + 600, up(60 + 600)));
        assert!(steady.look(NOW + 7200 + 601, up(60 + 601)));
        // Back to what was right at first is a jump as well now.
        assert!(!steady.look(NOW + 700, up(700)));
    }

    #[test]
    fn each_jump_begins_the_wait_anew() {
        let mut steady = ClockGuard::new(NOW, up(0));
        for n in 1..20 {
            assert!(!steady.look(NOW + n * 600, up(n * 300)));
        }
    }

    #[test]
    fn what_ntp_slews_is_followed() {
        let mut steady = ClockGuard::new(NOW, up(0));
        for hours in 1..1000 {
            assert!(steady.look(NOW + hours * 3602, up(hours * 3600)));
        }
    }

    #[test]
    fn the_bound_is_exact() {
        assert!(ClockGuard::new(NOW, up(0)).look(NOW + 60 + JUMP, up(60)));
        assert!(!ClockGuard::new(NOW, up(0)).look(NOW + 61 + JUMP, up(60)));
        assert!(ClockGuard::new(NOW, up(0)).look(NOW + 60 - JUMP, up(60)));
        assert!(!ClockGuard::new(NOW, up(0)).look(NOW + 59 - JUMP, up(60)));
    }
}
