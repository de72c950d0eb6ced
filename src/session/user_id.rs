//! The id of a user.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::Invalid;

/// The user that a session belongs to: 1–255 characters, without control characters and line breaks.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Fails with [`Invalid::Format`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let line_break = |c| c == '\u{2028}' || c == '\u{2029}';
        let valid = (1..=255).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || line_break(c));
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::Format("id"))
        }
    }

    /// An id that a store holds. It was checked when it was created, here or by a Redis peer with rules of its own.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserId(…)")
    }
}
