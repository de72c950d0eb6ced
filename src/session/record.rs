//! A session as stores keep it, and as clients see it.
//!
//! [`Record`] holds the rules by which a session ends and is renewed. On Redis the scripts apply the same rules
//! (`src/store/redis/scripts/renewal.lua`); a property test compares the two.
//!
//! Limit: a record holds the fields that this version knows. Each store keeps further ones, which a newer version or a
//! peer has written, beside it: Redis in the session's hash, the embedded store in the stored record.

use std::fmt;

use serde::Serialize;

use super::{Data, Ip, Seconds, UserId};

/// The fields of one session.
#[derive(Clone)]
pub struct Record {
    /// The user or device that the session belongs to.
    pub id: UserId,
    /// The address that the session was created from.
    pub ip: Ip,
    /// `r`: the number of gets, plus 1 for the creation.
    pub reads: u64,
    /// `w`: the number of sets, plus 1 for the creation.
    pub writes: u64,
    /// `ttl`: how long the session may stay idle, in seconds.
    pub ttl: Seconds,
    /// `la`: the second of the last activity.
    pub last_active: Seconds,
    /// Whether the session keeps the end that its creation gave it, whatever its activity.
    pub no_resave: bool,
    /// `d`; `None` if it has no keys.
    pub data: Option<Data>,
}

impl Record {
    /// Seconds since the last activity; 0 if the clock that wrote `last_active` is ahead of `now`.
    #[must_use]
    pub fn idle(&self, now: Seconds) -> Seconds {
        now.saturating_sub(self.last_active)
    }

    /// Whether the session has ended: it was idle for more than `ttl` seconds.
    #[must_use]
    pub fn expired(&self, now: Seconds) -> bool {
        expired(self.last_active, self.ttl, now)
    }

    /// The last second at which the session is alive.
    #[must_use]
    pub fn end(&self) -> Seconds {
        self.last_active.saturating_add(self.ttl)
    }

    /// Renews the session by activity at `now`. Activity in that second or later is kept.
    ///
    /// A `no_resave` session keeps its end: `ttl` loses what `last_active` gains. Past its end, nothing changes.
    pub fn renew(&mut self, now: Seconds) {
        if self.no_resave {
            let Some(left) = self.ttl.checked_sub(self.idle(now)) else {
                return;
            };
            self.ttl = left;
        }
        self.last_active = self.last_active.max(now);
    }

    /// The session as a client sees it at `now`.
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

/// Whether a session with this last activity and `ttl` has ended.
#[must_use]
pub fn expired(last_active: Seconds, ttl: Seconds, now: Seconds) -> bool {
    now.saturating_sub(last_active) > ttl
}

// Why not derived: a record holds personal data, which must not reach a log.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Record(…)")
    }
}

/// A session as a client sees it, with its fields in the order of the response.
#[derive(Debug)]
#[cfg_attr(test, derive(Serialize))]
pub struct Session {
    /// The user or device that the session belongs to.
    pub id: UserId,
    /// `r` before this request.
    pub r: u64,
    /// `w`, with this request counted.
    pub w: u64,
    /// How long the session may stay idle, in seconds; for a `no_resave` session, the seconds until its end.
    pub ttl: Seconds,
    /// Seconds since the last activity before this request.
    pub idle: Seconds,
    /// The address that the session was created from.
    pub ip: Ip,
    /// Whether the session keeps its end, whatever its activity.
    #[cfg_attr(test, serde(skip_serializing_if = "std::ops::Not::not"))]
    pub no_resave: bool,
    /// `d`; `None` if it has no keys.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub d: Option<Data>,
}

impl Session {
    /// Appends the session as JSON.
    ///
    /// Why by hand: it takes 70 ns where derived code takes 240 ns, because derived code parses `d` again and checks each field
    /// name for characters to escape. That is 2.5 % of the CPU time of a get, and 4 % of that of a listed session.
    pub fn write(&self, text: &mut Vec<u8>) {
        // Space for four numbers of 20 digits, the field names and the braces.
        const FIXED: usize = 160;
        let data = self.d.as_ref().map(Data::as_str);
        text.reserve(FIXED + self.id.as_str().len() + self.ip.as_str().len() + data.map_or(0, str::len));
        write(text, r#"{"id":"#, self.id.as_str());
        write(text, r#","r":"#, &self.r);
        write(text, r#","w":"#, &self.w);
        write(text, r#","ttl":"#, &self.ttl);
        write(text, r#","idle":"#, &self.idle);
        write(text, r#","ip":"#, self.ip.as_str());
        if self.no_resave {
            text.extend_from_slice(br#","no_resave":true"#);
        }
        if let Some(data) = data {
            text.extend_from_slice(br#","d":"#);
            text.extend_from_slice(data.as_bytes());
        }
        text.push(b'}');
    }
}

fn write(text: &mut Vec<u8>, name: &str, value: &(impl Serialize + ?Sized)) {
    text.extend_from_slice(name.as_bytes());
    serde_json::to_writer(text, value).expect("writing to a vector cannot fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_session_is_written_as_serde_would_derive_it(
            (id, ip) in (".*", ".*"),
            [r, w, ttl, idle] in any::<[u64; 4]>(),
            no_resave: bool,
            data in proptest::option::of(".*"),
        ) {
            let data = data.map(|value| serde_json::json!({ "key": value }).to_string());
            let session = Session {
                id: UserId::stored(&id),
                r,
                w,
                ttl,
                idle,
                ip: Ip::stored(&ip),
                no_resave,
                d: data.as_deref().and_then(Data::stored).flatten(),
            };
            let mut text = Vec::new();
            session.write(&mut text);
            prop_assert_eq!(text, serde_json::to_vec(&session).expect("writing to a vector cannot fail"));
        }
    }
}
