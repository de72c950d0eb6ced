//! The marker file: recognises a data folder, and says how far its engine is.

use std::{
    fs::{self, File},
    io::Write,
};

use super::DataDir;

/// Marks the folder as ours, and says how far it is.
pub(super) const MARKER: &str = "rest-sessions";
/// The engine is being set up for the first time: nothing in it has been promised to anybody.
pub(super) const NEW: &str = "rest-sessions data, format 1, new\n";
/// The engine is being opened: it may have cut a journal to nothing, and not yet written the mark that comes next.
pub(super) const OPENING: &str = "rest-sessions data, format 1, opening\n";
/// The engine is set up, and missing files are missed.
pub(super) const READY: &str = "rest-sessions data, format 1\n";

/// How far the folder is, as its marker says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    New,
    Opening,
    Ready,
}

impl DataDir {
    /// Notes how far the folder is.
    pub(super) fn mark(&self, state: State) -> Result<(), String> {
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
    pub(super) fn write_marker(&self, text: &str) -> std::io::Result<()> {
        let draft = self.base().join(format!("{MARKER}.draft"));
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, self.base().join(MARKER))?;
        File::open(self.base())?.sync_all()
    }
}
