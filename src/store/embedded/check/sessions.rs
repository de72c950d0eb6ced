//! The records: each can be read, and both indexes have an entry for it.

use super::Check;
use crate::{
    session::Seconds,
    store::{
        Key,
        embedded::{
            codec::{self, Stored, Unreadable},
            engine::{Refused, STEP},
        },
    },
};

impl Check<'_> {
    pub(super) fn sessions(&mut self) -> Result<(), Refused> {
        let engine = self.engine.clone();
        for entry in engine.sessions.iter() {
            let Some((bytes, value)) = self.read(entry) else { break };
            if *bytes != [codec::END] {
                self.session(&bytes, &value);
                self.repairs.commit_if_full()?;
            }
        }
        self.repairs.commit()
    }

    fn session(&mut self, bytes: &[u8], value: &[u8]) {
        let engine = self.engine.clone();
        let Some(key) = codec::parse_session_key(bytes) else {
            return self.remove("record under an invalid key", &engine.sessions, bytes, None);
        };
        match codec::decode(value) {
            Ok(stored) => self.indexes_of(&key, stored),
            Err(Unreadable::Damaged) => {
                self.remove("unreadable record", &engine.sessions, bytes, Some((&key, None)));
            }
            // It may be alive, so neither it nor its index entries are repaired.
            Err(Unreadable::Newer) => self.tell("record written by a newer version", &key, None, false),
        }
    }

    fn indexes_of(&mut self, key: &Key, mut stored: Stored) {
        let engine = self.engine.clone();
        let id = stored.record.id.clone();
        let expired = stored.record.expired(self.now);
        self.report
            .session(key.app.as_str(), id.as_str(), key.token.as_str(), expired);
        if self.find(&engine.users, &codec::user_key(key, &id)) == Ok(None) {
            let repaired = self.repairs.repair(|batch| batch.enter_user(key, &stored.record));
            self.tell(
                "session missing from the index of ids",
                key,
                Some(id.as_str()),
                repaired,
            );
        }
        let entry = self.find(&engine.activity, &codec::activity_key(key, stored.active));
        if let Ok(entry) = entry
            && let Some(wrong) = wrong_activity(key, &stored, entry.as_deref())
        {
            let repaired = self.repairs.repair(|batch| batch.reindex(key, &mut stored));
            self.tell(wrong, key, Some(id.as_str()), repaired);
        }
    }

    /// Whether an index entry has no session: none that `belongs` to it, and none of a newer version, which may belong.
    pub(super) fn lacks(&mut self, key: &Key, belongs: impl FnOnce(&Stored) -> bool) -> bool {
        let engine = self.engine.clone();
        match self.find(&engine.sessions, &codec::session_key(key)) {
            Ok(Some(value)) => match codec::decode(&value) {
                Ok(stored) => !belongs(&stored),
                Err(Unreadable::Damaged) => true,
                Err(Unreadable::Newer) => false,
            },
            Ok(None) => true,
            Err(()) => false,
        }
    }
}

/// What is wrong with the `activity` entry under the key that a session names.
fn wrong_activity(key: &Key, stored: &Stored, entry: Option<&[u8]>) -> Option<&'static str> {
    let Some(value) = entry else {
        return Some("session missing from the index of activity");
    };
    let (record, active): (_, Seconds) = (&stored.record, stored.active);
    match codec::activity(&codec::activity_key(key, active), value) {
        // Activity moves the end of a session and not that of its entry; the wiper asks the record.
        Some(entry) if entry.id == record.id.as_str() && entry.end <= record.end() => {}
        _ => return Some("wrong entry of the index of activity"),
    }
    let late = record.last_active >= active.saturating_add(STEP);
    late.then_some("late entry of the index of activity")
}
