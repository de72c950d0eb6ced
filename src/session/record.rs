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
#[derive(Debug)]
#[cfg_attr(test, derive(Serialize))]
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
    #[cfg_attr(test, serde(skip_serializing_if = "std::ops::Not::not"))]
    pub no_resave: bool,
    /// The data, if it has a key.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub d: Option<Data>,
}

impl Session {
    /// Adds the session to a JSON text.
    ///
    /// Written out, as all answers but a few have one: what is derived looks at each name for characters to escape, each time.
    pub fn write(&self, text: &mut Vec<u8>) {
        // Room for four numbers of 20 digits and what is around them.
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
    serde_json::to_writer(text, value).expect("a vector takes all");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_session_is_written_as_it_would_be_derived(
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
            prop_assert_eq!(text, serde_json::to_vec(&session).expect("a vector takes all"));
        }
    }
}
