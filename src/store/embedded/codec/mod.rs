//! How keys and values are laid out on disk, and nothing else that formats or reads them.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `sessions` | app `0` token | the record |
//! | `users` | app `0` id `0` token | nothing |
//! | `activity` | app `0` second (8 bytes, big-endian) token | the second at which it ends, the id |
//! | `activity` | app `1` id | the second (8 bytes, big-endian) of a removed session that was active later than others of the id |

mod activity;
mod keys;
#[cfg(test)]
mod properties;
mod record;

pub(crate) use self::{
    activity::{Activity, activity, activity_value, outlived, outlived_second},
    keys::{
        END, activity_key, app_prefix, outlived_key, outlived_prefix, parse_session_key, parse_user_key, session_key,
        trailing_token, user_key, user_prefix,
    },
    record::{Stored, decode, encode, times},
};
