//! Domain types. Each value is parsed once, on its way in, and cannot be wrong afterwards.

mod cursor;
mod data;
mod ident;
mod invalid;
#[cfg(test)]
pub(crate) mod properties;
mod record;

pub use cursor::{Cursor, Scope};
pub use data::{ApplyError, Changes, Data, MAX_DATA_BYTES};
pub use ident::{App, Ip, Token, UserId, limit, seconds};
pub use invalid::Invalid;
pub use record::{Record, Session, expired};

/// Seconds since the Unix epoch.
pub type Seconds = u64;

/// The `ttl` of a session whose creator names none, in seconds.
pub const DEFAULT_TTL: Seconds = 7200;
