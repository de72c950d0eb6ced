//! Extracts the names in a path: app, token, id.

use std::iter;

use axum::{extract::FromRequestParts, http::request::Parts};

use super::query::decode;
use crate::{
    http::error::Error,
    session::{App, Invalid, Token, UserId},
};

/// The n-th segment of the path, counted from 1. Every route is `/app/verb` or `/app/verb/name`.
fn segment(parts: &Parts, n: usize) -> &str {
    segments(parts.uri.path()).nth(n - 1).unwrap_or_default()
}

/// The segments of a path. Uses `memchr`, which is faster here than [`str::split`].
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path.strip_prefix('/');
    iter::from_fn(move || {
        let text = rest?;
        let (segment, after) = match memchr::memchr(b'/', text.as_bytes()) {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        rest = after;
        Some(segment)
    })
}

/// Parses a name whose characters need no escape. A client may escape them all the same.
fn parse_name<T>(text: &str, name: &'static str, parse: impl Fn(&str) -> Result<T, Invalid>) -> Result<T, Invalid> {
    parse(text).or_else(|_| {
        let text = decode(text, false).ok_or(Invalid::Format(name))?;
        parse(&text)
    })
}

impl<S: Sync> FromRequestParts<S> for App {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(parse_name(segment(parts, 1), "app", Self::parse)?)
    }
}

impl<S: Sync> FromRequestParts<S> for Token {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(parse_name(segment(parts, 3), "token", Self::parse)?)
    }
}

impl<S: Sync> FromRequestParts<S> for UserId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let text = decode(segment(parts, 3), false).ok_or(Invalid::Format("id"))?;
        Ok(Self::parse(&text)?)
    }
}
