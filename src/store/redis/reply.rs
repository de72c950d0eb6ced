//! What the scripts reply, made into records and counts.
//!
//! A record comes as one string that `scripts/record.lua` packs: reading eight values of a list costs the client
//! several microseconds, reading one string hardly any.

mod of_id;

use deadpool_redis::redis::Value;

pub(super) use self::of_id::{Times, records, times, tokens_and_records};
use super::{listing::Read, wire::Reply};
use crate::{
    error::Error,
    metrics::Metrics,
    session::{Cursor, Data, Ip, Record, UserId},
};

/// The reply of a script that found a `d` too large to store.
const TOO_LARGE: Value = Value::Int(1);

/// A record, or `None` if there is none or nobody can read it. Fails with `tooLarge` if the script says so.
pub(super) fn record(reply: Value, metrics: &Metrics) -> Result<Option<Record>, Error> {
    match reply {
        Value::BulkString(packed) => Ok(unpack(&packed).or_else(|| {
            metrics.unreadable();
            None
        })),
        Value::Nil => Ok(None),
        TOO_LARGE => Err(Error::TooLarge),
        _ => {
            metrics.unreadable();
            Ok(None)
        }
    }
}

/// The readable records of a part of a list, each with its place, and where the list goes on.
pub(super) fn list(reply: Value, metrics: &Metrics) -> Result<Read, Error> {
    let Value::Array(list) = reply else {
        return Err(Error::Internal);
    };
    let mut list = list.into_iter();
    let (Some(Value::Int(more)), Some(Value::BulkString(end))) = (list.next(), list.next()) else {
        return Err(Error::Internal);
    };
    let mut records = Vec::with_capacity(list.len());
    for found in list {
        let Value::BulkString(found) = found else {
            return Err(Error::Internal);
        };
        let (cursor, packed) = place(&found).ok_or(Error::Internal)?;
        match unpack(packed) {
            Some(record) => records.push((cursor, record)),
            None => metrics.unreadable(),
        }
    }
    let next = match more {
        0 => None,
        _ => Some(place(&end).ok_or(Error::Internal)?.0),
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
pub(super) fn hash(reply: Option<&Reply>, metrics: &Metrics) -> Option<Record> {
    let fields = reply.and_then(Reply::strings);
    if fields.is_some_and(|fields| fields.iter().all(Option::is_none)) {
        return None;
    }
    fields.and_then(read).or_else(|| {
        metrics.unreadable();
        None
    })
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
        no_resave: utf8(no_resave.unwrap_or_default())? == "1",
        data: match utf8(data.unwrap_or_default())? {
            "" => None,
            data => Data::stored(data)?,
        },
    })
}

fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Decimal digits, as many as a script of Redis counts exactly.
fn digits(field: Option<&[u8]>) -> Option<u64> {
    let digits = field.filter(|digits| (1..=15).contains(&digits.len()))?;
    digits.iter().try_fold(0, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number * 10 + digit)
    })
}

/// A number that cannot be negative.
pub(super) fn count(reply: &Value) -> Result<u64, Error> {
    match reply {
        Value::Int(count) => u64::try_from(*count).map_err(|_| Error::Internal),
        _ => Err(Error::Internal),
    }
}

/// The same of a reply that nobody has looked at.
pub(super) fn number_of(reply: &Reply) -> Result<u64, Error> {
    count(&reply.value().map_err(|_| Error::Internal)?)
}

/// A list of two such numbers.
pub(super) fn two_counts(reply: &Value) -> Result<(u64, u64), Error> {
    match reply {
        Value::Array(list) if list.len() == 2 => Ok((count(&list[0])?, count(&list[1])?)),
        _ => Err(Error::Internal),
    }
}

/// `ID_LENGTH IP_LENGTH r w ttl la NO_RESAVE`, a line feed, then id, ip and d; the lengths in bytes.
fn unpack(packed: &[u8]) -> Option<Record> {
    let (header, rest) = std::str::from_utf8(packed).ok()?.split_once('\n')?;
    let mut numbers = header.split(' ').map(|number| number.parse::<u64>().ok());
    let mut number = || numbers.next().flatten();
    let (id, ip) = (number()?, number()?);
    let (reads, writes, ttl, last_active) = (number()?, number()?, number()?, number()?);
    let no_resave = number()? == 1;
    let (id, rest) = rest.split_at_checked(usize::try_from(id).ok()?)?;
    let (ip, data) = rest.split_at_checked(usize::try_from(ip).ok()?)?;
    let data = match data {
        "" => None,
        data => Data::stored(data)?,
    };
    Some(Record {
        id: UserId::stored(id),
        ip: Ip::stored(ip),
        reads,
        writes,
        ttl,
        last_active,
        no_resave,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_record_is_read() {
        let record = unpack("3 9 1 2 7200 1700000000 1\nü:127.0.0.1{\"a\":1}".as_bytes()).unwrap();
        assert_eq!(record.id.as_str(), "ü:");
        assert_eq!(record.ip.as_str(), "127.0.0.1");
        assert_eq!((record.reads, record.writes), (1, 2));
        assert_eq!((record.ttl, record.last_active), (7200, 1_700_000_000));
        assert!(record.no_resave);
        assert_eq!(record.data.unwrap().as_str(), "{\"a\":1}");
    }

    #[test]
    fn what_makes_no_record_is_unreadable() {
        for text in [
            "",
            "\n",
            "1 1 1 1 1 1 0",
            "9 1 1 1 1 1 0\nab",
            "1 0 1 1 1 x 0\na",
            "1 0 1 1 1 1 0\na{",
            "1 0 1 1 1 1 0\nü",
        ] {
            assert!(unpack(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(unpack(b"1 0 1 1 1 1 0\n\xff").is_none());
    }
}
