//! Entries of the `activity` index.

use super::{
    keys::{OUTLIVED, parse_app, trailing_token},
    record::{NUMBER, TEXT},
};
use crate::{
    session::{App, Record, Seconds, Token, UserId},
    store::Key,
};

/// An entry of the `activity` index.
pub(crate) struct Activity {
    pub(crate) key: Key,
    pub(crate) active: Seconds,
    pub(crate) end: Seconds,
    pub(crate) id: String,
}

/// The app, id and second of such an entry.
pub(crate) fn outlived(key: &[u8], value: &[u8]) -> Option<(App, UserId, Seconds)> {
    let end = key.iter().position(|byte| *byte == OUTLIVED)?;
    let app = App::parse(std::str::from_utf8(&key[..end]).ok()?).ok()?;
    let id = std::str::from_utf8(&key[end + 1..]).ok()?;
    Some((app, UserId::stored(id), outlived_second(value)?))
}

pub(crate) fn outlived_second(value: &[u8]) -> Option<Seconds> {
    Some(Seconds::from_be_bytes(value.try_into().ok()?))
}

pub(crate) fn activity_value(record: &Record) -> Vec<u8> {
    let room = Vec::with_capacity(NUMBER + TEXT + record.id.as_str().len());
    postcard::to_extend(&(record.end(), &record.id), room).expect("a vector takes all")
}

pub(crate) fn activity(key: &[u8], value: &[u8]) -> Option<Activity> {
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
