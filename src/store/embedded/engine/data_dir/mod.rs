//! The data folder: claimed by one process, recognised as ours, refused and left alone otherwise.

mod layout;
mod marker;
mod refused;

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub(crate) use self::refused::{Refused, unusable};
use self::{
    layout::{ENGINE, foreign, is_file, missing},
    marker::{MARKER, NEW, OPENING, READY, State},
};
use super::{
    Engine,
    anchor::Identity,
    catch_panic::{Panicked, catch_panic},
    claim::Claim,
    journal_check::{self, Newest},
};

/// What the disk must have free before an engine is opened that had failed: enough for the tables that it has to write
/// first, lest it fail at once.
const ROOM: u64 = 32 * 1024 * 1024;

/// A folder that this process has claimed.
pub(crate) struct DataDir {
    claim: Claim,
    state: Mutex<State>,
    engine: Mutex<Option<EngineSeen>>,
}

/// What was last seen of the open engine's folder.
struct EngineSeen {
    identity: Identity,
    journal: Option<Newest>,
}

impl DataDir {
    /// Claims `path`, which is made if it does not exist. The error is one line for the operator.
    pub(crate) fn claim(path: &Path) -> Result<Self, String> {
        let io = |cause: std::io::Error| format!("cannot use the data folder {}: {cause}", path.display());
        // Tokens are secrets: nobody else looks in.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io)?;
        let marker = path.join(MARKER);
        let ours = is_file(&marker).map_err(io)?;
        if !ours && foreign(path).map_err(io)? {
            return Err(format!(
                "the data folder {} is not empty and not a data folder of rest-sessions; it is left as it was",
                path.display()
            ));
        }
        let folder = Self {
            claim: Claim::take(path)?,
            state: Mutex::new(State::New),
            engine: Mutex::new(None),
        };
        // Not as it was before: another process may have made it meanwhile, and ended.
        if is_file(&marker).map_err(io)? {
            *folder.state() = match fs::read(&marker).map_err(io)? {
                text if text == READY.as_bytes() => State::Ready,
                text if text == OPENING.as_bytes() => State::Opening,
                text if text == NEW.as_bytes() => State::New,
                _ => return Err(folder.damaged("its marker file is of another format").into()),
            };
        } else {
            folder.write_marker(NEW).map_err(io)?;
        }
        Ok(folder)
    }

    /// Claims a folder that a service has used before.
    pub(crate) fn claim_existing(path: &Path) -> Result<Self, String> {
        match is_file(&path.join(MARKER)) {
            Ok(true) => Self::claim(path),
            Ok(false) => Err(format!("{} is no data folder of rest-sessions", path.display())),
            Err(cause) => Err(format!("cannot use the data folder {}: {cause}", path.display())),
        }
    }

    /// The path that the operator knows it by.
    fn path(&self) -> &Path {
        self.claim.folder().path()
    }

    /// A path that leads to it, wherever it is now.
    fn base(&self) -> &Path {
        self.claim.folder().base()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine(&self) -> MutexGuard<'_, Option<EngineSeen>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the engine, with `cache` bytes for its blocks.
    pub(crate) fn open(&self, cache: u64) -> Result<Engine, Refused> {
        let engine = self.base().join(ENGINE);
        let before = *self.state();
        let io = |cause: std::io::Error| self.refused(&cause);
        if before == State::New {
            if engine.exists() {
                fs::remove_dir_all(&engine).map_err(io)?;
            }
            fs::create_dir(&engine).map_err(io)?;
        } else {
            self.examine(&engine)?;
        }
        let home = self.claim.folder().below(ENGINE).map_err(io)?;
        let identity = home.identity();
        if before == State::Ready {
            self.mark(State::Opening).map_err(Refused::Here)?;
        }
        let opened = catch_panic(|| {
            let engine = Engine::open(home, cache)?;
            engine.leave_mark()?;
            Ok::<_, fjall::Error>(engine)
        });
        let refused = match opened {
            Ok(Ok(engine)) => {
                self.mark(State::Ready).map_err(Refused::Here)?;
                *self.engine() = Some(EngineSeen {
                    identity,
                    journal: Newest::find(&self.base().join(ENGINE)).ok().flatten(),
                });
                return Ok(engine);
            }
            Ok(Err(error)) => match unusable(&error) {
                Some(why) => Refused::Here(self.unusable(&why)),
                None => self.damaged(&error.to_string()),
            },
            Err(Panicked) => self.damaged("the engine gave up on it"),
        };
        if before == State::Ready {
            self.mark(State::Ready).map_err(Refused::Here)?;
        }
        Err(refused)
    }

    /// Whether the path still leads to this folder and what this process has locked in it. Cheap enough for each commit. The
    /// error says what is wrong.
    pub(crate) fn in_place(&self) -> Result<(), String> {
        self.claim.good()
    }

    /// Looks whether the folder is in its place and has what it must have while the engine is open; some twenty looks at
    /// metadata. The error says what is wrong.
    pub(crate) fn look(&self) -> Result<(), String> {
        self.claim.folder().in_place()?;
        self.claim.good()?;
        let gone = |name: &Path| format!("{} is missing", self.path().join(name).display());
        let io = |cause: std::io::Error| format!("{}: {cause}", self.path().display());
        if !is_file(&self.base().join(MARKER)).map_err(io)? {
            return Err(gone(Path::new(MARKER)));
        }
        if let Some(seen) = &mut *self.engine() {
            seen.identity.is_at(&self.path().join(ENGINE))?;
            let engine = self.base().join(ENGINE);
            if let Some(path) = missing(&engine).map_err(io)? {
                return Err(gone(path.strip_prefix(self.base()).unwrap_or(&path)));
            }
            let newest = Newest::find(&engine).map_err(io)?;
            let newest = newest.ok_or_else(|| gone(Path::new("a journal of the engine")))?;
            if seen.journal.as_ref().is_some_and(|before| !newest.follows(before)) {
                return Err(format!(
                    "{} has another journal than the engine writes",
                    engine.display()
                ));
            }
            seen.journal = Some(newest);
        }
        Ok(())
    }

    /// Makes sure that the folder is in its place and this process' own, and that the disk has room for an engine that
    /// failed for the lack of it.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        let unusable = |cause: std::io::Error| self.unusable(&cause.to_string());
        // A folder that somebody has emptied is left empty: with a marker, no later start would take it for a new one.
        if !is_file(&self.base().join(MARKER)).map_err(unusable)? {
            return Err(self.unusable("its marker file is missing"));
        }
        self.claim.renew().map_err(|why| self.unusable(&why))?;
        let disk = rustix::fs::statvfs(self.base()).map_err(|cause| unusable(cause.into()))?;
        // Some file systems do not tell.
        if disk.f_blocks > 0 && disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM {
            return Err(unusable(std::io::ErrorKind::StorageFull.into()));
        }
        // There may be quotas as well: this is a write.
        self.mark(State::Opening)
    }

    /// Opens an engine that failed in this process and has been closed.
    pub(crate) fn open_again(&self, cache: u64) -> Result<Engine, String> {
        let engine = self.base().join(ENGINE);
        journal_check::wait_until_closed(&engine);
        // After a failed fsync the system may show what the disk does not have.
        let unusable = |cause: std::io::Error| self.unusable(&cause.to_string());
        for path in journal_check::all(&engine).map_err(unusable)? {
            journal_check::rewrite(&path).map_err(unusable)?;
        }
        Ok(self.open(cache)?)
    }
}
