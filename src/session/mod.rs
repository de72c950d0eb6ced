//! Domain types. Each value is parsed once, on its way in, and is valid from then on. Nothing here knows of HTTP or a store.

mod app;
mod changes;
mod cursor;
mod data;
mod fields;
mod invalid;
mod ip;
mod limits;
#[cfg(test)]
pub(crate) mod properties;
mod record;
mod token;
mod user_id;

pub use self::{
    app::App,
    changes::{ApplyError, Changes, MAX_DATA_BYTES},
    cursor::{Cursor, Scope},
    data::Data,
    invalid::Invalid,
    ip::Ip,
    limits::{limit, seconds},
    record::{Record, Session},
    token::Token,
    user_id::UserId,
};

/// Seconds since the Unix epoch.
pub type Seconds = u64;

/// The `ttl` of a session that was created without one, in seconds.
pub const DEFAULT_TTL: Seconds = 7200;

/// The white space of JSON.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
