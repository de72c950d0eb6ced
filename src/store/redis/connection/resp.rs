//! Replies as they come, and what is in them.
//!
//! The protocol is RESP2, see <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::{io, sync::Arc};

use bytes::Bytes;
use deadpool_redis::redis::{RedisError, Value, parse_redis_value};

use crate::store::redis::connection::pipeline::Shared;

/// The longest string that a reply may hold, in bytes: as much as Redis stores in one.
const LONGEST: i64 = 512 * 1024 * 1024;

/// One or more replies, whole.
#[derive(Clone)]
pub(crate) struct RawReply {
    bytes: Bytes,
    /// The connection that it came on, if that is in use.
    from: Option<Arc<Shared>>,
}

impl RawReply {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, from: None }
    }

    pub(crate) fn on(from: Arc<Shared>, bytes: Bytes) -> Self {
        Self {
            bytes,
            from: Some(from),
        }
    }

    /// The reply to one command; an error if that is what it is.
    pub(crate) fn only(self) -> Result<Self, RedisError> {
        if self.bytes.first() != Some(&b'-') {
            return Ok(self);
        }
        match self.value()? {
            Value::ServerError(error) => Err(error.into()),
            _ => Ok(self),
        }
    }

    /// The replies to several commands.
    pub(crate) fn each(mut self) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let length = Scan::default().replies(&self.bytes, 1).ok()??;
            Some(Self {
                bytes: self.bytes.split_to(length),
                from: self.from.clone(),
            })
        })
    }

    /// What it says. If nobody can read it, the connection is given up: where its next reply begins is anybody's guess.
    pub(crate) fn value(&self) -> Result<Value, RedisError> {
        let value = parse_redis_value(&self.bytes);
        if let (Err(_), Some(from)) = (&value, &self.from) {
            from.give_up();
        }
        value
    }

    /// The strings of a list in which there is nothing but `N` strings and nils.
    pub(crate) fn strings<const N: usize>(&self) -> Option<[Option<&[u8]>; N]> {
        let strings = self.all_strings();
        if strings.is_none() {
            // For what it does to the connection.
            let _ = self.value();
        }
        strings
    }

    fn all_strings<const N: usize>(&self) -> Option<[Option<&[u8]>; N]> {
        let mut rest = &self.bytes[..];
        let mut strings = [None; N];
        if head(&mut rest)? != (b'*', N.try_into().ok()?) {
            return None;
        }
        for string in &mut strings {
            let (b'$', length) = head(&mut rest)? else {
                return None;
            };
            if let Ok(length) = usize::try_from(length) {
                *string = Some(rest.get(..length)?);
                rest = rest.get(length..)?.strip_prefix(b"\r\n")?;
            }
        }
        rest.is_empty().then_some(strings)
    }
}

/// The type and the number of the next part.
fn head(rest: &mut &[u8]) -> Option<(u8, i64)> {
    let end = memchr::memchr(b'\n', rest)?;
    let (kind, digits) = rest[..end].strip_suffix(b"\r")?.split_first()?;
    let number = number(digits)?;
    *rest = &rest[end + 1..];
    Some((*kind, number))
}

fn number(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -number } else { number })
}

/// Looks for the end of replies that come in pieces. It goes on where it stopped.
#[derive(Default)]
pub(crate) struct Scan {
    /// Where the next part begins.
    at: usize,
    /// Parts that are missing, 0 before the first one.
    missing: u64,
}

impl Scan {
    /// How many bytes the first `count` replies have; `None` if they are not whole yet. Fails if these are no replies.
    pub(crate) fn replies(&mut self, bytes: &[u8], count: usize) -> io::Result<Option<usize>> {
        let wrong = || io::Error::other("what answers is no Redis");
        if self.missing == 0 {
            *self = Self {
                at: 0,
                missing: count as u64,
            };
        }
        while self.missing > 0 {
            let Some(mut rest) = bytes.get(self.at..).filter(|rest| !rest.is_empty()) else {
                return Ok(None);
            };
            let mut next = self.missing - 1;
            let length = match rest[0] {
                b'+' | b'-' | b':' => match memchr::memchr(b'\n', rest) {
                    Some(end) => end + 1,
                    None => return Ok(None),
                },
                b'$' | b'*' => {
                    let before = rest.len();
                    if memchr::memchr(b'\n', rest).is_none() {
                        return if before > 32 { Err(wrong()) } else { Ok(None) };
                    }
                    let (kind, number) = head(&mut rest).ok_or_else(wrong)?;
                    let mut length = before - rest.len();
                    match u64::try_from(number) {
                        // Nil.
                        Err(_) => {}
                        Ok(_) if number > LONGEST => return Err(wrong()),
                        Ok(parts) if kind == b'*' => next += parts,
                        Ok(bytes) => length += usize::try_from(bytes).map_err(|_| wrong())? + 2,
                    }
                    length
                }
                _ => return Err(wrong()),
            };
            if length > bytes.len() - self.at {
                return Ok(None);
            }
            self.at += length;
            self.missing = next;
        }
        Ok(Some(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Redis may send, in which nothing is missing.
    const WHOLE: [&str; 9] = [
        "+OK\r\n",
        "-ERR no\r\n",
        ":-12\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "$4\r\na\r\nb\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*3\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n+x\r\n",
    ];

    #[test]
    fn replies_are_found_in_whatever_pieces_they_come() {
        for first in WHOLE {
            for second in WHOLE {
                let text = [first, second, "+more\r\n"].concat();
                let length = first.len() + second.len();
                let mut scan = Scan::default();
                for end in 0..length {
                    let found = scan.replies(&text.as_bytes()[..end], 2).unwrap();
                    assert_eq!(found, None, "{text:?} {end}");
                }
                assert_eq!(scan.replies(text.as_bytes(), 2).unwrap(), Some(length), "{text:?}");
                let replies = RawReply::new(Bytes::from(text)).each().count();
                assert_eq!(replies, 3);
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for text in [
            "HTTP/1.1 400\r\n",
            "$x\r\n",
            "*99999999999\r\n",
            "$--1\r\n",
            "\r\n",
            "$1234567890123456789012345678901234",
        ] {
            assert!(Scan::default().replies(text.as_bytes(), 1).is_err(), "{text:?}");
        }
    }

    #[test]
    fn strings_are_those_of_the_list() {
        let reply = |text: &'static str| RawReply::new(Bytes::from_static(text.as_bytes()));
        let list = reply("*3\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n");
        assert_eq!(list.strings(), Some([Some(&b"a"[..]), None, Some(b"")]));
        assert_eq!(list.strings::<2>(), None);
        assert_eq!(reply("*1\r\n:1\r\n").strings::<1>(), None);
        assert_eq!(reply(":1\r\n").strings::<1>(), None);
        assert_eq!(reply("*1\r\n$1\r\naXX").strings::<1>(), None);
    }
}
