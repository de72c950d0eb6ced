//! How keys and values are laid out on disk, and nothing else that formats or reads them.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `sessions` | app `0` token | the record |
//! | `users` | app `0` id `0` token | nothing |
//! | `activity` | app `0` second (8 bytes, big-endian) token | the second at which it ends, the id |
//! | `activity` | app `1` id | the second (8 bytes, big-endian) of a removed session that was active later than others of the id |

#[cfg(test)]
mod properties;

use serde::{Deserialize, Serialize};

use crate::{
    session::{App, Data, Ip, Record, Seconds, Token, UserId},
    store::Key,
};

/// Between the parts of a key. No part can hold it: ids have no control characters.
pub(super) const END: u8 = 0;

/// Between an app and an id in `activity`.
const OUTLIVED: u8 = 1;

/// Leads each record, so that a later format can tell itself apart.
const FORMAT: u8 = 1;

/// A record, and where the `activity` index has it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) record: Record,
    /// The second of the session's `activity` entry, never beyond `last_active`.
    pub(super) active: Seconds,
}

/// An entry of the `activity` index.
pub(super) struct Activity {
    pub(super) key: Key,
    pub(super) active: Seconds,
    pub(super) end: Seconds,
    pub(super) id: String,
}

pub(super) fn app_prefix(app: App) -> Vec<u8> {
    let mut key = Vec::with_capacity(App::MAX + 1 + 8 + Token::LEN);
    key.extend(app.as_str().as_bytes());
    key.push(END);
    key
}

pub(super) fn session_key(key: &Key) -> Vec<u8> {
    let mut bytes = app_prefix(key.app);
    bytes.extend(key.token.as_bytes());
    bytes
}

pub(super) fn user_prefix(app: App, id: &UserId) -> Vec<u8> {
    let mut bytes = app_prefix(app);
    bytes.extend(id.as_str().as_bytes());
    bytes.push(END);
    bytes
}

pub(super) fn user_key(key: &Key, id: &UserId) -> Vec<u8> {
    let mut bytes = user_prefix(key.app, id);
    bytes.extend(key.token.as_bytes());
    bytes
}

pub(super) fn activity_key(key: &Key, active: Seconds) -> Vec<u8> {
    let mut bytes = app_prefix(key.app);
    bytes.extend(active.to_be_bytes());
    bytes.extend(key.token.as_bytes());
    bytes
}

pub(super) fn trailing_token(key: &[u8]) -> Option<Token> {
    let (_, token) = key.split_last_chunk::<{ Token::LEN }>()?;
    Token::parse(std::str::from_utf8(token).ok()?).ok()
}

/// The app and token of a key of `sessions`.
pub(super) fn parse_session_key(key: &[u8]) -> Option<Key> {
    let (app, _) = key.split_last_chunk::<{ Token::LEN }>()?;
    Some(Key {
        app: parse_app(app)?,
        token: trailing_token(key)?,
    })
}

/// The app, token and id of a key of `users`.
pub(super) fn parse_user_key(key: &[u8]) -> Option<(Key, UserId)> {
    let (head, _) = key.split_last_chunk::<{ Token::LEN }>()?;
    let end = head.iter().position(|byte| *byte == END)?;
    let (app, id) = head.split_at(end + 1);
    let id = std::str::from_utf8(id.strip_suffix(&[END])?).ok()?;
    let key = Key {
        app: parse_app(app)?,
        token: trailing_token(key)?,
    };
    Some((key, UserId::stored(id)))
}

fn parse_app(prefix: &[u8]) -> Option<App> {
    App::parse(std::str::from_utf8(prefix.strip_suffix(&[END])?).ok()?).ok()
}

/// What precedes the id in a key of `activity` for activity that has outlived its session.
pub(super) fn outlived_prefix(app: App) -> Vec<u8> {
    let mut key = app_prefix(app);
    key.pop();
    key.push(OUTLIVED);
    key
}

pub(super) fn outlived_key(app: App, id: &str) -> Vec<u8> {
    let mut key = outlived_prefix(app);
    key.extend(id.as_bytes());
    key
}

/// The app, id and second of such an entry.
pub(super) fn outlived(key: &[u8], value: &[u8]) -> Option<(App, UserId, Seconds)> {
    let end = key.iter().position(|byte| *byte == OUTLIVED)?;
    let app = App::parse(std::str::from_utf8(&key[..end]).ok()?).ok()?;
    let id = std::str::from_utf8(&key[end + 1..]).ok()?;
    Some((app, UserId::stored(id), outlived_second(value)?))
}

pub(super) fn outlived_second(value: &[u8]) -> Option<Seconds> {
    Some(Seconds::from_be_bytes(value.try_into().ok()?))
}

pub(super) fn activity_value(record: &Record) -> Vec<u8> {
    let room = Vec::with_capacity(NUMBER + TEXT + record.id.as_str().len());
    postcard::to_extend(&(record.end(), &record.id), room).expect("a vector takes all")
}

pub(super) fn activity(key: &[u8], value: &[u8]) -> Option<Activity> {
    let (head, _) = key.split_last_chunk::<{ Token::LEN }>()?;
    let (app, active) = head.split_last_chunk::<8>()?;
    let app = parse_app(app)?;
    let (end, id) = postcard::from_bytes(value).ok()?;
    Some(Activity {
        key: Key {
            app,
            token: trailing_token(key)?,
        },
        active: Seconds::from_be_bytes(*active),
        end,
        id,
    })
}

/// The most bytes that postcard takes for a number of 64 bits, and for the length of a text.
const NUMBER: usize = 10;
const TEXT: usize = 5;

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

pub(super) fn encode(stored: &Stored) -> Vec<u8> {
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
pub(super) fn times(bytes: &[u8]) -> Option<(Seconds, Seconds)> {
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

pub(super) fn decode(bytes: &[u8]) -> Option<Stored> {
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
