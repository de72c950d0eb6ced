//! Extracts the parameters of a query: one type for each set of parameters that routes share.

use std::borrow::Cow;

use axum::{extract::FromRequestParts, http::request::Parts};

use super::query::{Query, Value, decode};
use crate::{
    http::error::Error,
    session::{Cursor, DEFAULT_TTL, Invalid, Ip, Scope, Seconds, limit, seconds},
};

/// `ip`, `ttl` and `no_resave` of a create.
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
            Value::Absent => return Err(Invalid::Missing("ip").into()),
            Value::Unusable => return Err(Invalid::Format("ip").into()),
        };
        let ttl = match query.one("ttl") {
            Value::One(text) if !text.is_empty() => seconds("ttl", &text)?,
            Value::One(_) | Value::Absent => DEFAULT_TTL,
            Value::Unusable => seconds("ttl", "")?,
        };
        let no_resave = match query.one("no_resave") {
            Value::One(text) => text == "true" || text == "1",
            Value::Absent => false,
            Value::Unusable => return Err(Invalid::Value("no_resave must be given once".into()).into()),
        };
        Ok(Self { ip, ttl, no_resave })
    }
}

/// `dt`: how far back activity counts, in seconds.
#[derive(Debug)]
pub(crate) struct DtQuery(pub(crate) Seconds);

impl<S: Sync> FromRequestParts<S> for DtQuery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = Query(parts.uri.query().unwrap_or_default());
        match query.one("dt") {
            Value::One(text) => Ok(Self(seconds("dt", &text)?)),
            Value::Absent | Value::Unusable => Ok(Self(seconds("dt", "")?)),
        }
    }
}

/// `limit` and `cursor`: a page of a list.
#[derive(Debug)]
pub(crate) struct PageQuery {
    /// Maximum number of sessions in the page.
    pub(crate) limit: Option<usize>,
    /// Unparsed: only the list knows which cursors are its own.
    cursor: Option<String>,
}

impl PageQuery {
    /// The position after which the page starts. Fails with [`Invalid::Value`] if the cursor belongs to another list.
    pub(crate) fn after(&self, scope: Scope) -> Result<Option<Cursor>, Invalid> {
        self.cursor.as_deref().map(|text| scope.read(text)).transpose()
    }

    /// Number of sessions to read: one more than the limit shows whether another page follows.
    pub(crate) fn most(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_add(1))
    }
}

impl<S: Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = Query(parts.uri.query().unwrap_or_default());
        Ok(Self {
            limit: query.optional("limit", limit)?,
            cursor: query.optional("cursor", |text| Ok(text.to_owned()))?,
        })
    }
}

/// `unset`: keys of `d` that a set removes. The only parameter that may occur more than once.
#[derive(Debug)]
pub(crate) struct UnsetQuery(pub(crate) Vec<String>);

impl<S: Sync> FromRequestParts<S> for UnsetQuery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let wrong = || Invalid::Value("unset must be a key of d".into());
        let query = Query(parts.uri.query().unwrap_or_default());
        let keys = query.all("unset").filter(|key| !key.is_empty());
        let keys = keys.map(|key| decode(key, true).map(Cow::into_owned).ok_or_else(wrong));
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }
}
