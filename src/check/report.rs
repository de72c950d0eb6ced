//! Writes the findings of a check: a line for each disagreement, within bounds, and a summary.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Display,
    hash::{BuildHasher, RandomState},
    io::{self, Write},
};

use crate::store::{Findings, Location};

/// Maximum number of lines for one kind of disagreement. Further ones are only counted.
const MAX_LINES: u64 = 100;

/// The counts of one kind of disagreement.
#[derive(Default)]
struct KindCounts {
    found: u64,
    repaired: u64,
}

/// A report that is written to `out` line by line.
pub(crate) struct Report<W> {
    out: W,
    kinds: BTreeMap<&'static str, KindCounts>,
    /// Hashes of what was reported: a walk may meet an entry twice while others change the store.
    seen: HashSet<u64>,
    sessions: HashSet<u64>,
    ids: HashSet<u64>,
    apps: HashSet<u64>,
    expired: u64,
    foreign: HashSet<u64>,
    hasher: RandomState,
    failure: Option<io::Error>,
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

    fn tell(&mut self, kind: &'static str, hash: u64, what: &str, mended: bool) {
        if !self.seen.insert(hash) {
            return;
        }
        let counts = self.kinds.entry(kind).or_default();
        counts.found += 1;
        counts.repaired += u64::from(mended);
        if counts.found <= MAX_LINES {
            let end = if mended { ": mended" } else { "" };
            self.line(&format!("{kind}: {what}{end}"));
        }
    }

    /// Writes the summary. Returns true if everything agrees now.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        let kinds = std::mem::take(&mut self.kinds);
        let (mut found, mut mended) = (0, 0);
        for (kind, counts) in kinds {
            if counts.found > MAX_LINES {
                self.line(&format!("{kind}: and {} more", counts.found - MAX_LINES));
            }
            found += counts.found;
            mended += counts.repaired;
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

impl<W: Write> Findings for Report<W> {
    fn session(&mut self, app: &str, id: &str, token: &str, expired: bool) {
        if self.sessions.insert(self.hasher.hash_one((app, token))) {
            self.apps.insert(self.hasher.hash_one(app));
            self.ids.insert(self.hasher.hash_one((app, id)));
            self.expired += u64::from(expired);
        }
    }

    fn has_session(&self, app: &str, id: &str) -> bool {
        self.ids.contains(&self.hasher.hash_one((app, id)))
    }

    fn foreign(&mut self, name: &[u8]) {
        self.foreign.insert(self.hasher.hash_one(name));
    }

    fn disagreement(&mut self, kind: &'static str, location: Location<'_>, repaired: bool) {
        let hash = self.hasher.hash_one((kind, location));
        self.tell(kind, hash, &location.to_string(), repaired);
    }

    fn unreadable(&mut self, kind: &'static str, what: &dyn Display) {
        let what = what.to_string();
        let hash = self.hasher.hash_one((kind, &what));
        self.tell(kind, hash, &what, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location<'a>(token: &'a str, id: &'a str) -> Location<'a> {
        Location {
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
            report.disagreement("lost", location(&token, "a\nb"), n != 5);
            // The same disagreement again counts once.
            report.disagreement("lost", location(&token, "a\nb"), true);
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
