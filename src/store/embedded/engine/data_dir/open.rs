//! Opening the engine of a claimed folder, at the start and after it has failed.

use std::{fs, io};

use super::{
    engine_seen::EngineSeen,
    folder::DataDir,
    layout::{ENGINE, is_file},
    refused::Refused,
    refused::unusable,
};
use crate::store::embedded::engine::marker::{MARKER, State};
use crate::store::embedded::engine::{
    Engine,
    catch_panic::{Panicked, catch_panic},
    journal_check,
};

/// Free space that the disk must have before a failed engine is opened again, in bytes. Why: the engine writes the
/// tables that it owes first, and would fail again at once without room for them.
const MIN_FREE: u64 = 32 * 1024 * 1024;

impl DataDir {
    /// Opens the engine, with `cache` bytes for its blocks.
    pub(crate) fn open(&self, cache: u64) -> Result<Engine, Refused> {
        let engine = self.base().join(ENGINE);
        let before = self.marker.content().state;
        let io = |cause: io::Error| self.refused(&cause);
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
            let engine = Engine::open(home, cache, self.marker.clone())?;
            engine.leave_mark()?;
            Ok::<_, fjall::Error>(engine)
        });
        let refused = match opened {
            Ok(Ok(opened)) => {
                self.mark(State::Ready).map_err(Refused::Here)?;
                *self.seen() = Some(EngineSeen::new(identity, &engine));
                return Ok(opened);
            }
            Ok(Err(error)) => match unusable(&error) {
                Some(why) => Refused::Here(self.unusable(&why)),
                None => self.damaged(&error.to_string()),
            },
            Err(Panicked) => self.damaged("the engine panicked while it read it"),
        };
        if before == State::Ready {
            self.mark(State::Ready).map_err(Refused::Here)?;
        }
        Err(refused)
    }

    /// Prepares for another attempt to open a failed engine: the folder must be in its place and claimed by this
    /// process, and the disk must have room.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        let unusable = |cause: io::Error| self.unusable(&cause.to_string());
        // An emptied folder stays empty. Why: with a new marker in it, no later start would create its engine.
        if !is_file(&self.base().join(MARKER)).map_err(unusable)? {
            return Err(self.unusable("its marker file is missing"));
        }
        self.claim.renew().map_err(|why| self.unusable(&why))?;
        let disk = rustix::fs::statvfs(self.base()).map_err(|cause| unusable(cause.into()))?;
        // Some file systems report no size.
        if disk.f_blocks > 0 && disk.f_bavail.saturating_mul(disk.f_frsize) < MIN_FREE {
            return Err(unusable(io::ErrorKind::StorageFull.into()));
        }
        // This write fails where a quota is used up.
        self.mark(State::Opening)
    }

    /// Opens an engine that has failed in this process and has been closed.
    pub(crate) fn open_again(&self, cache: u64) -> Result<Engine, String> {
        let engine = self.base().join(ENGINE);
        journal_check::wait_until_closed(&engine);
        // After a failed fsync, the page cache may show bytes that the disk does not have.
        let unusable = |cause: io::Error| self.unusable(&cause.to_string());
        for path in journal_check::all(&engine).map_err(unusable)? {
            journal_check::rewrite(&path).map_err(unusable)?;
        }
        Ok(self.open(cache)?)
    }

    fn mark(&self, state: State) -> Result<(), String> {
        self.marker
            .set_state(state)
            .map_err(|cause| self.unusable(&cause.to_string()))
    }
}
