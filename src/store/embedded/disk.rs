//! What stands on disk, through an engine that may fail and be opened again.
//!
//! `activity` serves `activity`, `soapp` and the wiper at once. To spare writes it follows a busy session in steps of
//! [`STEP`](super::engine::STEP): whoever reads it looks that far back, and asks the record where the entry alone cannot tell.

use std::{
    ops::{Bound, RangeBounds, RangeInclusive},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    engine::{Batch, Engine, failed},
    folder::Folder,
    rows::{self, Activity, Stored},
};
use crate::{
    observability::metrics::Metrics,
    session::{App, Seconds, Token, UserId},
    store::Error,
    store::Key,
};

/// How long those who read may hold on to an engine that is to be closed.
const LET_GO: Duration = Duration::from_secs(2);

/// The engine of a data folder. Whoever has a reference to it keeps it from being closed.
enum Slot {
    Open(Arc<Engine>),
    /// It is being opened again, which takes as long as its journals are.
    Opening,
    /// That has failed, and will be tried again.
    Closed,
}

/// The disk.
pub(super) struct Disk {
    engine: RwLock<Slot>,
    /// Whether the folder has left its place. Nothing is answered then, as another process may own the place.
    gone: AtomicBool,
    /// Bytes for the engine's blocks.
    blocks: u64,
    metrics: Arc<Metrics>,
    /// Holds the folder's lock. Last, so that it is let go after the engine.
    folder: Folder,
}

impl Disk {
    /// Opens the engine of a folder, with so many bytes for its blocks.
    pub(super) fn open(folder: Folder, blocks: u64, metrics: Arc<Metrics>) -> Result<Self, String> {
        let engine = folder.open(blocks)?;
        Ok(Self {
            engine: RwLock::new(Slot::Open(Arc::new(engine))),
            gone: AtomicBool::new(false),
            blocks,
            metrics,
            folder,
        })
    }

    /// The open engine, unless the folder is not in its place.
    pub(super) fn engine(&self) -> Result<Arc<Engine>, Error> {
        if self.gone() {
            return Err(Error::Unavailable);
        }
        self.any_engine()
    }

    fn any_engine(&self) -> Result<Arc<Engine>, Error> {
        match &*self.engine.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(engine) => Ok(engine.clone()),
            Slot::Opening | Slot::Closed => Err(Error::Unavailable),
        }
    }

    /// Whether it is worth while to wait a moment and ask again.
    pub(super) fn reopening(&self) -> bool {
        matches!(
            *self.engine.read().unwrap_or_else(PoisonError::into_inner),
            Slot::Opening
        )
    }

    /// Whether the folder was found to have left its place.
    pub(super) fn gone(&self) -> bool {
        // No data is handed over by this; a get that overlaps the change may count as before it.
        self.gone.load(Relaxed)
    }

    /// Whether what was just committed is in the folder that the path leads to. If not, the store counts as gone from now on.
    pub(super) fn in_place(&self) -> Result<(), Error> {
        self.folder.in_place().map_err(|_| {
            self.gone.store(true, Relaxed);
            Error::Unavailable
        })
    }

    /// Looks at the folder more closely; the error says what is wrong.
    pub(super) fn look(&self) -> Result<(), String> {
        self.folder.look()
    }

    /// The folder has left its place: answers nothing from now on, and closes the engine, so that it does no work of its own
    /// there either.
    pub(super) fn lose(&self) {
        self.gone.store(true, Relaxed);
        self.shut();
    }

    /// The folder is in its place, and memory agrees with it.
    pub(super) fn found(&self) {
        self.gone.store(false, Relaxed);
    }

    /// Closes the engine, unless a list that is under way keeps it too long.
    pub(super) fn shut(&self) {
        if let Slot::Open(engine) = self.replace(Slot::Closed)
            && let Err(engine) = close(engine)
        {
            self.replace(Slot::Open(engine));
        }
    }

    /// Closes an engine that takes no more writes and opens its folder again, once the disk has room for it to go on.
    /// Until then it is left open for those who read.
    ///
    /// If the folder has left its place, it has to be back; nothing is answered before [`Self::found`].
    pub(super) fn reopen(&self) -> Result<(), String> {
        self.folder.prepare()?;
        if let Slot::Open(engine) = self.replace(Slot::Opening)
            && let Err(engine) = close(engine)
        {
            self.replace(Slot::Open(engine));
            return Err("somebody still reads".into());
        }
        let opened = self.folder.open_again(self.blocks);
        let (slot, outcome) = match opened {
            Ok(engine) => (Slot::Open(Arc::new(engine)), Ok(())),
            Err(refused) => (Slot::Closed, Err(refused)),
        };
        self.replace(slot);
        outcome
    }

    fn replace(&self, slot: Slot) -> Slot {
        std::mem::replace(&mut *self.engine.write().unwrap_or_else(PoisonError::into_inner), slot)
    }

    /// An empty batch.
    pub(super) fn batch(&self) -> Result<Batch, Error> {
        self.engine().map(Batch::new)
    }

    /// Reads a session.
    pub(super) fn load(&self, key: &Key) -> Result<Option<Stored>, Error> {
        self.load_from(&*self.engine()?, key)
    }

    /// The same from an engine that was opened again, before anything is answered.
    pub(super) fn load_again(&self, key: &Key) -> Result<Option<Stored>, Error> {
        self.load_from(&*self.any_engine()?, key)
    }

    fn load_from(&self, engine: &Engine, key: &Key) -> Result<Option<Stored>, Error> {
        let value = engine.sessions.get(rows::session_key(key)).map_err(failed)?;
        Ok(value.and_then(|bytes| {
            let stored = rows::decode(&bytes);
            if stored.is_none() {
                self.metrics.unreadable();
            }
            stored
        }))
    }

    /// The second of a session's last activity, unless it has expired, without a look at its data.
    pub(super) fn last_active(&self, key: &Key, now: Seconds) -> Result<Option<Seconds>, Error> {
        let value = self.engine()?.sessions.get(rows::session_key(key)).map_err(failed)?;
        let Some(bytes) = value else {
            return Ok(None);
        };
        let Some((last_active, ttl)) = rows::times(&bytes) else {
            self.metrics.unreadable();
            return Ok(None);
        };
        Ok((now.saturating_sub(last_active) <= ttl).then_some(last_active))
    }

    /// The tokens of one id, after one of them.
    pub(super) fn tokens(
        &self,
        app: App,
        id: &UserId,
        after: Option<Token>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<Token, Error>> + use<>, Error> {
        let after = after.map(|token| rows::user_key(&Key { app, token }, id));
        let engine = self.engine()?;
        let entries = engine.users.range(following(rows::user_prefix(app, id), after));
        Ok(tokens(held(entries, engine)))
    }

    /// The sessions of one app in the order of their tokens, after one of them.
    pub(super) fn sessions(
        &self,
        app: App,
        after: Option<Token>,
    ) -> Result<impl Iterator<Item = Result<Key, Error>> + use<>, Error> {
        let after = after.map(|token| rows::session_key(&Key { app, token }));
        let engine = self.engine()?;
        let entries = engine.sessions.range(following(rows::app_prefix(app), after));
        Ok(held(entries, engine).filter_map(move |entry| {
            let key = entry.key().map_err(failed);
            key.map(|key| rows::trailing_token(&key).map(|token| Key { app, token }))
                .transpose()
        }))
    }

    /// The `activity` entries of one app from one second up to another, the latest first; only those that follow one of them,
    /// if one is given.
    pub(super) fn active(
        &self,
        app: App,
        seconds: RangeInclusive<Seconds>,
        after: Option<(Seconds, Token)>,
    ) -> Result<impl Iterator<Item = Result<Activity, Error>> + use<>, Error> {
        let (mut first, mut last) = (rows::app_prefix(app), rows::app_prefix(app));
        first.extend(seconds.start().to_be_bytes());
        last.extend(seconds.end().to_be_bytes());
        // After every token.
        last.push(0xff);
        if let Some((second, token)) = after {
            last = rows::activity_key(&Key { app, token }, second);
        }
        if last <= first {
            last.clone_from(&first);
        }
        let engine = self.engine()?;
        let entries = held(engine.activity.range(first..last), engine);
        Ok(activities(entries.rev()))
    }

    /// The last second at which a session of an id was active that is no more, if that is remembered.
    pub(super) fn outlived(&self, app: App, id: &UserId) -> Result<Option<Seconds>, Error> {
        let key = rows::outlived_key(app, id.as_str());
        let value = self.engine()?.activity.get(key).map_err(failed)?;
        Ok(value.and_then(|value| rows::outlived_second(&value)))
    }

    /// The ids of one app with such a second, and that.
    pub(super) fn all_outlived(
        &self,
        app: App,
    ) -> Result<impl Iterator<Item = Result<(UserId, Seconds), Error>> + use<>, Error> {
        let engine = self.engine()?;
        let entries = held(engine.activity.prefix(rows::outlived_prefix(app)), engine);
        Ok(entries.filter_map(|entry| match entry.into_inner() {
            Ok((key, value)) => rows::outlived(&key, &value).map(|(_, id, second)| Ok((id, second))),
            Err(cause) => Some(Err(failed(cause))),
        }))
    }

    /// All `activity` entries, after one of them.
    pub(super) fn activities(
        &self,
        after: Option<&Activity>,
    ) -> Result<impl Iterator<Item = Result<Activity, Error>> + use<>, Error> {
        let after = after.map(|entry| rows::activity_key(&entry.key, entry.active));
        let engine = self.engine()?;
        let entries = engine.activity.range(following(Vec::new(), after));
        Ok(activities(held(entries, engine)))
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

/// The keys that begin with `prefix`, after one of them.
fn following(prefix: Vec<u8>, after: Option<Vec<u8>>) -> impl RangeBounds<Vec<u8>> {
    // No key goes on with 0xff: tokens and app names have only ASCII.
    let end = [prefix.as_slice(), &[0xff]].concat();
    let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
    (start, Bound::Excluded(end))
}

/// Entries that keep their engine open: an old iterator may take files with it that a new engine knows by the same name.
struct Held {
    entries: fjall::Iter,
    _engine: Arc<Engine>,
}

impl Iterator for Held {
    type Item = fjall::Guard;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next()
    }
}

impl DoubleEndedIterator for Held {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries.next_back()
    }
}

fn held(entries: fjall::Iter, engine: Arc<Engine>) -> Held {
    Held {
        entries,
        _engine: engine,
    }
}

fn tokens(
    entries: impl DoubleEndedIterator<Item = fjall::Guard>,
) -> impl DoubleEndedIterator<Item = Result<Token, Error>> {
    entries.filter_map(|entry| {
        let key = entry.key().map_err(failed);
        key.map(|key| rows::trailing_token(&key)).transpose()
    })
}

fn activities(entries: impl Iterator<Item = fjall::Guard>) -> impl Iterator<Item = Result<Activity, Error>> {
    entries.filter_map(|entry| match entry.into_inner() {
        Ok((key, value)) => rows::activity(&key, &value).map(Ok),
        Err(cause) => Some(Err(failed(cause))),
    })
}

/// Closes an engine once nobody has it any more; gives it back if somebody keeps it too long.
fn close(mut engine: Arc<Engine>) -> Result<(), Arc<Engine>> {
    let patience = Instant::now() + LET_GO;
    loop {
        match Arc::try_unwrap(engine) {
            Ok(last) => {
                // Where its own threads have failed, the engine may panic.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(last)));
                return Ok(());
            }
            Err(shared) if Instant::now() > patience => return Err(shared),
            Err(shared) => engine = shared,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
