//! Why a data folder is refused, in one line for the operator.

use std::{io, path::Path};

use super::folder::DataDir;
use crate::store::embedded::codec::Format;
use crate::store::embedded::engine::marker::BadMarker;

/// Why a folder is not opened.
pub(crate) enum Refused {
    /// It cannot be used here and now. Nothing is known of its contents.
    Here(String),
    /// It is damaged: no start on it would succeed.
    Damaged(String),
}

impl From<Refused> for String {
    fn from((Refused::Here(line) | Refused::Damaged(line)): Refused) -> Self {
        line
    }
}

impl DataDir {
    pub(super) fn unusable(&self, why: &str) -> String {
        unusable_folder(self.path(), why)
    }

    pub(super) fn damaged(&self, why: &str) -> Refused {
        Refused::Damaged(damaged_folder(self.path(), why))
    }

    /// After an error of the system at a file of the engine.
    pub(super) fn refused(&self, cause: &io::Error) -> Refused {
        let why = cause.to_string();
        if is_damage(cause) {
            self.damaged(&why)
        } else {
            Refused::Here(self.unusable(&why))
        }
    }
}

pub(super) fn unusable_folder(path: &Path, why: &str) -> String {
    format!("cannot use the data folder {}: {why}", path.display())
}

fn damaged_folder(path: &Path, why: &str) -> String {
    format!(
        "the data folder {} is damaged ({why}); it is left as it was",
        path.display()
    )
}

pub(super) fn bad_marker(path: &Path, bad: BadMarker) -> String {
    match bad {
        BadMarker::Damaged => damaged_folder(path, "its marker file is unreadable"),
        BadMarker::Newer(format) => format!(
            "the data folder {} was written by a newer version of rest-sessions (format {format}, this version reads up \
             to format {}); it is left as it was",
            path.display(),
            Format::NEWEST.number()
        ),
    }
}

/// Why the engine could not access its files, if that is what an error says. `None` if the error says that they are
/// damaged.
pub(crate) fn unusable(error: &fjall::Error) -> Option<String> {
    if matches!(error, fjall::Error::Poisoned) {
        // The engine does not say which error its own thread has met.
        return Some("the engine could not write to it".to_owned());
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return (!is_damage(io)).then(|| io.to_string());
        }
        cause = error.source();
    }
    None
}

/// Whether an error means that a file is not as the engine left it. Otherwise it is out of reach: permissions, space,
/// open files.
pub(super) fn is_damage(cause: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    let of_the_system = cause.raw_os_error().is_some();
    !of_the_system || matches!(cause.kind(), NotFound | NotADirectory | IsADirectory | InvalidInput)
}
