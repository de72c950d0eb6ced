//! What stands on disk: three fjall keyspaces, their keys and values, and nothing else that formats or reads them.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `sessions` | app `0` token | the record |
//! | `users` | app `0` id `0` token | nothing |
//! | `activity` | app `0` second (8 bytes, big-endian) token | the second at which it ends, the id |
//!
//! `activity` serves `activity`, `soapp` and the wiper at once. To spare writes it follows a busy session in steps of
//! [`STEP`]: whoever reads it looks that far back, and asks the record where the entry alone cannot tell.

#[cfg(test)]
mod properties;

use std::{fs::File, path::Path, sync::Arc};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use serde::{Deserialize, Serialize};
use tracing::error;

use crate::{
    error::Error,
    metrics::Metrics,
    session::{App, Data, Ip, Record, Seconds, Token, UserId},
    store::Key,
};

/// How far an `activity` entry may lag behind its session, in seconds.
pub(super) const STEP: Seconds = 10;

/// Between the parts of a key. No part can hold it: ids have no control characters.
const END: u8 = 0;

/// Leads each record, so that a later format can tell itself apart.
const FORMAT: u8 = 1;

/// A record, and where the `activity` index has it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) record: Record,
    /// The second of the session's `activity` entry. Beyond `last_active` if a removed session of the same id was
    /// active later: the id's last activity must not be forgotten with it.
    pub(super) active: Seconds,
}

/// An entry of the `activity` index.
pub(super) struct Activity {
    pub(super) key: Key,
    pub(super) active: Seconds,
    pub(super) end: Seconds,
    pub(super) id: String,
}

/// The open database.
pub(super) struct Disk {
    db: Database,
    sessions: Keyspace,
    users: Keyspace,
    activity: Keyspace,
    metrics: Arc<Metrics>,
    /// The folder's lock. Last, so that it is let go after the engine.
    lock: Option<File>,
}

impl Disk {
    /// Opens or creates the database at `path`, with `cache` bytes for blocks.
    pub(super) fn open(path: &Path, cache: u64, metrics: Arc<Metrics>) -> fjall::Result<Self> {
        // Small memtables keep memory a matter of settings, and flushes short; larger ones measured slower.
        const MEMTABLE: u64 = 8 * 1024 * 1024;
        // The least that fjall takes. What stands in journals is replayed at the next start.
        const JOURNALS: u64 = 64 * 1024 * 1024;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE);
        let db = Database::builder(path)
            .cache_size(cache)
            .max_journaling_size(JOURNALS)
            .open()?;
        Ok(Self {
            sessions: db.keyspace("sessions", options)?,
            users: db.keyspace("users", options)?,
            activity: db.keyspace("activity", options)?,
            db,
            metrics,
            lock: None,
        })
    }

    /// Keeps the folder's lock for as long as the database is open.
    pub(super) fn holding(mut self, lock: File) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Leaves a mark in the journal, so that one without a single batch is known to have lost some.
    pub(super) fn leave_mark(&self) -> fjall::Result<()> {
        let mut batch = self.batch();
        self.mark(&mut batch);
        batch.commit()
    }

    /// Adds that mark to `batch`: always the same one.
    pub(super) fn mark(&self, batch: &mut OwnedWriteBatch) {
        batch.insert(&self.sessions, [END], []);
    }

    /// Reads a session.
    pub(super) fn load(&self, key: &Key) -> Result<Option<Stored>, Error> {
        let value = self.sessions.get(session_key(key)).map_err(failed)?;
        Ok(value.and_then(|bytes| {
            let stored = decode(&bytes);
            if stored.is_none() {
                self.metrics.unreadable();
            }
            stored
        }))
    }

    /// The tokens of one id.
    pub(super) fn tokens(&self, app: App, id: &UserId) -> impl Iterator<Item = Result<Token, Error>> {
        self.users.prefix(user_prefix(app, id)).filter_map(|entry| {
            let key = entry.key().map_err(failed);
            key.map(|key| trailing_token(&key)).transpose()
        })
    }

    /// The sessions of one app, in the order of their tokens, as they are now.
    pub(super) fn sessions(&self, app: App) -> impl Iterator<Item = Result<Key, Error>> + use<> {
        self.sessions.prefix(app_prefix(app)).filter_map(move |entry| {
            let key = entry.key().map_err(failed);
            key.map(|key| trailing_token(&key).map(|token| Key { app, token }))
                .transpose()
        })
    }

    /// The `activity` entries of one app at or after `from`, oldest first.
    pub(super) fn active_since(
        &self,
        app: App,
        from: Seconds,
    ) -> impl DoubleEndedIterator<Item = Result<Activity, Error>> + use<> {
        let mut first = app_prefix(app);
        first.extend(from.to_be_bytes());
        let mut after = app_prefix(app);
        after.extend([0xff; 8]);
        activities(self.activity.range(first..after))
    }

    /// All `activity` entries.
    pub(super) fn activities(&self) -> impl Iterator<Item = Result<Activity, Error>> + use<> {
        activities(self.activity.iter())
    }

    /// A batch that is on disk once it is committed.
    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch().durability(Some(PersistMode::SyncData))
    }

    /// Adds a new session to `batch`.
    pub(super) fn insert(&self, batch: &mut OwnedWriteBatch, key: &Key, stored: &Stored) {
        batch.insert(&self.users, user_key(key, &stored.record.id), []);
        batch.insert(
            &self.activity,
            activity_key(key, stored.active),
            activity_value(&stored.record),
        );
        batch.insert(&self.sessions, session_key(key), encode(stored));
    }

    /// Writes a changed session to `batch`, and moves its `activity` entry if that lags by a step.
    pub(super) fn update(&self, batch: &mut OwnedWriteBatch, key: &Key, stored: &mut Stored) {
        if stored.record.last_active >= stored.active.saturating_add(STEP) {
            self.reindex(batch, key, stored, stored.record.last_active);
        } else {
            batch.insert(&self.sessions, session_key(key), encode(stored));
        }
    }

    /// Moves the `activity` entry of a session to another second.
    pub(super) fn reindex(&self, batch: &mut OwnedWriteBatch, key: &Key, stored: &mut Stored, active: Seconds) {
        batch.remove(&self.activity, activity_key(key, stored.active));
        stored.active = active;
        batch.insert(
            &self.activity,
            activity_key(key, stored.active),
            activity_value(&stored.record),
        );
        batch.insert(&self.sessions, session_key(key), encode(stored));
    }

    /// Removes every trace of a session in `batch`.
    pub(super) fn remove(&self, batch: &mut OwnedWriteBatch, key: &Key, stored: &Stored) {
        batch.remove(&self.sessions, session_key(key));
        batch.remove(&self.users, user_key(key, &stored.record.id));
        batch.remove(&self.activity, activity_key(key, stored.active));
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

/// Logs why the engine failed; clients learn only that it did.
#[expect(clippy::needless_pass_by_value, reason = "it is the last to see the error")]
pub(super) fn failed(cause: fjall::Error) -> Error {
    error!(%cause, "the embedded store failed");
    Error::StoreUnavailable
}

fn activities(entries: fjall::Iter) -> impl DoubleEndedIterator<Item = Result<Activity, Error>> {
    entries.filter_map(|entry| match entry.into_inner() {
        Ok((key, value)) => activity(&key, &value).map(Ok),
        Err(cause) => Some(Err(failed(cause))),
    })
}

fn app_prefix(app: App) -> Vec<u8> {
    let mut key = Vec::with_capacity(App::MAX + 1 + 8 + Token::LEN);
    key.extend(app.as_str().as_bytes());
    key.push(END);
    key
}

fn session_key(key: &Key) -> Vec<u8> {
    let mut bytes = app_prefix(key.app);
    bytes.extend(key.token.as_bytes());
    bytes
}

fn user_prefix(app: App, id: &UserId) -> Vec<u8> {
    let mut bytes = app_prefix(app);
    bytes.extend(id.as_str().as_bytes());
    bytes.push(END);
    bytes
}

fn user_key(key: &Key, id: &UserId) -> Vec<u8> {
    let mut bytes = user_prefix(key.app, id);
    bytes.extend(key.token.as_bytes());
    bytes
}

fn activity_key(key: &Key, active: Seconds) -> Vec<u8> {
    let mut bytes = app_prefix(key.app);
    bytes.extend(active.to_be_bytes());
    bytes.extend(key.token.as_bytes());
    bytes
}

fn trailing_token(key: &[u8]) -> Option<Token> {
    let (_, token) = key.split_last_chunk::<{ Token::LEN }>()?;
    Token::parse(std::str::from_utf8(token).ok()?).ok()
}

fn activity_value(record: &Record) -> Vec<u8> {
    postcard::to_allocvec(&(record.end(), &record.id)).expect("a vector takes all")
}

fn activity(key: &[u8], value: &[u8]) -> Option<Activity> {
    let (head, _) = key.split_last_chunk::<{ Token::LEN }>()?;
    let (app, active) = head.split_last_chunk::<8>()?;
    let app = App::parse(std::str::from_utf8(app.strip_suffix(&[END])?).ok()?).ok()?;
    let (end, id) = postcard::from_bytes(value).ok()?;
    Some(Activity {
        key: Key {
            app,
            token: trailing_token(key)?,
        },
        active: Seconds::from_be_bytes(*active),
        end,
        id,
    })
}

/// A record as its bytes are laid out, by postcard.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    id: &'a str,
    ip: &'a str,
    reads: u64,
    writes: u64,
    ttl: Seconds,
    last_active: Seconds,
    active: Seconds,
    no_resave: bool,
    data: Option<&'a str>,
}

fn encode(stored: &Stored) -> Vec<u8> {
    let record = &stored.record;
    let row = Row {
        id: record.id.as_str(),
        ip: record.ip.as_str(),
        reads: record.reads,
        writes: record.writes,
        ttl: record.ttl,
        last_active: record.last_active,
        active: stored.active,
        no_resave: record.no_resave,
        data: record.data.as_ref().map(Data::as_str),
    };
    postcard::to_extend(&row, vec![FORMAT]).expect("a vector takes all")
}

fn decode(bytes: &[u8]) -> Option<Stored> {
    let (&FORMAT, bytes) = bytes.split_first()? else {
        return None;
    };
    let row: Row<'_> = postcard::from_bytes(bytes).ok()?;
    let data = match row.data {
        Some(text) => Data::stored(text.to_owned())?,
        None => None,
    };
    Some(Stored {
        record: Record {
            id: UserId::stored(row.id),
            ip: Ip::stored(row.ip),
            reads: row.reads,
            writes: row.writes,
            ttl: row.ttl,
            last_active: row.last_active,
            no_resave: row.no_resave,
            data,
        },
        active: row.active,
    })
}
