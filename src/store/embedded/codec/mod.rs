//! The layout of keys, records and index entries on disk. Only this module reads or writes it.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `sessions` | app `0` token | the record |
//! | `sessions` | `0` | empty; see [`Engine::leave_mark`](crate::store::embedded::engine::Engine::leave_mark) |
//! | `users` | app `0` id `0` token | empty |
//! | `activity` | app `0` second (8 bytes, big-endian) token | the second at which the session ends, the id |
//! | `activity` | app `1` id | a second (8 bytes, big-endian): the *outlived activity* of an id |
//!
//! Outlived activity is the last activity of removed sessions. An id has an entry only if it has other sessions and none of
//! them was active as late.

mod activity;
mod fields;
mod format;
mod keys;
#[cfg(test)]
mod properties;
mod record;

pub(crate) use self::{
    activity::{Activity, activity, activity_value, outlived, outlived_second},
    fields::Fields,
    format::{Format, Unreadable},
    keys::{
        END, activity_key, app_prefix, outlived_key, outlived_prefix, parse_session_key, parse_user_key, session_key,
        trailing_token, user_key, user_prefix,
    },
    record::{Stored, decode, encode, times},
};
