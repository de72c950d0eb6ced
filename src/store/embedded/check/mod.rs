//! `rest-sessions check` of a data folder: compares every table with its checksum, every record with both indexes, and
//! every index entry with its record.
//!
//! The folder is claimed and opened as for serving, with the same check of its journals. Records that a newer version
//! has written are reported and never repaired, nor are their index entries.

mod indexes;
mod repairs;
mod sessions;
mod tables;

use std::{path::Path, sync::Arc};

use fjall::{Keyspace, Slice};
use xxhash_rust::xxh3::xxh3_64;

use self::repairs::Repairs;
use super::engine::{DataDir, Engine, Refused, unusable};
use crate::{
    session::Seconds,
    store::{Findings, Key, Location},
};

/// Checks a data folder at `now`, with `memory` bytes for reading. Reports every disagreement, and repairs it if asked
/// to.
pub(crate) fn check(
    path: &Path,
    memory: u64,
    now: Seconds,
    repair: bool,
    report: &mut dyn Findings,
) -> Result<(), Refused> {
    let folder = DataDir::claim_existing(path).map_err(Refused::Here)?;
    let engine = Arc::new(folder.open(memory / 2)?);
    let mut check = Check {
        repairs: Repairs::new(engine.clone(), repair),
        engine,
        now,
        report,
        inaccessible: None,
    };
    check.tables();
    check.sessions()?;
    check.users()?;
    check.activity()?;
    match check.inaccessible {
        Some(why) => Err(Refused::Here(format!("cannot read {}: {why}", path.display()))),
        None => Ok(()),
    }
}

/// A check in progress.
struct Check<'a> {
    engine: Arc<Engine>,
    repairs: Repairs,
    now: Seconds,
    report: &'a mut dyn Findings,
    /// Why a part of the folder could not be read, if it is not damage.
    inaccessible: Option<String>,
}

impl Check<'_> {
    /// Reads an entry of a walk. `None` ends the walk, because the entries behind it cannot be read either.
    fn read(&mut self, entry: fjall::Guard) -> Option<(Slice, Slice)> {
        entry.into_inner().inspect_err(|cause| self.unreadable(cause)).ok()
    }

    /// Looks a key up. The error is reported; nothing may be concluded from it.
    fn find(&mut self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Slice>, ()> {
        keyspace.get(key).map_err(|cause| self.unreadable(&cause))
    }

    /// Reports damage. If a file is only out of reach, stops all repairs: the data that they rest on may be incomplete.
    fn unreadable(&mut self, cause: &fjall::Error) {
        match unusable(cause) {
            Some(why) => {
                self.inaccessible.get_or_insert(why);
                self.repairs.give_up();
            }
            None => self.report.unreadable("unreadable table", cause),
        }
    }

    /// Reports a disagreement about one session.
    fn tell(&mut self, kind: &'static str, key: &Key, id: Option<&str>, repaired: bool) {
        let place = Location {
            app: key.app.as_str(),
            id,
            token: Some(key.token.as_str()),
            shard: None,
        };
        self.report.disagreement(kind, place, repaired);
    }

    /// Removes an entry that should not exist, and reports it.
    fn remove(&mut self, kind: &'static str, keyspace: &Keyspace, bytes: &[u8], place: Option<(&Key, Option<&str>)>) {
        let repaired = self.repairs.repair(|batch| batch.remove_entry(keyspace, bytes));
        if let Some((key, id)) = place {
            return self.tell(kind, key, id, repaired);
        }
        // A fingerprint stands for the bytes of an unreadable key, because they may hold a token.
        let fingerprint = format!("{:06x}", xxh3_64(bytes) >> 40);
        let place = Location {
            app: "unknown",
            id: None,
            token: Some(&fingerprint),
            shard: None,
        };
        self.report.disagreement(kind, place, repaired);
    }
}
