//! Replies about the sessions of one id. What no script of ours replies is an outage: the server is another one than it seems.

use deadpool_redis::redis::Value;

use super::{digits, nonsense, record};
use crate::{
    error::Error,
    metrics::Metrics,
    session::{Record, Seconds},
};

/// A session's token as Redis has it, and its record; `None` where there is none or it is unreadable.
type Found = (Vec<u8>, Option<Record>);

/// Tokens, each with its record.
pub(in super::super) fn tokens_and_records(reply: Value, metrics: &Metrics) -> Result<Vec<Found>, Error> {
    let mut list = array(reply)?.into_iter();
    let mut found = Vec::with_capacity(list.len() / 2);
    while let Some(token) = list.next() {
        let reply = list.next().ok_or_else(nonsense)?;
        found.push((bytes(token)?, record(reply, metrics)?));
    }
    Ok(found)
}

/// The records of some sessions, one after the other.
pub(in super::super) fn records(reply: Value, metrics: &Metrics) -> Result<Vec<Option<Record>>, Error> {
    let records = array(reply)?.into_iter();
    records.map(|reply| record(reply, metrics)).collect()
}

/// A session's token, its last activity and its `ttl`.
pub(in super::super) type Times = (Vec<u8>, Seconds, Seconds);

/// Where to go on, and when some sessions were active; unreadable ones are left out.
pub(in super::super) fn times(reply: Value, metrics: &Metrics) -> Result<(String, Vec<Times>), Error> {
    let mut list = array(reply)?.into_iter();
    let next = bytes(list.next().ok_or_else(nonsense)?)?;
    let next = String::from_utf8(next).map_err(|_| nonsense())?;
    if next.is_empty() || !next.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(nonsense());
    }
    let mut found = Vec::with_capacity(list.len());
    for one in list {
        let one = bytes(one)?;
        if one.is_empty() {
            metrics.unreadable();
            continue;
        }
        let mut parts = one.splitn(3, |byte| *byte == b' ');
        let (last_active, ttl) = (digits(parts.next()), digits(parts.next()));
        let (Some(last_active), Some(ttl), Some(token)) = (last_active, ttl, parts.next()) else {
            return Err(nonsense());
        };
        found.push((token.to_vec(), last_active, ttl));
    }
    Ok((next, found))
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
    fn times_are_read_and_unreadable_ones_counted() {
        let metrics = Metrics::new();
        let reply = Value::Array(vec![text("17"), text("5 60 a b"), text(""), text("6 0 c")]);
        let (next, found) = times(reply, &metrics).unwrap();
        assert_eq!(next, "17");
        assert_eq!(found, [(b"a b".to_vec(), 5, 60), (b"c".to_vec(), 6, 0)]);
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
            Value::Array(vec![text("0"), text("x y z")]),
            Value::Array(vec![text("0"), text("1 2")]),
            Value::Array(vec![text("0"), Value::Int(1)]),
        ] {
            assert_eq!(
                times(reply.clone(), &metrics),
                Err(Error::StoreUnavailable),
                "{reply:?}"
            );
        }
        for reply in [Value::Nil, Value::Int(2), Value::Array(vec![text("token")])] {
            assert!(tokens_and_records(reply.clone(), &metrics).is_err(), "{reply:?}");
        }
        assert!(records(Value::Okay, &metrics).is_err());
    }
}
