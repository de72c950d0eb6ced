//! The name of an application.

use std::fmt;

use super::Invalid;

/// The application that a session belongs to: 3–20 characters of `[A-Za-z0-9_-]`.
///
/// Stored inline, so that a lookup allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct App {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl App {
    /// Length of the longest name, in bytes.
    pub(crate) const MAX: usize = 20;

    /// Fails with [`Invalid::Format`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let valid = (3..=Self::MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !valid {
            return Err(Invalid::Format("app"));
        }
        let mut bytes = [0; Self::MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self {
            bytes,
            len: text.len().to_le_bytes()[0],
        })
    }

    /// The name as text.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "parse accepts ASCII only")]
    pub fn as_str(&self) -> &str {
        let name = &self.bytes[..usize::from(self.len)];
        std::str::from_utf8(name).expect("parse accepts ASCII only")
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
