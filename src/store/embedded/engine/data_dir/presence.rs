//! Whether the folder is still where its path leads, with what it must have while the engine is open.

use std::{io, path::Path};

use super::{
    folder::DataDir,
    layout::{ENGINE, is_file, missing},
};
use crate::store::embedded::engine::journal_check::Newest;
use crate::store::embedded::engine::marker::MARKER;

impl DataDir {
    /// Checks that the path still leads to the lock that this process holds. Costs one look at a file's metadata, so
    /// every commit can afford it. The error says what is wrong.
    pub(crate) fn in_place(&self) -> Result<(), String> {
        self.claim.good()
    }

    /// Checks the folder's place, the marker, and the files of the open engine: about twenty looks at metadata. The
    /// error says what is wrong.
    pub(crate) fn check_presence(&self) -> Result<(), String> {
        self.claim.folder().in_place()?;
        self.claim.good()?;
        let gone = |name: &Path| format!("{} is missing", self.path().join(name).display());
        let io = |cause: io::Error| format!("{}: {cause}", self.path().display());
        if !is_file(&self.base().join(MARKER)).map_err(io)? {
            return Err(gone(Path::new(MARKER)));
        }
        let Some(seen) = &mut *self.seen() else {
            return Ok(());
        };
        seen.identity.is_at(&self.path().join(ENGINE))?;
        let engine = self.base().join(ENGINE);
        if let Some(path) = missing(&engine, self.marker.content().format).map_err(io)? {
            return Err(gone(path.strip_prefix(self.base()).unwrap_or(&path)));
        }
        let newest = Newest::find(&engine).map_err(io)?;
        let newest = newest.ok_or_else(|| gone(Path::new("a journal of the engine")))?;
        if seen.journal.as_ref().is_some_and(|before| !newest.follows(before)) {
            let engine = self.path().join(ENGINE);
            return Err(format!(
                "{} has a journal that the engine did not write",
                engine.display()
            ));
        }
        seen.journal = Some(newest);
        Ok(())
    }
}
