//! Replies that are numbers.

use deadpool_redis::redis::Value;

use crate::store::{
    Error,
    redis::{connection::resp::RawReply, decode::nonsense::nonsense},
};

/// Fails unless the script says that it has stored a session.
pub(crate) fn stored(reply: &Value) -> Result<(), Error> {
    match reply {
        Value::Int(1) => Ok(()),
        _ => Err(nonsense()),
    }
}

/// A number that cannot be negative.
pub(crate) fn count(reply: &Value) -> Result<u64, Error> {
    match reply {
        Value::Int(count) => u64::try_from(*count).map_err(|_| nonsense()),
        _ => Err(nonsense()),
    }
}

/// The same of a reply that nobody has looked at.
pub(crate) fn number_of(reply: &RawReply) -> Result<u64, Error> {
    count(&reply.value().map_err(|_| nonsense())?)
}

/// A list of such numbers.
pub(crate) fn counts<const N: usize>(reply: &Value) -> Result<[u64; N], Error> {
    let Value::Array(list) = reply else {
        return Err(nonsense());
    };
    let counts = list.iter().map(count).collect::<Result<Vec<_>, _>>()?;
    counts.try_into().map_err(|_| nonsense())
}
