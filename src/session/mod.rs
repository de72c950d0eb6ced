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
    limits::{DEFAULT_TTL, Seconds, limit, seconds},
    record::{Record, Session, expired},
    token::Token,
    user_id::UserId,
};
