//! What the scripts reply, made into records and counts.
//!
//! A record comes as one string that `scripts/record.lua` packs: reading eight values of a list costs the client
//! several microseconds, reading one string hardly any.

use deadpool_redis::redis::Value;

use crate::{
    observability::metrics::Metrics,
    session::{Data, Ip, Record, UserId},
    store::{
        Error,
        redis::{connection::resp::RawReply, decode::nonsense::nonsense},
    },
};

/// What scripts reply in place of a record. Words: a server or a proxy that replies nonsense replies nil or a number.
const NONE: &[u8] = b"none";
const UNREADABLE: &[u8] = b"unreadable";
const TOO_LARGE: &[u8] = b"large";

/// A record, or `None` if there is none or nobody can read it. Fails with `tooLarge` if the script says so.
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

/// The fields of a session hash, in the order in which [`hash`] expects them.
pub(crate) const FIELDS: [&str; 8] = ["id", "r", "w", "ttl", "la", "ip", "no_resave", "d"];

/// The reply to `HMGET` of [`FIELDS`], by the same rules as the `fields` of `scripts/record.lua`: `None` if there is no
/// such hash, or nobody can read it, as one that has no reply because it is none.
pub(crate) fn hash(reply: Option<&RawReply>, metrics: &Metrics) -> Result<Option<Record>, Error> {
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
pub(super) fn digits(field: Option<&[u8]>) -> Option<u64> {
    let digits = field.filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0, |number: u64, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some((number * 10 + digit).min(MOST))
    })
}

/// `ID_LENGTH IP_LENGTH r w ttl la NO_RESAVE`, a line feed, then id, ip and d; the lengths in bytes. `None` if the record is
/// unreadable; fails if no script has packed it.
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
