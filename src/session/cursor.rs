//! A place in a list of sessions.

use std::fmt;

use super::Seconds;
use crate::error::Error;

/// The last second that a cursor can hold.
const LAST: Seconds = (1 << 48) - 1;

/// Where a part of a list ended: at a session that was active at a second and whose token begins in some way. Lists run
/// from the greatest to the least. As text it is in hexadecimal, and for nobody to read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u128);

impl Cursor {
    /// How much of a token is in a cursor, in bytes: enough that two sessions of one second hardly ever have the same, so
    /// little that the rest, 321 bits, is as good a secret as the whole.
    pub const START: usize = 10;

    /// The place of a session that was active at `second`.
    #[must_use]
    pub fn new(second: Seconds, token: &[u8]) -> Self {
        let start = (0..Self::START).fold(0, |start, n| (start << 8) | u128::from(*token.get(n).unwrap_or(&0)));
        Self((u128::from(second.min(LAST)) << (8 * Self::START)) | start)
    }

    /// The second of the session's last activity.
    #[must_use]
    pub fn second(self) -> Seconds {
        let [second @ .., _, _, _, _, _, _, _, _, _, _] = self.0.to_be_bytes();
        second
            .iter()
            .fold(0, |number, byte| (number << 8) | Seconds::from(*byte))
    }

    /// The beginning of its token. Any bytes, as a peer may have made it.
    #[must_use]
    pub fn start(self) -> [u8; Self::START] {
        let [_, _, _, _, _, _, start @ ..] = self.0.to_be_bytes();
        start
    }

    /// Fails with `invalidValue`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let canonical = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).ok().filter(|_| canonical);
        number
            .map(Self)
            .ok_or_else(|| Error::InvalidValue("cursor must be one that soapp has answered".into()))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for (second, token) in [(0, ""), (1_790_000_000, "short"), (LAST, "ABCDEFGHIJKLMNOP")] {
            let cursor = Cursor::new(second, token.as_bytes());
            assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
            assert_eq!(cursor.second(), second);
            let start = cursor.start();
            assert!(
                token
                    .as_bytes()
                    .starts_with(start.split(|byte| *byte == 0).next().unwrap())
            );
        }
    }

    #[test]
    fn the_later_is_greater_and_then_the_token_counts() {
        let cursors = [(1, "b"), (1, "ba"), (1, "c"), (2, "a"), (LAST, ""), (Seconds::MAX, "a")];
        let cursors = cursors.map(|(second, token)| Cursor::new(second, token.as_bytes()));
        assert!(cursors.is_sorted());
    }

    #[test]
    fn what_was_not_answered_is_no_cursor() {
        let good = Cursor::new(1, b"jklm").to_string();
        for text in [
            "",
            "0",
            &good.to_uppercase(),
            &good[1..],
            &format!("{good}0"),
            &good.replacen('0', "+", 1),
        ] {
            assert!(Cursor::parse(text).is_err(), "{text}");
        }
    }
}
