//! Decodes replies of `soapp.lua`: a page of the list of an app.

use deadpool_redis::redis::Value;

use crate::{
    observability::metrics::Metrics,
    session::{Cursor, Record},
    store::{
        Error,
        redis::decode::{nonsense::nonsense, record::unpack},
    },
};

/// A page from one shard.
pub(crate) struct ListPage {
    /// The readable records, each with its position.
    pub(crate) records: Vec<(Cursor, Record)>,
    /// The position to continue after; `None` at the end of the list.
    pub(crate) next: Option<Cursor>,
}

/// Counts unreadable records in the metrics.
pub(crate) fn list_page(reply: Value, metrics: &Metrics) -> Result<ListPage, Error> {
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
        let (cursor, packed) = position(&found).ok_or_else(nonsense)?;
        // An unreadable record has only its position.
        let record = if packed.is_empty() { None } else { unpack(packed)? };
        match record {
            Some(record) => records.push((cursor, record)),
            None => metrics.unreadable(),
        }
    }
    let next = match more {
        0 => None,
        _ => Some(position(&end).ok_or_else(nonsense)?.0),
    };
    Ok(ListPage { records, next })
}

/// Splits a position from what follows it: `SECOND`, a space, and the first bytes of a token.
fn position(bytes: &[u8]) -> Option<(Cursor, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let second = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (start, rest) = bytes[space + 1..].split_at_checked(Cursor::START)?;
    Some((Cursor::new(second, start), rest))
}
