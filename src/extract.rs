//! Extractors: from the parts of a request to domain types, each failing with its own error.
//!
//! They run in the order of a handler's arguments, which is the order in which the contract checks. Percent-escapes are
//! decoded strictly: `%zz` and bytes that are no UTF-8 are refused, where a lenient decoder would make up another id.

use std::{borrow::Cow, iter, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRef, FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;

use crate::{
    error::Error,
    session::{App, Cursor, DEFAULT_TTL, Ip, MAX_DATA_BYTES, Scope, Seconds, Token, UserId, limit, seconds},
};

/// The n-th segment of the path, from 1: every route is `/app/verb` or `/app/verb/name`.
fn segment(parts: &Parts, n: usize) -> &str {
    segments(parts.uri.path()).nth(n - 1).unwrap_or_default()
}

/// The segments of a path, quicker than by [`str::split`].
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

/// A name no character of which needs an escape, but a client may escape all the same.
fn plain<T>(text: &str, name: &'static str, parse: impl Fn(&str) -> Result<T, Error>) -> Result<T, Error> {
    parse(text).or_else(|_| {
        let text = decode(text, false).ok_or(Error::InvalidFormat(name))?;
        parse(&text)
    })
}

impl<S: Sync> FromRequestParts<S> for App {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        plain(segment(parts, 1), "app", Self::parse)
    }
}

impl<S: Sync> FromRequestParts<S> for Token {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        plain(segment(parts, 3), "token", Self::parse)
    }
}

impl<S: Sync> FromRequestParts<S> for UserId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let text = decode(segment(parts, 3), false).ok_or(Error::InvalidFormat("id"))?;
        Self::parse(&text)
    }
}

/// The query of a create.
#[derive(Debug)]
pub(crate) struct CreateQuery {
    pub(crate) ip: Ip,
    pub(crate) ttl: Seconds,
    pub(crate) no_resave: bool,
}

impl<S: Sync> FromRequestParts<S> for CreateQuery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = Query(parts.uri.query().unwrap_or_default());
        let ip = match query.one("ip") {
            Value::One(text) => Ip::parse(&text)?,
            Value::Absent => return Err(Error::MissingParameter("ip")),
            Value::Unusable => return Err(Error::InvalidFormat("ip")),
        };
        let ttl = match query.one("ttl") {
            Value::One(text) if !text.is_empty() => seconds("ttl", &text)?,
            Value::One(_) | Value::Absent => DEFAULT_TTL,
            Value::Unusable => seconds("ttl", "")?,
        };
        let no_resave = match query.one("no_resave") {
            Value::One(text) => text == "true" || text == "1",
            Value::Absent => false,
            Value::Unusable => return Err(Error::InvalidValue("no_resave must be given once".into())),
        };
        Ok(Self { ip, ttl, no_resave })
    }
}

/// `dt`: how far back to look, in seconds.
#[derive(Debug)]
pub(crate) struct Dt(pub(crate) Seconds);

impl<S: Sync> FromRequestParts<S> for Dt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = Query(parts.uri.query().unwrap_or_default());
        match query.one("dt") {
            Value::One(text) => seconds("dt", &text).map(Self),
            Value::Absent | Value::Unusable => seconds("dt", "").map(Self),
        }
    }
}

/// `limit` and `cursor`: which part of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The most sessions.
    pub(crate) limit: Option<usize>,
    /// The text of a cursor: whether it is one depends on the list.
    cursor: Option<String>,
}

impl Page {
    /// Where the part before ended. Fails with `invalidValue` if that was a part of another list.
    pub(crate) fn after(&self, scope: Scope) -> Result<Option<Cursor>, Error> {
        self.cursor.as_deref().map(|text| scope.read(text)).transpose()
    }

    /// How many sessions to look for: one more, to know whether there is one.
    pub(crate) fn most(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_add(1))
    }
}

impl<S: Sync> FromRequestParts<S> for Page {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = Query(parts.uri.query().unwrap_or_default());
        Ok(Self {
            limit: query.optional("limit", limit)?,
            cursor: query.optional("cursor", |text| Ok(text.to_owned()))?,
        })
    }
}

/// `unset`: the keys of `d` that a set removes. The one parameter that may be given many times.
#[derive(Debug)]
pub(crate) struct Unset(pub(crate) Vec<String>);

impl<S: Sync> FromRequestParts<S> for Unset {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let wrong = || Error::InvalidValue("unset must be a key of d".into());
        let query = Query(parts.uri.query().unwrap_or_default());
        let keys = query.all("unset").filter(|key| !key.is_empty());
        let keys = keys.map(|key| decode(key, true).map(Cow::into_owned).ok_or_else(wrong));
        keys.collect::<Result<_, _>>().map(Self)
    }
}

/// A query string. Unknown parameters are nobody's concern.
pub(crate) struct Query<'a>(pub(crate) &'a str);

/// What a query has for a parameter that may be given once.
pub(crate) enum Value<'a> {
    Absent,
    One(Cow<'a, str>),
    /// Given twice, or not decodable: no value can be right.
    Unusable,
}

impl<'a> Query<'a> {
    /// The values of one parameter, as they were sent.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true)? == name).then_some(value)
        })
    }

    /// The value of one parameter, decoded.
    pub(crate) fn one(&self, name: &str) -> Value<'a> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Value::Absent,
            (Some(value), None) => decode(value, true).map_or(Value::Unusable, Value::One),
            (Some(_), Some(_)) => Value::Unusable,
        }
    }

    /// The value of one parameter, parsed, if it is there.
    fn optional<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, Error>) -> Result<Option<T>, Error> {
        match self.one(name) {
            Value::Absent => Ok(None),
            Value::One(text) => parse(&text).map(Some),
            // Says what is wrong as of any other value that cannot be one.
            Value::Unusable => parse("").map(Some),
        }
    }
}

/// Decodes percent-escapes; in a query, `+` is a space. `None` for a broken escape, or if the result is no UTF-8.
fn decode(text: &str, plus: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|b| b == b'%' || (plus && b == b'+')) {
        return Some(text.into());
    }
    let mut escapes = text.split('%').skip(1);
    if !escapes.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit())) {
        return None;
    }
    let spaced = if plus { text.replace('+', " ") } else { text.to_owned() };
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned().into())
}

/// How long a body may take to arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTimeout(pub(crate) Duration);

/// The body of a request, JSON by its type and of a size that we take. Its text is not looked at here.
#[derive(Debug)]
pub(crate) struct JsonBody(pub(crate) Bytes);

impl<S: Sync> FromRequest<S> for JsonBody
where
    BodyTimeout: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        if body.is_end_stream() {
            return Ok(Self(Bytes::new()));
        }
        if !is_json(&parts.headers) {
            return Err(Error::UnsupportedMediaType);
        }
        if body.size_hint().lower() > MAX_DATA_BYTES as u64 {
            return Err(Error::TooLarge);
        }
        let BodyTimeout(limit) = BodyTimeout::from_ref(state);
        let read = Limited::new(body, MAX_DATA_BYTES).collect();
        match tokio::time::timeout(limit, read).await {
            Ok(Ok(body)) => Ok(Self(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::TooLarge),
            // The client broke off, or its chunks make no sense.
            Ok(Err(_)) => Err(Error::InvalidJson),
            Err(_) => Err(Error::RequestTimeout),
        }
    }
}

/// Whether the headers call the body JSON, as UTF-8 and as it is. A client that names no type is believed to mean JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase())
    };
    let coded = |name, plain| text(name).is_some_and(|coding| coding != plain);
    if coded(header::CONTENT_ENCODING, "identity") || coded(header::TRANSFER_ENCODING, "chunked") {
        return false;
    }
    let Some(content_type) = text(header::CONTENT_TYPE) else {
        return true;
    };
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let json =
        media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim() == "charset" => matches!(value.trim().trim_matches('"'), "utf-8" | "utf8"),
        _ => true,
    });
    json && utf8
}
