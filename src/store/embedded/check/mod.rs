//! A look at everything in a data folder: each table against its checksum, each record, each index entry.
//!
//! The folder is opened as for serving, with the same examination of its journals, and nobody else has it meanwhile.

mod files;
mod repairs;

use std::{path::Path, sync::Arc};

use fjall::{AbstractTree, Keyspace, Slice};
use xxhash_rust::xxh3::xxh3_64;

use self::repairs::Repairs;
use super::{
    codec::{self, Stored},
    engine::{DataDir, Engine, Refused, STEP, unusable},
};
use crate::{
    session::{App, Seconds, UserId},
    store::Key,
    store::{Findings, Location},
};

/// Checks a data folder, with so many bytes of memory. Everything that disagrees goes to the report.
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
        unseen: None,
    };
    check.files();
    check.sessions()?;
    check.users()?;
    check.activity()?;
    match check.unseen {
        Some(why) => Err(Refused::Here(format!("cannot read {}: {why}", path.display()))),
        None => Ok(()),
    }
}

struct Check<'a> {
    engine: Arc<Engine>,
    repairs: Repairs,
    now: Seconds,
    report: &'a mut dyn Findings,
    /// Why something could not be looked at, if so.
    unseen: Option<String>,
}

impl Check<'_> {
    /// Reads every table from the first to the last byte. With one of them damaged, nobody knows what is missing, and
    /// nothing is mended.
    fn files(&mut self) {
        let mut whole = true;
        let engine = self.engine.clone();
        for keyspace in engine.keyspaces() {
            for table in keyspace.tree.current_version().iter_tables() {
                let name = format!("tables/{}", table.id());
                let path = keyspace.path().join(&name);
                match files::checksum(&path) {
                    Ok(sum) if sum == table.checksum().into_u128() => {}
                    Ok(_) => {
                        whole = false;
                        let path = engine.shown(&path);
                        self.report.unreadable("damaged table", &path.display());
                    }
                    Err(cause) => {
                        whole = false;
                        self.unreadable(&cause.into());
                    }
                }
            }
        }
        if !whole {
            self.repairs.give_up();
        }
    }

    /// Every record can be read, and both indexes have it.
    fn sessions(&mut self) -> Result<(), Refused> {
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
            return self.remove("record under a key that is none", &engine.sessions, bytes, None);
        };
        let Some(mut stored) = codec::decode(value) else {
            return self.remove("unreadable record", &engine.sessions, bytes, Some((&key, None)));
        };
        let id = stored.record.id.clone();
        let expired = stored.record.expired(self.now);
        self.report
            .session(key.app.as_str(), id.as_str(), key.token.as_str(), expired);
        if self.find(&engine.users, &codec::user_key(&key, &id)) == Ok(None) {
            let mended = self.repairs.mend(|batch| batch.enter_user(&key, &stored.record));
            self.tell("session missing from the index of ids", &key, &id, mended);
        }
        let entry = self.find(&engine.activity, &codec::activity_key(&key, stored.active));
        if let Ok(entry) = entry
            && let Some(wrong) = wrong_activity(&key, &stored, entry.as_deref())
        {
            let mended = self.repairs.mend(|batch| batch.reindex(&key, &mut stored));
            self.tell(wrong, &key, &id, mended);
        }
    }

    /// Every entry of the index of ids has its session.
    fn users(&mut self) -> Result<(), Refused> {
        let engine = self.engine.clone();
        for entry in engine.users.iter() {
            let Some((bytes, _)) = self.read(entry) else { break };
            match codec::parse_user_key(&bytes) {
                None => self.remove("entry of the index of ids that is none", &engine.users, &bytes, None),
                Some((key, id)) => {
                    if self.lacks(&key, |stored| stored.record.id == id) {
                        let place = Some((&key, Some(id.as_str())));
                        self.remove(
                            "entry of the index of ids without a session",
                            &engine.users,
                            &bytes,
                            place,
                        );
                    }
                }
            }
            self.repairs.commit_if_full()?;
        }
        self.repairs.commit()
    }

    /// So has every entry of the index of activity.
    fn activity(&mut self) -> Result<(), Refused> {
        let engine = self.engine.clone();
        for entry in engine.activity.iter() {
            let Some((bytes, value)) = self.read(entry) else { break };
            if let Some((app, id, _)) = codec::outlived(&bytes, &value) {
                self.outlived(app, &id, &bytes);
                continue;
            }
            match codec::activity(&bytes, &value) {
                None => {
                    self.remove(
                        "entry of the index of activity that is none",
                        &engine.activity,
                        &bytes,
                        None,
                    );
                }
                Some(entry) => {
                    if self.lacks(&entry.key, |stored| stored.active == entry.active) {
                        let place = Some((&entry.key, Some(entry.id.as_str())));
                        let kind = "entry of the index of activity without a session";
                        self.remove(kind, &engine.activity, &bytes, place);
                    }
                }
            }
            self.repairs.commit_if_full()?;
        }
        self.repairs.commit()
    }

    /// Activity that outlives its session is that of an id with others.
    fn outlived(&mut self, app: App, id: &UserId, bytes: &[u8]) {
        let engine = self.engine.clone();
        if engine.users.prefix(codec::user_prefix(app, id)).next().is_some() {
            return;
        }
        let mended = self.repairs.mend(|batch| batch.remove_entry(&engine.activity, bytes));
        let place = Location {
            app: app.as_str(),
            id: Some(id.as_str()),
            token: None,
            shard: None,
        };
        self.report
            .disagreement("activity of an id without a session", place, mended);
    }

    /// An entry; `None` if it cannot be read, and then what is behind it cannot either.
    fn read(&mut self, entry: fjall::Guard) -> Option<(Slice, Slice)> {
        entry.into_inner().inspect_err(|cause| self.unreadable(cause)).ok()
    }

    /// What stands at a key. The error is told of: nothing may be concluded then.
    fn find(&mut self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Slice>, ()> {
        keyspace.get(key).map_err(|cause| self.unreadable(&cause))
    }

    /// Tells of damage, or notes why nobody can tell. What is mended then might not have been wrong.
    fn unreadable(&mut self, cause: &fjall::Error) {
        match unusable(cause) {
            Some(why) => {
                self.unseen.get_or_insert(why);
                self.repairs.give_up();
            }
            None => self.report.unreadable("unreadable table", cause),
        }
    }

    /// Whether there is no session at a key that is as it should be.
    fn lacks(&mut self, key: &Key, as_it_should: impl FnOnce(&Stored) -> bool) -> bool {
        let engine = self.engine.clone();
        let value = self.find(&engine.sessions, &codec::session_key(key));
        let stored = value.map(|value| value.and_then(|value| codec::decode(&value)));
        stored.is_ok_and(|stored| !stored.is_some_and(|stored| as_it_should(&stored)))
    }

    fn tell(&mut self, kind: &'static str, key: &Key, id: &UserId, mended: bool) {
        let place = Location {
            app: key.app.as_str(),
            id: Some(id.as_str()),
            token: Some(key.token.as_str()),
            shard: None,
        };
        self.report.disagreement(kind, place, mended);
    }

    /// Tells of an entry that has no right to be there, and removes it.
    fn remove(&mut self, kind: &'static str, keyspace: &Keyspace, bytes: &[u8], place: Option<(&Key, Option<&str>)>) {
        let mended = self.repairs.mend(|batch| batch.remove_entry(keyspace, bytes));
        let Some((key, id)) = place else {
            // What the bytes are, nobody knows: there may be a token among them.
            let what = format!("{:06x}", xxh3_64(bytes) >> 40);
            let place = Location {
                app: "unknown",
                id: None,
                token: Some(&what),
                shard: None,
            };
            return self.report.disagreement(kind, place, mended);
        };
        let place = Location {
            app: key.app.as_str(),
            id,
            token: Some(key.token.as_str()),
            shard: None,
        };
        self.report.disagreement(kind, place, mended);
    }
}

/// What is wrong with the `activity` entry at the place where a session has it.
fn wrong_activity(key: &Key, stored: &Stored, entry: Option<&[u8]>) -> Option<&'static str> {
    let Some(value) = entry else {
        return Some("session missing from the index of activity");
    };
    let record = &stored.record;
    match codec::activity(&codec::activity_key(key, stored.active), value) {
        // Activity puts the end off, without a word to the index; the wiper asks the record.
        Some(entry) if entry.id == record.id.as_str() && entry.end <= record.end() => {}
        _ => return Some("wrong entry of the index of activity"),
    }
    let late = record.last_active >= stored.active.saturating_add(STEP);
    late.then_some("late entry of the index of activity")
}
