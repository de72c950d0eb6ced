//! The data folder: claimed by one process, recognised as ours, refused and left alone otherwise.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    engine::Engine,
    journal,
    quiet::{Panicked, quietly},
};

/// Locked while a process has the folder.
const LOCK: &str = "lock";
/// Marks the folder as ours, and says how far it is.
const MARKER: &str = "rest-sessions";
/// The engine's own folder.
const ENGINE: &str = "fjall";
/// The engine is being set up for the first time: nothing in it has been promised to anybody.
const NEW: &str = "rest-sessions data, format 1, new\n";
/// The engine is being opened: it may have cut a journal to nothing, and not yet written the mark that comes next.
const OPENING: &str = "rest-sessions data, format 1, opening\n";
/// The engine is set up, and missing files are missed.
const READY: &str = "rest-sessions data, format 1\n";
/// Keyspaces of the engine, its own list (0) included, each in a folder with a `current` file.
const KEYSPACES: std::ops::RangeInclusive<u8> = 0..=3;
/// What the disk must have free before an engine is opened that had failed: enough for the tables that it has to write
/// first, lest it fail at once.
const ROOM: u64 = 32 * 1024 * 1024;

/// A folder that this process has claimed.
pub(super) struct Folder {
    path: PathBuf,
    state: Mutex<State>,
    /// Locked until it is dropped.
    _lock: File,
}

/// How far the folder is, as its marker says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Opening,
    Ready,
}

impl Folder {
    /// Claims `path`, which is made if it does not exist. The error is one line for the operator.
    pub(super) fn claim(path: &Path) -> Result<Self, String> {
        let io = |cause: std::io::Error| format!("cannot use the data folder {}: {cause}", path.display());
        // Tokens are secrets: nobody else looks in.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io)?;
        let marker = path.join(MARKER);
        if !marker.is_file() && foreign(path).map_err(io)? {
            return Err(format!(
                "the data folder {} is not empty and not a data folder of rest-sessions; it is left as it was",
                path.display()
            ));
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(io)?;
        lock.try_lock().map_err(|refused| match refused {
            TryLockError::WouldBlock => format!("another process uses the data folder {}", path.display()),
            TryLockError::Error(cause) => io(cause),
        })?;
        let folder = Self {
            path: path.to_owned(),
            state: Mutex::new(State::New),
            _lock: lock,
        };
        if marker.is_file() {
            *folder.state() = match fs::read(&marker).map_err(io)? {
                text if text == READY.as_bytes() => State::Ready,
                text if text == OPENING.as_bytes() => State::Opening,
                text if text == NEW.as_bytes() => State::New,
                _ => return Err(folder.damaged("its marker file is of another format")),
            };
        } else {
            folder.write_marker(NEW).map_err(io)?;
        }
        Ok(folder)
    }

    /// Claims a folder that a service has used before.
    pub(super) fn claim_existing(path: &Path) -> Result<Self, String> {
        if !path.join(MARKER).is_file() {
            return Err(format!("{} is no data folder of rest-sessions", path.display()));
        }
        Self::claim(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the engine, with `cache` bytes for its blocks.
    pub(super) fn open(&self, cache: u64) -> Result<Engine, String> {
        let engine = self.path.join(ENGINE);
        let before = *self.state();
        if before == State::New {
            if engine.exists() {
                fs::remove_dir_all(&engine).map_err(|cause| self.damaged(&cause.to_string()))?;
            }
        } else {
            self.examine(&engine)?;
        }
        if before == State::Ready {
            self.mark(State::Opening)?;
        }
        let opened = quietly(|| {
            let engine = Engine::open(&engine, cache)?;
            engine.leave_mark()?;
            Ok::<_, fjall::Error>(engine)
        });
        let refused = match opened {
            Ok(Ok(engine)) => {
                self.mark(State::Ready)?;
                return Ok(engine);
            }
            Ok(Err(cause)) => cause.to_string(),
            Err(Panicked) => "the engine gave up on it".to_owned(),
        };
        if before == State::Ready {
            self.mark(State::Ready)?;
        }
        Err(self.damaged(&refused))
    }

    /// Makes sure that the disk has room for an engine that failed for the lack of it.
    pub(super) fn prepare(&self) -> Result<(), String> {
        let unusable = |cause: std::io::Error| self.unusable(&cause);
        let disk = rustix::fs::statvfs(&self.path).map_err(|cause| unusable(cause.into()))?;
        // Some file systems do not tell.
        if disk.f_blocks > 0 && disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM {
            return Err(unusable(std::io::ErrorKind::StorageFull.into()));
        }
        // There may be quotas as well: this is a write.
        self.mark(State::Opening)
    }

    /// Opens an engine that failed in this process and has been closed.
    pub(super) fn open_again(&self, cache: u64) -> Result<Engine, String> {
        let engine = self.path.join(ENGINE);
        journal::wait_until_closed(&engine);
        // After a failed fsync the system may show what the disk does not have.
        for path in journal::all(&engine).map_err(|cause| self.unusable(&cause))? {
            journal::rewrite(&path).map_err(|cause| self.unusable(&cause))?;
        }
        self.open(cache)
    }

    /// Finds what the engine would take for new or for the end of its journal, and mend by forgetting.
    fn examine(&self, engine: &Path) -> Result<(), String> {
        let missing = |path: PathBuf| {
            let name = path.strip_prefix(&self.path).unwrap_or(&path).display().to_string();
            self.damaged(&format!("{name} is missing"))
        };
        let mut expected = vec![engine.join("version"), engine.join("lock")];
        for id in KEYSPACES {
            expected.push(engine.join(format!("keyspaces/{id}/current")));
            expected.push(engine.join(format!("keyspaces/{id}/tables")));
        }
        if let Some(path) = expected.into_iter().find(|path| !path.exists()) {
            return Err(missing(path));
        }
        let io = |cause: std::io::Error| self.damaged(&cause.to_string());
        let journals = journal::all(engine).map_err(io)?;
        for path in &journals {
            // The engine makes its journals longer than they need to be, and each opening leaves its mark.
            if *self.state() == State::Ready && path.metadata().map_err(io)?.len() == 0 {
                return Err(self.damaged("a journal is empty"));
            }
            if !journal::intact(path).map_err(io)? {
                return Err(self.damaged("a journal is unreadable in its middle"));
            }
        }
        if journals.is_empty() {
            return Err(missing(engine.join("*.jnl")));
        }
        Ok(())
    }

    /// Notes how far the folder is.
    fn mark(&self, state: State) -> Result<(), String> {
        let text = match state {
            State::New => NEW,
            State::Opening => OPENING,
            State::Ready => READY,
        };
        self.write_marker(text).map_err(|cause| self.unusable(&cause))?;
        *self.state() = state;
        Ok(())
    }

    /// Replaces the marker at once or not at all.
    fn write_marker(&self, text: &str) -> std::io::Result<()> {
        let draft = self.path.join(format!("{MARKER}.draft"));
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, self.path.join(MARKER))?;
        File::open(&self.path)?.sync_all()
    }

    fn unusable(&self, cause: &std::io::Error) -> String {
        format!("cannot use the data folder {}: {cause}", self.path.display())
    }

    fn damaged(&self, why: &str) -> String {
        format!(
            "the data folder {} is damaged ({why}); it is left as it was",
            self.path.display()
        )
    }
}

/// Whether the folder has anything in it but what a first start leaves that was cut off.
fn foreign(path: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != LOCK && name.to_str() != Some(&format!("{MARKER}.draft")) {
            return Ok(true);
        }
    }
    Ok(false)
}
