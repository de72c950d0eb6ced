//! Stops the wiper while the wall clock cannot be trusted.
//!
//! When the wall clock jumps ahead, live sessions look expired, and the wiper would remove them for good. So each round of
//! the wiper compares the wall clock with the monotonic clock. After a jump of more than [`JUMP`] it wipes nothing until the
//! wall clock is back, or has kept its new time for [`STEADY`]: enough time for an operator or NTP to correct it. Reads
//! follow the wall clock meanwhile; they remove nothing.
//!
//! Limits: it cannot notice that the clock was wrong when the process started, and it takes the sleep of a machine for a
//! jump, since the monotonic clock stops during sleep.

use std::time::Duration;

use tracing::{info, warn};

use crate::session::Seconds;

/// Tolerated difference between the two clocks from one round to the next, in seconds: far more than NTP slews in an hour,
/// and less than the life of most sessions.
pub(super) const JUMP: Seconds = 30;
/// How long the wall clock must keep its new time after a jump before it is trusted again.
pub(super) const STEADY: Duration = Duration::from_mins(10);

/// How far the wall clock is ahead of the monotonic clock, in seconds.
type Offset = i128;

/// The offset between the clocks that the wiper trusts.
#[derive(Debug)]
pub(super) struct ClockGuard {
    trusted: Offset,
    /// The offset after a jump, and the monotonic time at which it was first seen.
    jumped: Option<(Offset, Duration)>,
}

impl ClockGuard {
    /// Trusts the current wall clock. `uptime` is the monotonic clock.
    pub(super) fn new(now: Seconds, uptime: Duration) -> Self {
        Self {
            trusted: offset(now, uptime),
            jumped: None,
        }
    }

    /// Whether the wiper may remove sessions that have expired at `now`.
    pub(super) fn check(&mut self, now: Seconds, uptime: Duration) -> bool {
        let offset = offset(now, uptime);
        if near(offset, self.trusted) {
            if self.jumped.take().is_some() {
                info!("the system clock is back: expired sessions are wiped again");
            }
            // Follow a slow drift.
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
    fn passing_time_is_not_a_jump() {
        let mut guard = ClockGuard::new(NOW, up(5));
        for hours in [1, 2, 3, 1000] {
            assert!(guard.check(NOW + hours * 3600, up(5 + hours * 3600)));
        }
    }

    #[test]
    fn a_jump_stops_the_wiper_until_the_clock_is_set_back() {
        for wrong in [NOW + 7200, NOW - 7200, 0, u64::MAX] {
            let mut guard = ClockGuard::new(NOW, up(0));
            assert!(!guard.check(wrong, up(600)));
            assert!(!guard.check(wrong.saturating_add(100), up(700)));
            assert!(guard.check(NOW + 710, up(710)));
        }
    }

    #[test]
    fn the_wiper_resumes_once_a_new_time_has_lasted() {
        let mut guard = ClockGuard::new(NOW, up(0));
        assert!(!guard.check(NOW + 7200, up(60)));
        assert!(!guard.check(NOW + 7200 + 599, up(60 + 599)));
        assert!(guard.check(NOW + 7200 + 600, up(60 + 600)));
        assert!(guard.check(NOW + 7200 + 601, up(60 + 601)));
        // The way back is a jump as well now.
        assert!(!guard.check(NOW + 700, up(700)));
    }

    #[test]
    fn each_jump_restarts_the_wait() {
        let mut guard = ClockGuard::new(NOW, up(0));
        for n in 1..20 {
            assert!(!guard.check(NOW + n * 600, up(n * 300)));
        }
    }

    #[test]
    fn the_guard_follows_the_slew_of_ntp() {
        let mut guard = ClockGuard::new(NOW, up(0));
        for hours in 1..1000 {
            assert!(guard.check(NOW + hours * 3602, up(hours * 3600)));
        }
    }

    #[test]
    fn the_bound_is_exact() {
        assert!(ClockGuard::new(NOW, up(0)).check(NOW + 60 + JUMP, up(60)));
        assert!(!ClockGuard::new(NOW, up(0)).check(NOW + 61 + JUMP, up(60)));
        assert!(ClockGuard::new(NOW, up(0)).check(NOW + 60 - JUMP, up(60)));
        assert!(!ClockGuard::new(NOW, up(0)).check(NOW + 59 - JUMP, up(60)));
    }
}
