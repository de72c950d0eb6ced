//! Decodes replies about the sessions of one id. A reply that no script of ours returns is an outage.

use deadpool_redis::redis::Value;

use crate::{
    observability::metrics::Metrics,
    session::{Record, Seconds},
    store::{
        Error,
        redis::decode::{
            counts::count,
            nonsense::nonsense,
            record::{digits, record},
        },
    },
};

/// A session's token as Redis has it, and its record; `None` if it is missing or unreadable.
type TokenRecord = (Vec<u8>, Option<Record>);

/// The first item of a reply with all sessions of an id. Why: a broken server may reply an empty list, which must not
/// mean "no sessions".
const ALL_MARKER: &[u8] = b"all";

/// The reply of `soid.lua`: tokens, each with its record.
pub(crate) fn tokens_and_records(reply: Value, metrics: &Metrics) -> Result<Vec<TokenRecord>, Error> {
    let mut list = array(reply)?.into_iter();
    if bytes(list.next().ok_or_else(nonsense)?)? != ALL_MARKER {
        return Err(nonsense());
    }
    let mut found = Vec::with_capacity(list.len() / 2);
    while let Some(token) = list.next() {
        let reply = list.next().ok_or_else(nonsense)?;
        found.push((bytes(token)?, record(reply, metrics)?));
    }
    Ok(found)
}

/// The reply of `records.lua`: records in the order of the request.
pub(crate) fn records(reply: Value, metrics: &Metrics) -> Result<Vec<Option<Record>>, Error> {
    let records = array(reply)?.into_iter();
    records.map(|reply| record(reply, metrics)).collect()
}

/// A session's token, `la` and `ttl`.
pub(crate) type SessionTimes = (Vec<u8>, Seconds, Seconds);

/// Some sessions of an id, found by `SSCAN`.
#[derive(Debug, PartialEq)]
pub(crate) struct ScannedSessions {
    /// The next `SSCAN` cursor; `0` at the end.
    pub(crate) cursor: String,
    /// The number of all sessions of the id.
    pub(crate) members: u64,
    /// The readable ones.
    pub(crate) sessions: Vec<SessionTimes>,
}

/// The reply of `places.lua`. Counts unreadable records in the metrics.
pub(crate) fn scanned(reply: Value, metrics: &Metrics) -> Result<ScannedSessions, Error> {
    let mut list = array(reply)?.into_iter();
    let cursor = bytes(list.next().ok_or_else(nonsense)?)?;
    let cursor = String::from_utf8(cursor).map_err(|_| nonsense())?;
    if cursor.is_empty() || !cursor.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(nonsense());
    }
    let members = count(&list.next().ok_or_else(nonsense)?)?;
    let mut sessions = Vec::with_capacity(list.len());
    for item in list {
        let item = bytes(item)?;
        if item.is_empty() {
            metrics.unreadable();
            continue;
        }
        let mut parts = item.splitn(3, |byte| *byte == b' ');
        let (last_active, ttl) = (digits(parts.next()), digits(parts.next()));
        let (Some(last_active), Some(ttl), Some(token)) = (last_active, ttl, parts.next()) else {
            return Err(nonsense());
        };
        sessions.push((token.to_vec(), last_active, ttl));
    }
    Ok(ScannedSessions {
        cursor,
        members,
        sessions,
    })
}

fn array(reply: Value) -> Result<Vec<Value>, Error> {
    match reply {
        Value::Array(list) => Ok(list),
        _ => Err(nonsense()),
    }
}

fn bytes(reply: Value) -> Result<Vec<u8>, Error> {
    match reply {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(nonsense()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn scanned_sessions_are_decoded_and_unreadable_ones_counted() {
        let metrics = Metrics::new();
        let some = vec![text("17"), Value::Int(9), text("5 60 a b"), text(""), text("6 0 c")];
        let page = scanned(Value::Array(some), &metrics).unwrap();
        assert_eq!((page.cursor.as_str(), page.members), ("17", 9));
        assert_eq!(page.sessions, [(b"a b".to_vec(), 5, 60), (b"c".to_vec(), 6, 0)]);
        assert!(metrics.text().contains("unreadable_records_total 1"));
    }

    #[test]
    fn nonsense_is_an_outage() {
        let metrics = Metrics::new();
        for reply in [
            Value::Nil,
            Value::Okay,
            Value::Int(-1),
            Value::Array(vec![]),
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![text("")]),
            Value::Array(vec![text("-1")]),
            Value::Array(vec![text("0")]),
            Value::Array(vec![text("0"), text("1 2 a")]),
            Value::Array(vec![text("0"), Value::Int(-1)]),
            Value::Array(vec![text("0"), Value::Int(1), text("x y z")]),
            Value::Array(vec![text("0"), Value::Int(1), text("1 2")]),
            Value::Array(vec![text("0"), Value::Int(1), Value::Int(1)]),
        ] {
            assert_eq!(scanned(reply.clone(), &metrics), Err(Error::Unavailable), "{reply:?}");
        }
        for reply in [
            Value::Nil,
            Value::Int(2),
            Value::Array(vec![]),
            Value::Array(vec![text("token"), text("none")]),
            Value::Array(vec![text("all"), text("token")]),
        ] {
            assert!(tokens_and_records(reply.clone(), &metrics).is_err(), "{reply:?}");
        }
        let none = Value::Array(vec![text("all")]);
        assert!(tokens_and_records(none, &metrics).is_ok_and(|found| found.is_empty()));
        assert!(records(Value::Okay, &metrics).is_err());
    }
}
