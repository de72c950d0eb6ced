//! The keys of the three keyspaces.

use crate::{
    session::{App, Seconds, Token, UserId},
    store::Key,
};

/// Separates the parts of a key. No part can contain it, because ids have no control characters.
pub(crate) const END: u8 = 0;

/// Separates the app and the id in the key of outlived activity.
pub(super) const OUTLIVED: u8 = 1;

/// The beginning of all keys of an app, but for outlived activity.
pub(crate) fn app_prefix(app: App) -> Vec<u8> {
    let mut key = Vec::with_capacity(App::MAX + 1 + 8 + Token::LEN);
    key.extend(app.as_str().as_bytes());
    key.push(END);
    key
}

/// The key of a session in `sessions`.
pub(crate) fn session_key(key: &Key) -> Vec<u8> {
    let mut bytes = app_prefix(key.app);
    bytes.extend(key.token.as_bytes());
    bytes
}

/// The beginning of all keys of an id in `users`.
pub(crate) fn user_prefix(app: App, id: &UserId) -> Vec<u8> {
    let mut bytes = app_prefix(app);
    bytes.extend(id.as_str().as_bytes());
    bytes.push(END);
    bytes
}

/// The key of a session in `users`.
pub(crate) fn user_key(key: &Key, id: &UserId) -> Vec<u8> {
    let mut bytes = user_prefix(key.app, id);
    bytes.extend(key.token.as_bytes());
    bytes
}

/// The key of a session in `activity`, with the second of its entry.
pub(crate) fn activity_key(key: &Key, active: Seconds) -> Vec<u8> {
    let mut bytes = app_prefix(key.app);
    bytes.extend(active.to_be_bytes());
    bytes.extend(key.token.as_bytes());
    bytes
}

/// Reads the token at the end of a key of any keyspace.
pub(crate) fn trailing_token(key: &[u8]) -> Option<Token> {
    let (_, token) = key.split_last_chunk::<{ Token::LEN }>()?;
    Token::parse(std::str::from_utf8(token).ok()?).ok()
}

/// Reads a key of `sessions`.
pub(crate) fn parse_session_key(key: &[u8]) -> Option<Key> {
    let (app, _) = key.split_last_chunk::<{ Token::LEN }>()?;
    Some(Key {
        app: parse_app(app)?,
        token: trailing_token(key)?,
    })
}

/// Reads a key of `users`.
pub(crate) fn parse_user_key(key: &[u8]) -> Option<(Key, UserId)> {
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

pub(super) fn parse_app(prefix: &[u8]) -> Option<App> {
    App::parse(std::str::from_utf8(prefix.strip_suffix(&[END])?).ok()?).ok()
}

/// The beginning of all keys of an app's outlived activity.
pub(crate) fn outlived_prefix(app: App) -> Vec<u8> {
    let mut key = app_prefix(app);
    key.pop();
    key.push(OUTLIVED);
    key
}

/// The key of the outlived activity of an id.
pub(crate) fn outlived_key(app: App, id: &str) -> Vec<u8> {
    let mut key = outlived_prefix(app);
    key.extend(id.as_bytes());
    key
}
