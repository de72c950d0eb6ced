//! Where a session stands in a list.

use crate::session::{Cursor, Seconds, Token};

/// The position of a session in a list: by last activity, then by token. Lists run from the greatest position to the least,
/// as [`Cursor`]s do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The last 48 bits, as in a cursor.
    second: [u8; 6],
    token: [u8; Token::LEN],
    length: u8,
}

impl Position {
    /// The position of a session that was active at `second`. `None` if the token is longer than any peer makes one.
    pub(crate) fn new(second: Seconds, token: &[u8]) -> Option<Self> {
        let mut bytes = [0; Token::LEN];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        let [_, _, second @ ..] = second.min(Cursor::LAST).to_be_bytes();
        Some(Self {
            second,
            token: bytes,
            length: u8::try_from(token.len()).ok()?,
        })
    }

    /// The second of the last activity.
    pub(crate) fn second(&self) -> Seconds {
        self.second
            .iter()
            .fold(0, |number, byte| (number << 8) | Seconds::from(*byte))
    }

    pub(crate) fn token(&self) -> &[u8] {
        self.token.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The token, if it is one of those that this service makes.
    pub(crate) fn parsed(&self) -> Option<Token> {
        Token::parse(std::str::from_utf8(self.token()).ok()?).ok()
    }

    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::new(self.second(), self.token())
    }
}
