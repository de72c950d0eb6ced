//! The marker file: tells a data folder from any other, and names its format and how far its engine is.
//!
//! It holds one line: `rest-sessions data, format 1`, followed by `, new` or `, opening` while the engine is not ready.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::store::embedded::{
    codec::{Format, Unreadable},
    engine::anchor::Anchor,
};

/// The name of the file.
pub(super) const MARKER: &str = "rest-sessions";
/// The name of the file while it is being written.
pub(super) const DRAFT: &str = "rest-sessions.draft";

const PREFIX: &str = "rest-sessions data, format ";

/// How far the engine of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is set up for the first time. No change has been answered yet, so its files may be removed.
    New,
    /// It is being opened: it may have cut a journal to nothing and not yet written its first entry.
    Opening,
    /// It is set up. A file that is missing now is damage.
    Ready,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) format: Format,
    pub(super) state: State,
}

/// Why a marker file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadMarker {
    /// A newer version has written it, in this format.
    Newer(u64),
    Damaged,
}

impl Content {
    /// The marker of a folder that is being created.
    pub(super) const NEW: Self = Self {
        format: Format::One,
        state: State::New,
    };

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadMarker> {
        let line = std::str::from_utf8(bytes).ok();
        let rest = line
            .and_then(|line| line.strip_prefix(PREFIX))
            .ok_or(BadMarker::Damaged)?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest, |end| &rest[..end]);
        let number = digits.parse().map_err(|_| BadMarker::Damaged)?;
        let format = Format::of(number).map_err(|why| match why {
            Unreadable::Newer => BadMarker::Newer(number),
            Unreadable::Damaged => BadMarker::Damaged,
        })?;
        let states = [State::New, State::Opening, State::Ready];
        let mut contents = states.into_iter().map(|state| Self { format, state });
        contents
            .find(|content| content.line().as_bytes() == bytes)
            .ok_or(BadMarker::Damaged)
    }

    fn line(self) -> String {
        let state = match self.state {
            State::New => ", new",
            State::Opening => ", opening",
            State::Ready => "",
        };
        format!("{PREFIX}{}{state}\n", self.format.number())
    }
}

/// The marker file of a folder that this process has claimed.
pub(crate) struct Marker {
    folder: Arc<Anchor>,
    content: Mutex<Content>,
}

impl Marker {
    /// The marker that was found in a folder.
    pub(super) fn found(folder: Arc<Anchor>, content: Content) -> Self {
        Self {
            folder,
            content: Mutex::new(content),
        }
    }

    /// Marks a folder as one of this program that has no engine yet.
    pub(super) fn create(folder: Arc<Anchor>) -> io::Result<Self> {
        let marker = Self::found(folder, Content::NEW);
        marker.write(Content::NEW)?;
        Ok(marker)
    }

    pub(super) fn content(&self) -> Content {
        *self.lock()
    }

    pub(super) fn set_state(&self, state: State) -> io::Result<()> {
        let mut content = self.lock();
        let new = Content { state, ..*content };
        self.write(new)?;
        *content = new;
        Ok(())
    }

    /// Raises the format to at least this one. Once it returns, a version that does not know the format refuses the
    /// folder, even after a crash.
    pub(crate) fn raise(&self, format: Format) -> io::Result<()> {
        let mut content = self.lock();
        if content.format >= format {
            return Ok(());
        }
        let new = Content { format, ..*content };
        self.write(new)?;
        *content = new;
        Ok(())
    }

    /// Replaces the file atomically and durably.
    fn write(&self, content: Content) -> io::Result<()> {
        let base: &Path = self.folder.base();
        let draft = base.join(DRAFT);
        let mut file = File::create(&draft)?;
        file.write_all(content.line().as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, base.join(MARKER))?;
        File::open(base)?.sync_all()
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written_and_nothing_else_is_one() {
        for format in [Format::One, Format::Two] {
            for state in [State::New, State::Opening, State::Ready] {
                let content = Content { format, state };
                let line = content.line();
                assert_eq!(Content::parse(line.as_bytes()), Ok(content));
                for end in 0..line.len() {
                    assert_eq!(Content::parse(&line.as_bytes()[..end]), Err(BadMarker::Damaged));
                }
                assert_eq!(Content::parse(format!("{line} ").as_bytes()), Err(BadMarker::Damaged));
            }
        }
        for (line, expected) in [
            ("rest-sessions data, format 3\n", BadMarker::Newer(3)),
            ("rest-sessions data, format 12, with anything\n", BadMarker::Newer(12)),
            ("rest-sessions data, format 0\n", BadMarker::Damaged),
            ("rest-sessions data, format 01\n", BadMarker::Damaged),
            ("rest-sessions data, format -1\n", BadMarker::Damaged),
            ("rest-sessions data, format \n", BadMarker::Damaged),
        ] {
            assert_eq!(Content::parse(line.as_bytes()), Err(expected), "{line}");
        }
    }
}
