//! A place in a list of sessions, and which list that is.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use super::Invalid;
use super::{App, Seconds, UserId};

/// Where a part of a list ended: at a session that was active at a second and whose token begins in some way. Lists run
/// from the greatest to the least. Its text is made by a [`Scope`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u128);

impl Cursor {
    /// How much of a token is in a cursor, in bytes: enough that two sessions of one second hardly ever have the same,
    /// so little that the rest, 321 bits, is as good a secret as the whole.
    pub const START: usize = 10;

    /// The last second that a cursor can hold.
    pub const LAST: Seconds = (1 << 48) - 1;

    /// The place of a session that was active at `second`.
    #[must_use]
    pub fn new(second: Seconds, token: &[u8]) -> Self {
        let start = (0..Self::START).fold(0, |start, n| (start << 8) | u128::from(*token.get(n).unwrap_or(&0)));
        Self((u128::from(second.min(Self::LAST)) << (8 * Self::START)) | start)
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
}

/// The list that a cursor belongs to: that of an app, or of one of its ids. A cursor of another list would answer an
/// arbitrary part of this one without a word.
///
/// A cursor's text has it as a checksum, which is the same for every instance and version: 32 bits, against mistakes,
/// not attacks. There is nothing to gain from a forged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    checksum: u32,
    /// The message for any other text.
    refusal: &'static str,
}

impl Scope {
    /// Bytes of a text: 16 of the cursor, 4 of the scope, each as two hexadecimal digits.
    const LEN: usize = 40;

    /// The list of an app.
    #[must_use]
    pub fn of_app(app: App) -> Self {
        Self {
            checksum: checksum(app.as_str()),
            refusal: "cursor must be one that soapp has answered",
        }
    }

    /// The list of an id.
    #[must_use]
    pub fn of_id(app: App, id: &UserId) -> Self {
        Self {
            // No app has a colon in it.
            checksum: checksum(&format!("{}:{}", app.as_str(), id.as_str())),
            refusal: "cursor must be one that soid has answered for this id",
        }
    }

    /// A cursor of this list as text, for no client to read.
    #[must_use]
    pub fn text(self, cursor: Cursor) -> String {
        format!("{:032x}{:08x}", cursor.0, self.checksum)
    }

    /// Fails with `invalidValue`.
    pub fn read(self, text: &str) -> Result<Cursor, Invalid> {
        let canonical = text.len() == Self::LEN && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let parsed = canonical.then(|| text.split_at(Self::LEN - 8));
        let parsed = parsed.filter(|(_, checksum)| u32::from_str_radix(checksum, 16) == Ok(self.checksum));
        let number = parsed.and_then(|(number, _)| u128::from_str_radix(number, 16).ok());
        number.map(Cursor).ok_or_else(|| Invalid::Value(self.refusal.into()))
    }
}

fn checksum(text: &str) -> u32 {
    let [first @ .., _, _, _, _] = xxh3_64(text.as_bytes()).to_be_bytes();
    u32::from_be_bytes(first)
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(app: &str, id: Option<&str>) -> Scope {
        let app = App::parse(app).unwrap();
        id.map_or_else(
            || Scope::of_app(app),
            |id| Scope::of_id(app, &UserId::parse(id).unwrap()),
        )
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for (second, token) in [(0, ""), (1_790_000_000, "short"), (Cursor::LAST, "ABCDEFGHIJKLMNOP")] {
            let cursor = Cursor::new(second, token.as_bytes());
            for scope in [scope("forum", None), scope("forum", Some("ann"))] {
                assert_eq!(scope.read(&scope.text(cursor)), Ok(cursor));
            }
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
        let cursors = [
            (1, "b"),
            (1, "ba"),
            (1, "c"),
            (2, "a"),
            (Cursor::LAST, ""),
            (Seconds::MAX, "a"),
        ];
        let cursors = cursors.map(|(second, token)| Cursor::new(second, token.as_bytes()));
        assert!(cursors.is_sorted());
    }

    #[test]
    fn what_was_not_answered_is_no_cursor() {
        let scope = scope("forum", None);
        let good = scope.text(Cursor::new(1, b"jklm"));
        for text in [
            "",
            "0",
            &good.to_uppercase(),
            &good[1..],
            &good[..32],
            &format!("{good}0"),
            &good.replacen('0', "+", 1),
            &good.replacen("00", "é", 1),
        ] {
            assert!(scope.read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_none() {
        let scopes = [
            scope("forum", None),
            scope("shop", None),
            scope("forum", Some("ann")),
            scope("forum", Some("ben")),
            scope("shop", Some("ann")),
        ];
        for (n, scope) in scopes.iter().enumerate() {
            let text = scope.text(Cursor::new(1, b"jklm"));
            let taken = scopes.map(|other| other.read(&text).is_ok());
            assert_eq!(taken, [0, 1, 2, 3, 4].map(|m| m == n));
        }
    }

    /// Instances of different versions serve pages of one list.
    #[test]
    fn the_text_of_a_cursor_never_changes() {
        let cursor = Cursor::new(1_790_000_000, b"jklmnopqrstuvw");
        let texts = [scope("forum", None), scope("forum", Some("ann"))].map(|scope| scope.text(cursor));
        assert_eq!(
            texts,
            [
                "00006ab13b806a6b6c6d6e6f70717273e939fcc1",
                "00006ab13b806a6b6c6d6e6f70717273cfec5d6f"
            ]
        );
    }
}
