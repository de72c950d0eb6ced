//! The files that a data folder must have, looked at before the engine sees them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    DataDir, Refused,
    marker::{MARKER, State},
    refused::tells_of_damage,
};
use crate::store::embedded::engine::{claim::LOCK, journal_check};

/// The engine's own folder.
pub(super) const ENGINE: &str = "fjall";
/// Keyspaces of the engine, its own list (0) included, each in a folder with a `current` file.
const KEYSPACES: std::ops::RangeInclusive<u8> = 0..=3;

impl DataDir {
    /// Finds what the engine would take for new or for the end of its journal, and mend by forgetting.
    pub(super) fn examine(&self, engine: &Path) -> Result<(), Refused> {
        let absent = |path: PathBuf| {
            let name = path.strip_prefix(self.base()).unwrap_or(&path).display().to_string();
            self.damaged(&format!("{name} is missing"))
        };
        let io = |cause: std::io::Error| self.refused(&cause);
        if let Some(path) = missing(engine).map_err(io)? {
            return Err(absent(path));
        }
        let journals = journal_check::all(engine).map_err(io)?;
        for path in &journals {
            // The engine makes its journals longer than they need to be, and each opening leaves its mark.
            if *self.state() == State::Ready && path.metadata().map_err(io)?.len() == 0 {
                return Err(self.damaged("a journal is empty"));
            }
            if !journal_check::intact(path).map_err(io)? {
                return Err(self.damaged("a journal is unreadable in its middle"));
            }
        }
        if journals.is_empty() {
            return Err(absent(engine.join("*.jnl")));
        }
        Ok(())
    }
}

/// The first file or folder without which the engine would take its folder for new, if one is missing.
pub(super) fn missing(engine: &Path) -> std::io::Result<Option<PathBuf>> {
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
pub(super) fn is_file(path: &Path) -> std::io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(cause) if tells_of_damage(&cause) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// Whether the folder has anything in it but what a first start leaves that was cut off.
pub(super) fn foreign(path: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != LOCK && name.to_str() != Some(&format!("{MARKER}.draft")) {
            return Ok(true);
        }
    }
    Ok(false)
}
