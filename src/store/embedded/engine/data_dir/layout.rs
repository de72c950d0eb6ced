//! The files that a data folder must have, checked before the engine sees them.
//!
//! Why: the engine takes a folder without some files for a new one, and cuts a journal off where it cannot read on. It
//! would repair damage by forgetting.

use std::{
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{folder::DataDir, refused::Refused, refused::is_damage};
use crate::store::embedded::engine::marker::{DRAFT, State};
use crate::store::embedded::{
    codec::Format,
    engine::{claim::LOCK, journal_check},
};

/// The engine's own folder.
pub(super) const ENGINE: &str = "fjall";

/// The keyspaces of a folder of this format, each in a folder of its own. 0 is the engine's list of them.
fn keyspaces(format: Format) -> RangeInclusive<u8> {
    match format {
        Format::One | Format::Two => 0..=3,
    }
}

impl DataDir {
    /// Checks that everything is there and that every journal is readable to its end. Reads only.
    pub(super) fn examine(&self, engine: &Path) -> Result<(), Refused> {
        let absent = |path: PathBuf| {
            let name = path.strip_prefix(self.base()).unwrap_or(&path).display().to_string();
            self.damaged(&format!("{name} is missing"))
        };
        let io = |cause: io::Error| self.refused(&cause);
        let content = self.marker.content();
        if let Some(path) = missing(engine, content.format).map_err(io)? {
            return Err(absent(path));
        }
        let journals = journal_check::all(engine).map_err(io)?;
        for path in &journals {
            // The engine preallocates its journals, and each opening writes an entry.
            if content.state == State::Ready && path.metadata().map_err(io)?.len() == 0 {
                return Err(self.damaged("a journal is empty"));
            }
            if !journal_check::intact(path).map_err(io)? {
                return Err(self.damaged("a journal is unreadable before its end"));
            }
        }
        if journals.is_empty() {
            return Err(absent(engine.join("*.jnl")));
        }
        Ok(())
    }
}

/// The first file or folder that is missing and without which the engine would take its folder for a new one.
pub(super) fn missing(engine: &Path, format: Format) -> io::Result<Option<PathBuf>> {
    let mut expected = vec![engine.join("version"), engine.join("lock")];
    for id in keyspaces(format) {
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

/// Whether there is a file at a path. Fails if the system does not tell.
pub(super) fn is_file(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(cause) if is_damage(&cause) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// Whether a folder holds anything besides the files that an interrupted first start leaves.
pub(super) fn foreign(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != LOCK && name != DRAFT {
            return Ok(true);
        }
    }
    Ok(false)
}
