//! What a store keeps of a session, and what a client sees of it.

use std::fmt;

use serde::Serialize;

use super::{Data, Ip, Seconds, UserId};

/// What a store keeps of one session.
#[derive(Clone)]
pub struct Record {
    /// Whose session it is.
    pub id: UserId,
    /// Where it was created from.
    pub ip: Ip,
    /// `r`: 1 at the creation, and 1 more for each get.
    pub reads: u64,
    /// `w`: 1 at the creation, and 1 more for each set.
    pub writes: u64,
    /// `ttl`: how long it may stay idle, in seconds.
    pub ttl: Seconds,
    /// `la`: the second of the last activity.
    pub last_active: Seconds,
    /// Whether activity leaves the end where the creation put it.
    pub no_resave: bool,
    /// `d`, if it has a key.
    pub data: Option<Data>,
}

impl Record {
    /// Seconds since the last activity. A clock behind the one that wrote `la` makes it 0, never negative.
    #[must_use]
    pub fn idle(&self, now: Seconds) -> Seconds {
        now.saturating_sub(self.last_active)
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn expired(&self, now: Seconds) -> bool {
        self.idle(now) > self.ttl
    }

    /// The last second at which the session is alive.
    #[must_use]
    pub fn end(&self) -> Seconds {
        self.last_active.saturating_add(self.ttl)
    }

    /// Notes activity. The end of a `no_resave` session stays: what `la` gains, `ttl` loses.
    pub fn touch(&mut self, now: Seconds) {
        if self.no_resave {
            self.ttl = self.ttl.saturating_sub(self.idle(now));
        }
        self.last_active = self.last_active.max(now);
    }

    /// What a client sees at `now`.
    #[must_use]
    pub fn view(&self, now: Seconds) -> Session {
        let idle = self.idle(now);
        Session {
            id: self.id.clone(),
            r: self.reads,
            w: self.writes,
            ttl: if self.no_resave {
                self.ttl.saturating_sub(idle)
            } else {
                self.ttl
            },
            idle,
            ip: self.ip.clone(),
            no_resave: self.no_resave,
            d: self.data.clone(),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Record(…)")
    }
}

/// A session as a client sees it, its fields in the order of the answer.
#[derive(Debug, Serialize)]
pub struct Session {
    /// Whose session it is.
    pub id: UserId,
    /// Reads before this one.
    pub r: u64,
    /// Writes, this one included.
    pub w: u64,
    /// How long it may stay idle, in seconds; of a `no_resave` session, the seconds left.
    pub ttl: Seconds,
    /// Seconds since the last activity before this request.
    pub idle: Seconds,
    /// Where it was created from.
    pub ip: Ip,
    /// Whether activity leaves its end where it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_resave: bool,
    /// The data, if it has a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub d: Option<Data>,
}
