//! Finds the end of RESP2 replies that arrive in pieces.
//!
//! Why not the parser of the client library: it allocates the values, and starts from the beginning of a reply with
//! each piece. This scanner continues where it stopped, and leaves decoding to the caller. See
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::io;

/// The longest string that a reply may hold, in bytes: the longest that Redis stores.
const MAX_STRING: i64 = 512 * 1024 * 1024;
/// The longest header of a string or list, in bytes, without its line feed.
const MAX_HEADER: usize = 32;

/// The type and the number of the next element, which `rest` then no longer begins with.
pub(super) fn header(rest: &mut &[u8]) -> Option<(u8, i64)> {
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

/// A scan that continues where it stopped.
#[derive(Default)]
pub(super) struct RespScanner {
    /// Where the next element begins.
    at: usize,
    /// How many elements are missing; 0 before the first one.
    missing: u64,
}

impl RespScanner {
    /// How many bytes the first `count` replies have; `None` if they have not arrived whole. Fails if this is not
    /// RESP2.
    pub(super) fn replies(&mut self, bytes: &[u8], count: usize) -> io::Result<Option<usize>> {
        let wrong = || io::Error::other("the server does not speak the Redis protocol");
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
            let mut missing = self.missing - 1;
            let length = match rest[0] {
                b'+' | b'-' | b':' => match memchr::memchr(b'\n', rest) {
                    Some(end) => end + 1,
                    None => return Ok(None),
                },
                b'$' | b'*' => {
                    let before = rest.len();
                    if memchr::memchr(b'\n', rest).is_none() {
                        return if before > MAX_HEADER { Err(wrong()) } else { Ok(None) };
                    }
                    let (kind, number) = header(&mut rest).ok_or_else(wrong)?;
                    let mut length = before - rest.len();
                    match u64::try_from(number) {
                        // Nil.
                        Err(_) => {}
                        Ok(_) if number > MAX_STRING => return Err(wrong()),
                        Ok(elements) if kind == b'*' => missing += elements,
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
            self.missing = missing;
        }
        Ok(Some(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole replies of every type.
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
    fn the_end_of_two_replies_is_found_whatever_the_pieces() {
        for first in WHOLE {
            for second in WHOLE {
                let text = [first, second, "+more\r\n"].concat();
                let length = first.len() + second.len();
                let mut scanner = RespScanner::default();
                for end in 0..length {
                    let found = scanner.replies(&text.as_bytes()[..end], 2).unwrap();
                    assert_eq!(found, None, "{text:?} {end}");
                }
                assert_eq!(scanner.replies(text.as_bytes(), 2).unwrap(), Some(length), "{text:?}");
                assert_eq!(
                    RespScanner::default().replies(text.as_bytes(), 3).unwrap(),
                    Some(text.len())
                );
            }
        }
    }

    #[test]
    fn bytes_of_another_protocol_are_refused() {
        for text in [
            "HTTP/1.1 400\r\n",
            "$x\r\n",
            "*99999999999\r\n",
            "$--1\r\n",
            "\r\n",
            "$1234567890123456789012345678901234",
        ] {
            assert!(RespScanner::default().replies(text.as_bytes(), 1).is_err(), "{text:?}");
        }
    }
}
