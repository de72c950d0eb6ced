//! The data folder: claimed by one process, recognised as ours, refused and left alone otherwise.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    anchor::Identity,
    claim::{Claim, LOCK},
    engine::Engine,
    journal::{self, Newest},
    quiet::{Panicked, quietly},
};

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

/// Why a folder is not opened, in one line for the operator.
pub(crate) enum Refused {
    /// It cannot be used here and now; whether it is whole, nobody knows.
    Here(String),
    /// No service would start on it.
    Damaged(String),
}

impl From<Refused> for String {
    fn from((Refused::Here(line) | Refused::Damaged(line)): Refused) -> Self {
        line
    }
}

/// A folder that this process has claimed.
pub(super) struct Folder {
    claim: Claim,
    state: Mutex<State>,
    engine: Mutex<Option<EngineSeen>>,
}

/// What was last seen of the open engine's folder.
struct EngineSeen {
    identity: Identity,
    journal: Option<Newest>,
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
    pub(super) fn claim_existing(path: &Path) -> Result<Self, String> {
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
    pub(super) fn open(&self, cache: u64) -> Result<Engine, Refused> {
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
        let opened = quietly(|| {
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
    pub(super) fn in_place(&self) -> Result<(), String> {
        self.claim.good()
    }

    /// Looks whether the folder is in its place and has what it must have while the engine is open; some twenty looks at
    /// metadata. The error says what is wrong.
    pub(super) fn look(&self) -> Result<(), String> {
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
    pub(super) fn prepare(&self) -> Result<(), String> {
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
    pub(super) fn open_again(&self, cache: u64) -> Result<Engine, String> {
        let engine = self.base().join(ENGINE);
        journal::wait_until_closed(&engine);
        // After a failed fsync the system may show what the disk does not have.
        let unusable = |cause: std::io::Error| self.unusable(&cause.to_string());
        for path in journal::all(&engine).map_err(unusable)? {
            journal::rewrite(&path).map_err(unusable)?;
        }
        Ok(self.open(cache)?)
    }

    /// Finds what the engine would take for new or for the end of its journal, and mend by forgetting.
    fn examine(&self, engine: &Path) -> Result<(), Refused> {
        let absent = |path: PathBuf| {
            let name = path.strip_prefix(self.base()).unwrap_or(&path).display().to_string();
            self.damaged(&format!("{name} is missing"))
        };
        let io = |cause: std::io::Error| self.refused(&cause);
        if let Some(path) = missing(engine).map_err(io)? {
            return Err(absent(path));
        }
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
            return Err(absent(engine.join("*.jnl")));
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
        self.write_marker(text)
            .map_err(|cause| self.unusable(&cause.to_string()))?;
        *self.state() = state;
        Ok(())
    }

    /// Replaces the marker at once or not at all.
    fn write_marker(&self, text: &str) -> std::io::Result<()> {
        let draft = self.base().join(format!("{MARKER}.draft"));
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, self.base().join(MARKER))?;
        File::open(self.base())?.sync_all()
    }

    fn unusable(&self, why: &str) -> String {
        format!("cannot use the data folder {}: {why}", self.path().display())
    }

    fn damaged(&self, why: &str) -> Refused {
        Refused::Damaged(format!(
            "the data folder {} is damaged ({why}); it is left as it was",
            self.path().display()
        ))
    }

    /// By what the system says of a file of the engine.
    fn refused(&self, cause: &std::io::Error) -> Refused {
        let why = cause.to_string();
        if tells_of_damage(cause) {
            self.damaged(&why)
        } else {
            Refused::Here(self.unusable(&why))
        }
    }
}

/// Why the engine could not look at its files, if that is what an error says. Any other tells of damage.
pub(super) fn unusable(error: &fjall::Error) -> Option<String> {
    if matches!(error, fjall::Error::Poisoned) {
        // What it met in a thread of its own, it does not tell.
        return Some("the engine could not write to it".to_owned());
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return (!tells_of_damage(io)).then(|| io.to_string());
        }
        cause = error.source();
    }
    None
}

/// Whether a file is not as the engine has left it, and not only out of reach: no right, no room, no more open files.
fn tells_of_damage(cause: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    let of_the_system = cause.raw_os_error().is_some();
    !of_the_system || matches!(cause.kind(), NotFound | NotADirectory | IsADirectory | InvalidInput)
}

/// The first file or folder without which the engine would take its folder for new, if one is missing.
fn missing(engine: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut expected = vec![engine.join("version"), engine.join("lock")];
    for id in KEYSPACES {
        expected.push(engine.join(format!("keyspaces/{id}/current")));
        expected.push(engine.join(format!("keyspaces/{id}/tables")));
    }
    for path in expected {
        if !path.try_exists()? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Whether there is a file of this name. The error is that nobody can tell.
fn is_file(path: &Path) -> std::io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(cause) if tells_of_damage(&cause) => Ok(false),
        Err(cause) => Err(cause),
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
