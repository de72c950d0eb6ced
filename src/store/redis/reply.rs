//! What the scripts reply, made into records and counts.
//!
//! A record comes as one string that `scripts/record.lua` packs: reading eight values of a list costs the client
//! several microseconds, reading one string hardly any.

mod of_id;

use std::sync::LazyLock;

use deadpool_redis::redis::Value;

pub(super) use self::of_id::{Look, records, times, tokens_and_records};
use super::{listing::Read, voice::Throttle, wire::Reply};
use crate::{
    observability::metrics::Metrics,
    session::{Cursor, Data, Ip, Record, UserId},
    store::Error,
};

/// What scripts reply in place of a record. Words: a server or a proxy that replies nonsense replies nil or a number.
const NONE: &[u8] = b"none";
const UNREADABLE: &[u8] = b"unreadable";
const TOO_LARGE: &[u8] = b"large";

/// The error for a reply that no script of ours gives: who answers is no Redis, or something in between mixes replies up.
/// Whether anything was done is not known.
pub(super) fn nonsense() -> Error {
    static THROTTLE: LazyLock<Throttle> = LazyLock::new(Throttle::default);
    if THROTTLE.passes() {
        tracing::error!("Redis replies what no script replies: is a proxy or another server in between?");
    }
    Error::Unavailable
}

/// Fails unless the script says that it has stored a session.
pub(super) fn stored(reply: &Value) -> Result<(), Error> {
    match reply {
        Value::Int(1) => Ok(()),
        _ => Err(nonsense()),
    }
}

/// A record, or `None` if there is none or nobody can read it. Fails with `tooLarge` if the script says so.
pub(super) fn record(reply: Value, metrics: &Metrics) -> Result<Option<Record>, Error> {
    let Value::BulkString(reply) = reply else {
        return Err(nonsense());
    };
    match reply.as_slice() {
        NONE => return Ok(None),
        TOO_LARGE => return Err(Error::TooLarge),
        UNREADABLE => {}
        packed => {
            if let Some(record) = unpack(packed)? {
                return Ok(Some(record));
            }
        }
    }
    metrics.unreadable();
    Ok(None)
}

/// The readable records of a part of a list, each with its place, and where the list goes on.
pub(super) fn list(reply: Value, metrics: &Metrics) -> Result<Read, Error> {
    let Value::Array(list) = reply else {
        return Err(nonsense());
    };
    let mut list = list.into_iter();
    let (Some(Value::Int(more)), Some(Value::BulkString(end))) = (list.next(), list.next()) else {
        return Err(nonsense());
    };
    let mut records = Vec::with_capacity(list.len());
    for found in list {
        let Value::BulkString(found) = found else {
            return Err(nonsense());
        };
        let (cursor, packed) = place(&found).ok_or_else(nonsense)?;
        // Only the place is there if the record is unreadable.
        let record = if packed.is_empty() { None } else { unpack(packed)? };
        match record {
            Some(record) => records.push((cursor, record)),
            None => metrics.unreadable(),
        }
    }
    let next = match more {
        0 => None,
        _ => Some(place(&end).ok_or_else(nonsense)?.0),
    };
    Ok(Read { records, next })
}

/// A place in a list, and what follows it: `SECOND`, a space, the beginning of a token.
fn place(bytes: &[u8]) -> Option<(Cursor, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let second = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (start, rest) = bytes[space + 1..].split_at_checked(Cursor::START)?;
    Some((Cursor::new(second, start), rest))
}

/// The fields of a session hash, in the order in which [`hash`] expects them.
pub(super) const FIELDS: [&str; 8] = ["id", "r", "w", "ttl", "la", "ip", "no_resave", "d"];

/// The reply to `HMGET` of [`FIELDS`], by the same rules as the `fields` of `scripts/record.lua`: `None` if there is no
/// such hash, or nobody can read it, as one that has no reply because it is none.
pub(super) fn hash(reply: Option<&Reply>, metrics: &Metrics) -> Result<Option<Record>, Error> {
    if let Some(reply) = reply {
        let fields = reply.strings().ok_or_else(nonsense)?;
        if fields.iter().all(Option::is_none) {
            return Ok(None);
        }
        if let Some(record) = read(fields) {
            return Ok(Some(record));
        }
    }
    metrics.unreadable();
    Ok(None)
}

fn read(fields: [Option<&[u8]>; 8]) -> Option<Record> {
    let [id, reads, writes, ttl, last_active, ip, no_resave, data] = fields;
    Some(Record {
        id: UserId::stored(utf8(id?)?),
        reads: digits(reads)?,
        writes: digits(writes)?,
        ttl: digits(ttl)?,
        last_active: digits(last_active)?,
        ip: Ip::stored(utf8(ip.unwrap_or_default())?),
        no_resave: no_resave == Some(b"1"),
        data: match utf8(data.unwrap_or_default())? {
            "" => None,
            data => Data::stored(data)?,
        },
    })
}

fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The largest number that a script of Redis counts exactly.
const MOST: u64 = 999_999_999_999_999;

/// Decimal digits. A number beyond what a script counts exactly is the largest one: it neither ends a session nor hides it.
fn digits(field: Option<&[u8]>) -> Option<u64> {
    let digits = field.filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0, |number: u64, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some((number * 10 + digit).min(MOST))
    })
}

/// A number that cannot be negative.
pub(super) fn count(reply: &Value) -> Result<u64, Error> {
    match reply {
        Value::Int(count) => u64::try_from(*count).map_err(|_| nonsense()),
        _ => Err(nonsense()),
    }
}

/// The same of a reply that nobody has looked at.
pub(super) fn number_of(reply: &Reply) -> Result<u64, Error> {
    count(&reply.value().map_err(|_| nonsense())?)
}

/// A list of such numbers.
pub(super) fn counts<const N: usize>(reply: &Value) -> Result<[u64; N], Error> {
    let Value::Array(list) = reply else {
        return Err(nonsense());
    };
    let counts = list.iter().map(count).collect::<Result<Vec<_>, _>>()?;
    counts.try_into().map_err(|_| nonsense())
}

/// `ID_LENGTH IP_LENGTH r w ttl la NO_RESAVE`, a line feed, then id, ip and d; the lengths in bytes. `None` if the record is
/// unreadable; fails if no script has packed it.
fn unpack(packed: &[u8]) -> Result<Option<Record>, Error> {
    let end = memchr::memchr(b'\n', packed).ok_or_else(nonsense)?;
    let mut numbers = [0_u64; 7];
    let mut header = packed[..end].split(|byte| *byte == b' ');
    for number in &mut numbers {
        let text = header.next().and_then(utf8).ok_or_else(nonsense)?;
        *number = text.parse().map_err(|_| nonsense())?;
    }
    if header.next().is_some() {
        return Err(nonsense());
    }
    let [id, ip, reads, writes, ttl, last_active, no_resave] = numbers;
    let length = |length: u64| usize::try_from(length).map_err(|_| nonsense());
    let (id, rest) = packed[end + 1..].split_at_checked(length(id)?).ok_or_else(nonsense)?;
    let (ip, data) = rest.split_at_checked(length(ip)?).ok_or_else(nonsense)?;
    let (Some(id), Some(ip), Some(data)) = (utf8(id), utf8(ip), utf8(data)) else {
        return Ok(None);
    };
    let data = match data {
        "" => None,
        data => match Data::stored(data) {
            Some(data) => data,
            None => return Ok(None),
        },
    };
    Ok(Some(Record {
        id: UserId::stored(id),
        ip: Ip::stored(ip),
        reads,
        writes,
        ttl,
        last_active,
        no_resave: no_resave == 1,
        data,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_record_is_read() {
        let packed = "3 9 1 2 7200 1700000000 1\nü:127.0.0.1{\"a\":1}";
        let record = unpack(packed.as_bytes()).unwrap().unwrap();
        assert_eq!(record.id.as_str(), "ü:");
        assert_eq!(record.ip.as_str(), "127.0.0.1");
        assert_eq!((record.reads, record.writes), (1, 2));
        assert_eq!((record.ttl, record.last_active), (7200, 1_700_000_000));
        assert!(record.no_resave);
        assert_eq!(record.data.unwrap().as_str(), "{\"a\":1}");
    }

    #[test]
    fn what_no_script_packs_is_nonsense() {
        for text in [
            "",
            "\n",
            "OK",
            "1 1 1 1 1 1 0",
            "1 0 1 1 1 1 0 0\na",
            "9 1 1 1 1 1 0\nab",
            "1 0 1 1 1 x 0\na",
            "1 0 1 1 1 -1 0\na",
        ] {
            assert_eq!(unpack(text.as_bytes()).err(), Some(Error::Unavailable), "{text:?}");
        }
    }

    #[test]
    fn what_makes_no_record_is_unreadable() {
        for text in [
            &b"1 0 1 1 1 1 0\na{"[..],
            "1 0 1 1 1 1 0\nü".as_bytes(),
            b"1 0 1 1 1 1 0\n\xff",
        ] {
            assert!(unpack(text).unwrap().is_none(), "{text:?}");
        }
    }

    #[test]
    fn what_a_script_does_not_reply_is_no_answer() {
        let metrics = Metrics::new();
        let text = |text: &str| Value::BulkString(text.into());
        for reply in [
            Value::Nil,
            Value::Okay,
            Value::Int(0),
            Value::Int(-1),
            Value::Array(Vec::new()),
            text(""),
            text("OK"),
        ] {
            assert_eq!(
                record(reply.clone(), &metrics).err(),
                Some(Error::Unavailable),
                "{reply:?}"
            );
            assert_eq!(stored(&reply).err(), Some(Error::Unavailable), "{reply:?}");
            assert_eq!(counts::<2>(&reply).err(), Some(Error::Unavailable), "{reply:?}");
        }
        let two = |first, second| Value::Array(vec![Value::Int(first), Value::Int(second)]);
        assert_eq!(counts::<2>(&two(0, -1)).err(), Some(Error::Unavailable));
        assert_eq!(counts::<3>(&two(0, 1)).err(), Some(Error::Unavailable));
        assert_eq!(counts::<2>(&two(3, 4)), Ok([3, 4]));
        assert_eq!(stored(&Value::Int(1)), Ok(()));
        assert!(record(text("none"), &metrics).is_ok_and(|record| record.is_none()));
        assert_eq!(record(text("large"), &metrics).err(), Some(Error::TooLarge));
    }

    #[test]
    fn numbers_beyond_what_is_counted_are_the_largest() {
        assert_eq!(digits(Some(b"007")), Some(7));
        assert_eq!(digits(Some(b"0000000000000000000000007")), Some(7));
        assert_eq!(digits(Some(b"999999999999999")), Some(MOST));
        assert_eq!(digits(Some(&[b'9'; 400])), Some(MOST));
        for text in [&b""[..], b"-1", b"1e3", b"99999999999999999999x"] {
            assert_eq!(digits(Some(text)), None, "{text:?}");
        }
    }
}
