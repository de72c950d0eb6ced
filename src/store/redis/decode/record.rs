//! Decodes session records: the packed form that scripts return, and the reply to a plain `HMGET`.
//!
//! Why packed: decoding a list of eight values takes the client several microseconds, one string hardly any.
//!
//! To read one more optional field, add it to [`FIELDS`] and [`from_fields`], and to `fields` and `pack` of
//! `scripts/record.lua`. Sessions of peers lack it, so it must stay optional.

use deadpool_redis::redis::Value;

use crate::{
    observability::metrics::Metrics,
    session::{Data, Ip, Record, UserId},
    store::{
        Error,
        redis::{connection::resp::RawReply, decode::nonsense::nonsense},
    },
};

/// What scripts return in place of a record; see `fields` in `scripts/record.lua`.
const NONE: &[u8] = b"none";
const UNREADABLE: &[u8] = b"unreadable";
const TOO_LARGE: &[u8] = b"large";

/// A record that a script returns; `None` if it is missing or unreadable. Fails with [`Error::TooLarge`] if a set was
/// refused.
pub(crate) fn record(reply: Value, metrics: &Metrics) -> Result<Option<Record>, Error> {
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

/// The fields of a session hash that this version reads, in the order of `fields` in `scripts/record.lua`.
pub(crate) const FIELDS: [&str; 8] = ["id", "r", "w", "ttl", "la", "ip", "no_resave", "d"];

/// The reply to an `HMGET` of [`FIELDS`], by the rules of `fields` in `scripts/record.lua`; `reply` is `None` if the
/// key holds another type. Returns `None` if the session is missing or unreadable.
pub(crate) fn hash(reply: Option<&RawReply>, metrics: &Metrics) -> Result<Option<Record>, Error> {
    if let Some(reply) = reply {
        let fields = reply.strings().ok_or_else(nonsense)?;
        if fields.iter().all(Option::is_none) {
            return Ok(None);
        }
        if let Some(record) = from_fields(fields) {
            return Ok(Some(record));
        }
    }
    metrics.unreadable();
    Ok(None)
}

fn from_fields(fields: [Option<&[u8]>; 8]) -> Option<Record> {
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

/// The largest number that scripts write; see `scripts/record.lua`.
const MAX_NUMBER: u64 = 999_999_999_999_999;

/// Parses decimal digits, limited to [`MAX_NUMBER`], so that a huge number neither ends nor hides a session.
pub(super) fn digits(field: Option<&[u8]>) -> Option<u64> {
    let digits = field.filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0, |number: u64, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some((number * 10 + digit).min(MAX_NUMBER))
    })
}

/// Unpacks `ID_LENGTH IP_LENGTH r w ttl la NO_RESAVE`, a line feed, then id, ip and d; lengths in bytes. `None` if the
/// record is unreadable; fails if no script packs such a string.
pub(super) fn unpack(packed: &[u8]) -> Result<Option<Record>, Error> {
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
    use crate::store::redis::decode::counts::{counts, stored};

    #[test]
    fn a_packed_record_is_decoded() {
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
    fn a_string_that_no_script_packs_is_nonsense() {
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
    fn invalid_fields_make_a_record_unreadable() {
        for text in [
            &b"1 0 1 1 1 1 0\na{"[..],
            "1 0 1 1 1 1 0\nü".as_bytes(),
            b"1 0 1 1 1 1 0\n\xff",
        ] {
            assert!(unpack(text).unwrap().is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_reply_that_no_script_returns_is_an_outage() {
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
    fn numbers_are_limited() {
        assert_eq!(digits(Some(b"007")), Some(7));
        assert_eq!(digits(Some(b"0000000000000000000000007")), Some(7));
        assert_eq!(digits(Some(b"999999999999999")), Some(MAX_NUMBER));
        assert_eq!(digits(Some(&[b'9'; 400])), Some(MAX_NUMBER));
        for text in [&b""[..], b"-1", b"1e3", b"99999999999999999999x"] {
            assert_eq!(digits(Some(text)), None, "{text:?}");
        }
    }

    #[test]
    fn scripts_read_the_same_fields() {
        let script = include_str!("../scripts/record.lua");
        let (_, names) = script.split_once("redis.pcall('HMGET', key, ").expect("the read");
        let (names, _) = names.split_once(')').expect("its end");
        assert_eq!(
            names
                .split(", ")
                .map(|name| name.trim_matches('\''))
                .collect::<Vec<_>>(),
            FIELDS
        );
    }
}
