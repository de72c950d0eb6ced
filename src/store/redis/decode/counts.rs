//! Decodes replies that are numbers.

use deadpool_redis::redis::Value;

use crate::store::{
    Error,
    redis::{connection::resp::RawReply, decode::nonsense::nonsense},
};

/// The reply of `create.lua`; fails unless the session was stored.
pub(crate) fn stored(reply: &Value) -> Result<(), Error> {
    match reply {
        Value::Int(1) => Ok(()),
        _ => Err(nonsense()),
    }
}

/// A count; fails if it is negative or no number.
pub(crate) fn count(reply: &Value) -> Result<u64, Error> {
    match reply {
        Value::Int(count) => u64::try_from(*count).map_err(|_| nonsense()),
        _ => Err(nonsense()),
    }
}

/// The same for a reply that is not parsed yet.
pub(crate) fn count_of_raw(reply: &RawReply) -> Result<u64, Error> {
    count(&reply.value().map_err(|_| nonsense())?)
}

/// A list of exactly `N` counts.
pub(crate) fn counts<const N: usize>(reply: &Value) -> Result<[u64; N], Error> {
    let Value::Array(list) = reply else {
        return Err(nonsense());
    };
    let counts = list.iter().map(count).collect::<Result<Vec<_>, _>>()?;
    counts.try_into().map_err(|_| nonsense())
}
