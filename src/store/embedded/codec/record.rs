//! Records: the values of the `sessions` keyspace.
//!
//! | format | bytes |
//! |---|---|
//! | 1 | `1`, then a [`Row`] in postcard's encoding |
//! | 2 | `2`, then the same, then the [extra fields](Fields) to the end |
//!
//! A record without extra fields is written in format 1, so that older versions can read it.

use serde::{Deserialize, Serialize};

use super::{Fields, Format, Unreadable};
use crate::session::{Data, Ip, Record, Seconds, UserId};

/// A session as it is on disk.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    /// The second of the session's `activity` entry, never later than `last_active`.
    pub(crate) active: Seconds,
    pub(crate) fields: Fields,
}

impl Stored {
    /// A new session.
    pub(crate) fn new(record: Record) -> Self {
        Self {
            active: record.last_active,
            record,
            fields: Fields::default(),
        }
    }

    /// The format that [`encode`] writes it in.
    pub(crate) fn format(&self) -> Format {
        if self.fields.is_empty() {
            Format::One
        } else {
            Format::Two
        }
    }
}

/// Most bytes that postcard takes for a number of 64 bits.
pub(super) const MAX_NUMBER: usize = 10;
/// Most bytes that postcard takes for the length of a text.
pub(super) const MAX_LENGTH: usize = 5;

/// A session in the order of its bytes.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    id: &'a str,
    ip: &'a str,
    reads: u64,
    writes: u64,
    ttl: Seconds,
    last_active: Seconds,
    active: Seconds,
    no_resave: bool,
    data: Option<&'a str>,
}

/// The beginning of a [`Row`], up to what [`times`] needs.
#[derive(Deserialize)]
struct Head<'a> {
    _id: &'a str,
    _ip: &'a str,
    _reads: u64,
    _writes: u64,
    ttl: Seconds,
    last_active: Seconds,
}

/// The value of a session.
pub(crate) fn encode(stored: &Stored) -> Vec<u8> {
    let record = &stored.record;
    let row = Row {
        id: record.id.as_str(),
        ip: record.ip.as_str(),
        reads: record.reads,
        writes: record.writes,
        ttl: record.ttl,
        last_active: record.last_active,
        active: stored.active,
        no_resave: record.no_resave,
        data: record.data.as_ref().map(Data::as_str),
    };
    let fields = stored.fields.as_bytes();
    let texts = row.id.len() + row.ip.len() + row.data.map_or(0, str::len);
    // The format, two flags, five numbers, three lengths, then the texts and the fields.
    let capacity = 1 + 2 + 5 * MAX_NUMBER + 3 * MAX_LENGTH + texts + fields.len();
    let mut bytes = Vec::with_capacity(capacity);
    bytes.push(stored.format().number());
    bytes = postcard::to_extend(&row, bytes).expect("a vector takes all");
    bytes.extend(fields);
    bytes
}

/// Reads the value of a session.
pub(crate) fn decode(bytes: &[u8]) -> Result<Stored, Unreadable> {
    let (format, bytes) = split_format(bytes)?;
    let (row, rest): (Row<'_>, _) = postcard::take_from_bytes(bytes).map_err(|_| Unreadable::Damaged)?;
    let fields = match format {
        Format::One => Fields::default(),
        Format::Two => Fields::decode(rest)?,
    };
    let data = match row.data {
        Some(text) => Data::stored(text).ok_or(Unreadable::Damaged)?,
        None => None,
    };
    Ok(Stored {
        record: Record {
            id: UserId::stored(row.id),
            ip: Ip::stored(row.ip),
            reads: row.reads,
            writes: row.writes,
            ttl: row.ttl,
            last_active: row.last_active,
            no_resave: row.no_resave,
            data,
        },
        active: row.active,
        fields,
    })
}

/// Reads the last activity and the `ttl` of a session, and not its data.
pub(crate) fn times(bytes: &[u8]) -> Result<(Seconds, Seconds), Unreadable> {
    let (_, bytes) = split_format(bytes)?;
    let (head, _): (Head<'_>, _) = postcard::take_from_bytes(bytes).map_err(|_| Unreadable::Damaged)?;
    Ok((head.last_active, head.ttl))
}

fn split_format(bytes: &[u8]) -> Result<(Format, &[u8]), Unreadable> {
    let (format, rest) = bytes.split_first().ok_or(Unreadable::Damaged)?;
    Ok((Format::of(u64::from(*format))?, rest))
}
