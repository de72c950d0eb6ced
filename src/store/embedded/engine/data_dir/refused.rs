//! Why a data folder is refused, in words for the operator.

use super::DataDir;

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

impl DataDir {
    pub(super) fn unusable(&self, why: &str) -> String {
        format!("cannot use the data folder {}: {why}", self.path().display())
    }

    pub(super) fn damaged(&self, why: &str) -> Refused {
        Refused::Damaged(format!(
            "the data folder {} is damaged ({why}); it is left as it was",
            self.path().display()
        ))
    }

    /// By what the system says of a file of the engine.
    pub(super) fn refused(&self, cause: &std::io::Error) -> Refused {
        let why = cause.to_string();
        if tells_of_damage(cause) {
            self.damaged(&why)
        } else {
            Refused::Here(self.unusable(&why))
        }
    }
}

/// Why the engine could not look at its files, if that is what an error says. Any other tells of damage.
pub(crate) fn unusable(error: &fjall::Error) -> Option<String> {
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
pub(super) fn tells_of_damage(cause: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    let of_the_system = cause.raw_os_error().is_some();
    !of_the_system || matches!(cause.kind(), NotFound | NotADirectory | IsADirectory | InvalidInput)
}
