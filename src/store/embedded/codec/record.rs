//! Records: the values of the `sessions` keyspace.

use serde::{Deserialize, Serialize};

use crate::session::{Data, Ip, Record, Seconds, UserId};

/// Leads each record, so that a later format can tell itself apart.
const FORMAT: u8 = 1;

/// A record, and where the `activity` index has it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    /// The second of the session's `activity` entry, never beyond `last_active`.
    pub(crate) active: Seconds,
}

impl Stored {
    /// A new session.
    pub(crate) fn new(record: Record) -> Self {
        Self {
            active: record.last_active,
            record,
        }
    }
}

/// The most bytes that postcard takes for a number of 64 bits, and for the length of a text.
pub(super) const NUMBER: usize = 10;
pub(super) const TEXT: usize = 5;

/// A record as its bytes are laid out, by postcard.
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

impl Row<'_> {
    /// Bytes of its texts.
    fn texts(&self) -> usize {
        self.id.len() + self.ip.len() + self.data.map_or(0, str::len)
    }
}

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
    let mut bytes = Vec::with_capacity(1 + 5 * NUMBER + 2 + 3 * TEXT + row.texts());
    bytes.push(FORMAT);
    postcard::to_extend(&row, bytes).expect("a vector takes all")
}

/// The last activity and the `ttl` of a record.
pub(crate) fn times(bytes: &[u8]) -> Option<(Seconds, Seconds)> {
    /// What a [`Row`] begins with: postcard reads no further.
    #[derive(Deserialize)]
    struct Head<'a> {
        _id: &'a str,
        _ip: &'a str,
        _reads: u64,
        _writes: u64,
        ttl: Seconds,
        last_active: Seconds,
    }
    let (&FORMAT, bytes) = bytes.split_first()? else {
        return None;
    };
    let (head, _): (Head<'_>, _) = postcard::take_from_bytes(bytes).ok()?;
    Some((head.last_active, head.ttl))
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Stored> {
    let (&FORMAT, bytes) = bytes.split_first()? else {
        return None;
    };
    let row: Row<'_> = postcard::from_bytes(bytes).ok()?;
    let data = match row.data {
        Some(text) => Data::stored(text)?,
        None => None,
    };
    Some(Stored {
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
    })
}
