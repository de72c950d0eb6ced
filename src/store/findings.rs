//! Where a check of a store reports its findings.

use std::fmt::{self, Display};

use xxhash_rust::xxh3::xxh3_64;

/// Receives the findings of a check while a store walks through its own data.
pub trait Findings {
    /// Counts a session. A walk may report it more than once.
    fn session(&mut self, app: &str, id: &str, token: &str, expired: bool);

    /// Whether a session of this id has been counted.
    fn has_session(&self, app: &str, id: &str) -> bool;

    /// Counts a key that does not belong to a session store.
    fn foreign(&mut self, name: &[u8]);

    /// Reports a disagreement, and whether the walk repaired it.
    fn disagreement(&mut self, kind: &'static str, location: Location<'_>, repaired: bool);

    /// Reports damage that hides data. Nothing repairs it. `what` is shown to the operator.
    fn unreadable(&mut self, kind: &'static str, what: &dyn Display);
}

/// Where a disagreement was found. A token is a secret, so a fingerprint stands for it.
#[derive(Clone, Copy, Hash)]
pub struct Location<'a> {
    /// The app as stored. A damaged entry may hold no valid app.
    pub app: &'a str,
    /// The id, if it is known.
    pub id: Option<&'a str>,
    /// The token, if the disagreement concerns one session.
    pub token: Option<&'a str>,
    /// The shard, in a store that has several.
    pub shard: Option<&'a str>,
}

impl Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.app.is_empty() {
            f.write_str("no app")?;
        } else {
            write!(f, "app {}", printable(self.app))?;
        }
        if let Some(id) = self.id {
            write!(f, ", id {id:?}")?;
        }
        if let Some(token) = self.token {
            write!(f, ", session {:06x}", xxh3_64(token.as_bytes()) >> 40)?;
        }
        if let Some(shard) = self.shard {
            write!(f, ", shard {shard}")?;
        }
        Ok(())
    }
}

/// A valid app as it is, anything else in quotes.
fn printable(app: &str) -> String {
    let plain = app
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if plain && app.len() <= 20 {
        app.to_owned()
    } else {
        format!("{app:?}")
    }
}
