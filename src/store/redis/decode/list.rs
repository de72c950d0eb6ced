//! Replies of `soapp.lua`: a part of the list of an app.

use deadpool_redis::redis::Value;

use crate::{
    observability::metrics::Metrics,
    session::{Cursor, Record},
    store::{
        Error,
        redis::decode::{nonsense::nonsense, record::unpack},
    },
};

/// What a shard replies.
pub(crate) struct ListPart {
    pub(crate) records: Vec<(Cursor, Record)>,
    /// Where to go on, unless the list is at its end.
    pub(crate) next: Option<Cursor>,
}

/// The readable records of a part of a list, each with its place, and where the list goes on.
pub(crate) fn list(reply: Value, metrics: &Metrics) -> Result<ListPart, Error> {
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
    Ok(ListPart { records, next })
}

/// A place in a list, and what follows it: `SECOND`, a space, the beginning of a token.
fn place(bytes: &[u8]) -> Option<(Cursor, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let second = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (start, rest) = bytes[space + 1..].split_at_checked(Cursor::START)?;
    Some((Cursor::new(second, start), rest))
}
