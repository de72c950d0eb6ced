//! Entries of the `activity` index. Neither kind has a format of its own: a newer one would use another separator in
//! the key.

use super::{
    keys::{OUTLIVED, parse_app, trailing_token},
    record::{MAX_LENGTH, MAX_NUMBER},
};
use crate::{
    session::{App, Record, Seconds, Token, UserId},
    store::Key,
};

/// The entry of a session.
pub(crate) struct Activity {
    pub(crate) key: Key,
    /// A second of activity: the last one, or less than [`STEP`](crate::store::embedded::engine::STEP) before it.
    pub(crate) active: Seconds,
    /// The second at which the session ends, or an earlier one.
    pub(crate) end: Seconds,
    pub(crate) id: String,
}

/// The value of a session's entry.
pub(crate) fn activity_value(record: &Record) -> Vec<u8> {
    let bytes = Vec::with_capacity(MAX_NUMBER + MAX_LENGTH + record.id.as_str().len());
    postcard::to_extend(&(record.end(), &record.id), bytes).expect("a vector takes all")
}

/// Reads the entry of a session.
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

/// Reads an entry of outlived activity: the app, the id and the second.
pub(crate) fn outlived(key: &[u8], value: &[u8]) -> Option<(App, UserId, Seconds)> {
    let end = key.iter().position(|byte| *byte == OUTLIVED)?;
    let app = App::parse(std::str::from_utf8(&key[..end]).ok()?).ok()?;
    let id = std::str::from_utf8(&key[end + 1..]).ok()?;
    Some((app, UserId::stored(id), outlived_second(value)?))
}

/// Reads the value of such an entry.
pub(crate) fn outlived_second(value: &[u8]) -> Option<Seconds> {
    Some(Seconds::from_be_bytes(value.try_into().ok()?))
}
