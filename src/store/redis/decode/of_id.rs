//! Replies about the sessions of one id. What no script of ours replies is an outage: the server is another one than it seems.

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

/// A session's token as Redis has it, and its record; `None` where there is none or it is unreadable.
type Found = (Vec<u8>, Option<Record>);

/// What a script replies before all sessions of an id: an empty list says nothing, and would be taken for no sessions.
const ALL: &[u8] = b"all";

/// Tokens, each with its record.
pub(crate) fn tokens_and_records(reply: Value, metrics: &Metrics) -> Result<Vec<Found>, Error> {
    let mut list = array(reply)?.into_iter();
    if bytes(list.next().ok_or_else(nonsense)?)? != ALL {
        return Err(nonsense());
    }
    let mut found = Vec::with_capacity(list.len() / 2);
    while let Some(token) = list.next() {
        let reply = list.next().ok_or_else(nonsense)?;
        found.push((bytes(token)?, record(reply, metrics)?));
    }
    Ok(found)
}

/// The records of some sessions, one after the other.
pub(crate) fn records(reply: Value, metrics: &Metrics) -> Result<Vec<Option<Record>>, Error> {
    let records = array(reply)?.into_iter();
    records.map(|reply| record(reply, metrics)).collect()
}

/// A session's token, its last activity and its `ttl`.
pub(crate) type Times = (Vec<u8>, Seconds, Seconds);

/// What a look at some sessions of an id has found.
#[derive(Debug, PartialEq)]
pub(crate) struct Look {
    /// Where to go on.
    pub(crate) next: String,
    /// How many sessions the id has.
    pub(crate) count: u64,
    /// Unreadable ones are left out.
    pub(crate) found: Vec<Times>,
}

/// When some sessions were active.
pub(crate) fn times(reply: Value, metrics: &Metrics) -> Result<Look, Error> {
    let mut list = array(reply)?.into_iter();
    let next = bytes(list.next().ok_or_else(nonsense)?)?;
    let next = String::from_utf8(next).map_err(|_| nonsense())?;
    if next.is_empty() || !next.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(nonsense());
    }
    let count = count(&list.next().ok_or_else(nonsense)?)?;
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
    Ok(Look { next, count, found })
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
        let some = vec![text("17"), Value::Int(9), text("5 60 a b"), text(""), text("6 0 c")];
        let look = times(Value::Array(some), &metrics).unwrap();
        assert_eq!((look.next.as_str(), look.count), ("17", 9));
        assert_eq!(look.found, [(b"a b".to_vec(), 5, 60), (b"c".to_vec(), 6, 0)]);
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
            assert_eq!(times(reply.clone(), &metrics), Err(Error::Unavailable), "{reply:?}");
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
