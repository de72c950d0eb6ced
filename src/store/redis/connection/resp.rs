//! Replies that have arrived whole, and are decoded by the caller.
//!
//! Why a decoder of our own for lists of strings: the client library copies every string into an allocation of its own,
//! which a get of eight fields need not pay. All other replies go through the library's parser.

use std::sync::Arc;

use bytes::Bytes;
use deadpool_redis::redis::{RedisError, Value, parse_redis_value};

use crate::store::redis::connection::{
    health::ConnectionHealth,
    scanner::{RespScanner, header},
};

/// One or more replies, whole.
#[derive(Clone)]
pub(crate) struct RawReply {
    bytes: Bytes,
    /// Of the connection that it came on, if that is in use.
    health: Option<Arc<ConnectionHealth>>,
}

impl RawReply {
    /// A reply of a connection that is not in use any more.
    pub(super) fn detached(bytes: Bytes) -> Self {
        Self { bytes, health: None }
    }

    /// A reply that came on a connection of this health.
    pub(super) fn received(bytes: Bytes, health: Arc<ConnectionHealth>) -> Self {
        Self {
            bytes,
            health: Some(health),
        }
    }

    /// The reply to one command; fails if it is an error.
    pub(crate) fn only(self) -> Result<Self, RedisError> {
        if self.bytes.first() != Some(&b'-') {
            return Ok(self);
        }
        match self.value()? {
            Value::ServerError(error) => Err(error.into()),
            _ => Ok(self),
        }
    }

    /// The replies to several commands.
    pub(crate) fn each(mut self) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let length = RespScanner::default().replies(&self.bytes, 1).ok()??;
            Some(Self {
                bytes: self.bytes.split_to(length),
                health: self.health.clone(),
            })
        })
    }

    /// The decoded value. A reply that cannot be decoded gives up its connection: where the next one begins is unknown.
    pub(crate) fn value(&self) -> Result<Value, RedisError> {
        let value = parse_redis_value(&self.bytes);
        if let (Err(_), Some(health)) = (&value, &self.health) {
            health.give_up();
        }
        value
    }

    /// The elements of a list of exactly `N` strings and nils; `None` for any other reply.
    pub(crate) fn strings<const N: usize>(&self) -> Option<[Option<&[u8]>; N]> {
        let strings = self.parse_strings();
        if strings.is_none() {
            // Gives up the connection if the reply cannot be decoded at all.
            let _ = self.value();
        }
        strings
    }

    fn parse_strings<const N: usize>(&self) -> Option<[Option<&[u8]>; N]> {
        let mut rest = &self.bytes[..];
        let mut strings = [None; N];
        if header(&mut rest)? != (b'*', N.try_into().ok()?) {
            return None;
        }
        for string in &mut strings {
            let (b'$', length) = header(&mut rest)? else {
                return None;
            };
            if let Ok(length) = usize::try_from(length) {
                *string = Some(rest.get(..length)?);
                rest = rest.get(length..)?.strip_prefix(b"\r\n")?;
            }
        }
        rest.is_empty().then_some(strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_of_exactly_n_strings_are_decoded() {
        let reply = |text: &'static str| RawReply::detached(Bytes::from_static(text.as_bytes()));
        let list = reply("*3\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n");
        assert_eq!(list.strings(), Some([Some(&b"a"[..]), None, Some(b"")]));
        assert_eq!(list.strings::<2>(), None);
        assert_eq!(reply("*1\r\n:1\r\n").strings::<1>(), None);
        assert_eq!(reply(":1\r\n").strings::<1>(), None);
        assert_eq!(reply("*1\r\n$1\r\naXX").strings::<1>(), None);
    }

    #[test]
    fn several_replies_are_split() {
        let reply = RawReply::detached(Bytes::from_static(b"+OK\r\n*1\r\n$1\r\na\r\n:7\r\n"));
        let values: Vec<_> = reply.each().map(|reply| reply.value().unwrap()).collect();
        let list = Value::Array(vec![Value::BulkString(b"a".to_vec())]);
        assert_eq!(values, [Value::Okay, list, Value::Int(7)]);
    }
}
