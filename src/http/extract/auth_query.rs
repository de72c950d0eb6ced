//! The query of `auth`: `touch`, `except` and `d`.

use std::collections::BTreeMap;

use axum::{extract::FromRequestParts, http::request::Parts};

use super::query::{Query, Value};
use crate::{
    http::error::Error,
    session::{Invalid, UserId},
};

/// The prefix of the header that holds a value of `d`.
const DATA_HEADER_PREFIX: &str = "x-session-data-";

/// The query of `auth`.
#[derive(Debug)]
pub(crate) struct AuthQuery {
    /// Whether the check counts as a get and renews the session (`touch`).
    pub(crate) renew: bool,
    /// An id to refuse, together with every id that starts with it and a colon. The adapters give anonymous visitors such
    /// ids: `anonymous:1f…`.
    except: Option<UserId>,
    /// Keys of `d` to report, by the name of their header.
    pub(crate) keys: BTreeMap<String, String>,
}

impl<S: Sync> FromRequestParts<S> for AuthQuery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = Query(parts.uri.query().unwrap_or_default());
        let keys = match query.one("d") {
            Value::One(text) => keys(&text)?,
            Value::Absent => BTreeMap::new(),
            Value::Unusable => keys("?")?,
        };
        let renew = match query.one("touch") {
            Value::Absent => true,
            Value::One(text) if text.is_empty() || text == "1" => true,
            Value::One(text) if text == "0" => false,
            _ => return Err(Invalid::Value("touch must be 0 or 1".into()).into()),
        };
        let except = match query.one("except") {
            Value::Absent => None,
            Value::One(id) if id.is_empty() => None,
            Value::One(id) => Some(UserId::parse(&id)?),
            Value::Unusable => return Err(Invalid::Format("id").into()),
        };
        Ok(Self { renew, except, keys })
    }
}

impl AuthQuery {
    pub(crate) fn keeps_out(&self, id: &UserId) -> bool {
        let after = |name: &UserId| id.as_str().strip_prefix(name.as_str());
        let after = self.except.as_ref().and_then(after);
        after.is_some_and(|after| after.is_empty() || after.starts_with(':'))
    }
}

/// Parses keys separated by commas. Header names ignore case, so two keys must differ in more than case.
fn keys(text: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let wrong = |message: &str| Err(Invalid::Value(message.into()));
    let mut keys = BTreeMap::new();
    for key in text.split(',').filter(|key| !key.is_empty()) {
        if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return wrong("d must be keys of A-Z a-z 0-9 _ - with commas between them");
        }
        let old = keys.insert(
            DATA_HEADER_PREFIX.to_owned() + &key.to_ascii_lowercase(),
            key.to_owned(),
        );
        if old.is_some_and(|old| old != key) {
            return wrong("d must not have keys that differ in case only");
        }
    }
    Ok(keys)
}
