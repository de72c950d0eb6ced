//! What a check says: a line for each disagreement, as far as they are not too many, and a summary.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::{self, Display},
    hash::{BuildHasher, Hash, RandomState},
    io::{self, Write},
};

use xxhash_rust::xxh3::xxh3_64;

/// Lines of one kind of disagreement; further ones are only counted.
const LINES: u64 = 100;

/// What is told of each kind of disagreement.
#[derive(Default)]
struct Kind {
    found: u64,
    mended: u64,
}

/// A report, written to `out` as it comes about.
pub(crate) struct Report<W> {
    out: W,
    kinds: BTreeMap<&'static str, Kind>,
    /// A walk may meet an entry twice, while others change what it walks over.
    seen: HashSet<u64>,
    sessions: HashSet<u64>,
    ids: HashSet<u64>,
    apps: HashSet<u64>,
    expired: u64,
    foreign: HashSet<u64>,
    hasher: RandomState,
    failure: Option<io::Error>,
}

/// Where something disagrees. A token is a secret: a session is named by a fingerprint of its own.
#[derive(Clone, Copy, Hash)]
pub(crate) struct Place<'a> {
    /// As it is stored: damaged ones may be no app at all.
    pub(crate) app: &'a str,
    /// Whose session it is, where that is known.
    pub(crate) id: Option<&'a str>,
    /// Which session, where it is about one.
    pub(crate) token: Option<&'a str>,
    /// In which part of the store, where there are several.
    pub(crate) shard: Option<&'a str>,
}

impl Display for Place<'_> {
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

impl<W: Write> Report<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            kinds: BTreeMap::new(),
            seen: HashSet::new(),
            sessions: HashSet::new(),
            ids: HashSet::new(),
            apps: HashSet::new(),
            expired: 0,
            foreign: HashSet::new(),
            hasher: RandomState::new(),
            failure: None,
        }
    }

    /// Counts a session.
    pub(crate) fn session(&mut self, app: &str, id: &str, token: &str, expired: bool) {
        if self.sessions.insert(self.hasher.hash_one((app, token))) {
            self.apps.insert(self.hasher.hash_one(app));
            self.ids.insert(self.hasher.hash_one((app, id)));
            self.expired += u64::from(expired);
        }
    }

    /// Whether a session of this id has been counted.
    pub(crate) fn has_session(&self, app: &str, id: &str) -> bool {
        self.ids.contains(&self.hasher.hash_one((app, id)))
    }

    /// Counts a key that is none of a session store's.
    pub(crate) fn foreign(&mut self, name: &[u8]) {
        self.foreign.insert(self.hasher.hash_one(name));
    }

    /// Tells of a disagreement, and whether it has been mended.
    pub(crate) fn disagreement(&mut self, kind: &'static str, place: Place<'_>, mended: bool) {
        let hash = self.hasher.hash_one((kind, place));
        self.tell(kind, hash, &place.to_string(), mended);
    }

    /// Tells of what cannot be read at all, in the operator's terms. Nothing mends it.
    pub(crate) fn unreadable(&mut self, kind: &'static str, what: &impl Display) {
        let what = what.to_string();
        let hash = self.hasher.hash_one((kind, &what));
        self.tell(kind, hash, &what, false);
    }

    fn tell(&mut self, kind: &'static str, hash: u64, what: &str, mended: bool) {
        if !self.seen.insert(hash) {
            return;
        }
        let counts = self.kinds.entry(kind).or_default();
        counts.found += 1;
        counts.mended += u64::from(mended);
        if counts.found <= LINES {
            let end = if mended { ": mended" } else { "" };
            self.line(&format!("{kind}: {what}{end}"));
        }
    }

    /// Writes the rest. True if everything agrees now.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        let kinds = std::mem::take(&mut self.kinds);
        let (mut found, mut mended) = (0, 0);
        for (kind, counts) in kinds {
            if counts.found > LINES {
                self.line(&format!("{kind}: and {} more", counts.found - LINES));
            }
            found += counts.found;
            mended += counts.mended;
        }
        let others = match self.foreign.len() {
            0 => String::new(),
            others => format!("; {others} other keys left alone"),
        };
        self.line(&format!(
            "{} sessions of {} ids in {} apps, {} of them expired; {found} disagreements, {mended} of them mended{others}",
            self.sessions.len(),
            self.ids.len(),
            self.apps.len(),
            self.expired
        ));
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(found == mended),
        }
    }

    fn line(&mut self, line: &str) {
        if let Err(failure) = writeln!(self.out, "{line}") {
            self.failure.get_or_insert(failure);
        }
    }
}

/// An app as it is, or in quotes if it holds what no app does.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(token: &'a str, id: &'a str) -> Place<'a> {
        Place {
            app: "forum",
            id: Some(id),
            token: Some(token),
            shard: None,
        }
    }

    #[test]
    fn lines_are_bounded_and_hold_no_token() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        for n in 0..103 {
            let token = format!("{n:064}");
            report.session("forum", "a\nb", &token, n == 0);
            report.disagreement("lost", place(&token, "a\nb"), n != 5);
            // A second look at the same counts once.
            report.disagreement("lost", place(&token, "a\nb"), true);
        }
        assert!(!report.finish().unwrap());
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 102);
        assert!(lines[0].starts_with(r#"lost: app forum, id "a\nb", session "#) && lines[0].ends_with(": mended"));
        assert!(!lines[5].ends_with("mended"));
        assert_eq!(lines[100], "lost: and 3 more");
        assert_eq!(
            lines[101],
            "103 sessions of 1 ids in 1 apps, 1 of them expired; 103 disagreements, 102 of them mended"
        );
        assert!(!text.contains(&"0".repeat(60)));
    }
}
