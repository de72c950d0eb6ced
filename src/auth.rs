//! `auth`: who a request comes from, told in headers, for nginx's `auth_request`.
//!
//! nginx asks here before it passes a request on, with the visitor's own headers, and hands what it learns to a backend,
//! which then needs no code for sessions. Every value is percent-encoded, so that none can end its header or begin another.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    error::Error,
    extract::{Query, Value},
    session::{Seconds, Session, Token, UserId},
};

const TOKEN: HeaderName = HeaderName::from_static("x-session-token");
const ID: HeaderName = HeaderName::from_static("x-session-id");
const TTL: HeaderName = HeaderName::from_static("x-session-ttl");
/// What the header of a key of `d` begins with.
const DATA: &str = "x-session-data-";

/// All but the unreserved characters of a URI, as PHP's `rawurlencode` has it: what stays means itself in every header.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The name of the cookie that holds a visitor's token.
#[derive(Clone, Debug)]
pub(crate) struct Cookie(pub(crate) Arc<str>);

/// The tokens that a request may mean, in the order in which they are tried: that of the header `X-Session-Token` alone, or
/// those of its cookies. The first one that names a live session counts. Empty if none is a token.
///
/// Why several: a browser sends every cookie of the name, also one that another path, another domain or another program
/// has left behind, and does not say which is which.
#[derive(Debug)]
pub(crate) struct Visitor([Option<Token>; Self::MOST]);

impl Visitor {
    /// Most tokens of a request: each may cost a look into the store.
    const MOST: usize = 4;

    /// The tokens, each once, in order.
    pub(crate) fn tokens(self) -> impl Iterator<Item = Token> {
        self.0.into_iter().flatten()
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor
where
    Cookie: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Cookie(name) = Cookie::from_ref(state);
        let mut tokens = [None; Self::MOST];
        if let Some(value) = parts.headers.get(TOKEN).filter(|value| !value.is_empty()) {
            tokens[0] = token(value.as_bytes());
            return Ok(Self(tokens));
        }
        let mut found = 0;
        for token in cookies(&parts.headers, &name) {
            if found == Self::MOST {
                break;
            }
            if !tokens[..found].contains(&Some(token)) {
                tokens[found] = Some(token);
                found += 1;
            }
        }
        Ok(Self(tokens))
    }
}

fn token(value: &[u8]) -> Option<Token> {
    Token::parse(std::str::from_utf8(value).ok()?).ok()
}

/// The tokens in the cookies of this name, in the order in which they were sent, as every adapter finds them:
/// `tests/cookies.json` has the cases.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = Token> + 'a {
    // Bytes that are no text in another cookie are no reason to lose ours.
    let lines = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    // CGI and proxies join several header lines with a comma.
    let pairs = lines.flat_map(|line| line.split(|byte| matches!(byte, b';' | b',')));
    let values = pairs.filter_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        value.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii)
    });
    values.filter_map(|value| {
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        token(quoted.unwrap_or(value))
    })
}

/// What the query asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Whether the look counts as a get, and renews the session.
    pub(crate) renew: bool,
    /// An id that does not pass, nor does one that begins with it and a colon: those of visitors who have a session but no
    /// name. The adapters give each of them an id of its own, as `anonymous:1f…`.
    except: Option<UserId>,
    /// Keys of `d`, by the header that each goes into.
    keys: BTreeMap<String, String>,
}

impl<S: Sync> FromRequestParts<S> for Wanted {
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
            _ => return Err(Error::InvalidValue("touch must be 0 or 1".into())),
        };
        let except = match query.one("except") {
            Value::Absent => None,
            Value::One(id) if id.is_empty() => None,
            Value::One(id) => Some(UserId::parse(&id)?),
            Value::Unusable => return Err(Error::InvalidFormat("id")),
        };
        Ok(Self { renew, except, keys })
    }
}

impl Wanted {
    fn keeps_out(&self, id: &UserId) -> bool {
        let after = |name: &UserId| id.as_str().strip_prefix(name.as_str());
        let after = self.except.as_ref().and_then(after);
        after.is_some_and(|after| after.is_empty() || after.starts_with(':'))
    }
}

/// Keys between commas, each with its header. A key is a part of a header's name, where case makes no difference.
fn keys(text: &str) -> Result<BTreeMap<String, String>, Error> {
    let wrong = |message: &str| Err(Error::InvalidValue(message.into()));
    let mut keys = BTreeMap::new();
    for key in text.split(',').filter(|key| !key.is_empty()) {
        if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return wrong("d must be keys of A-Z a-z 0-9 _ - with commas between them");
        }
        let old = keys.insert(DATA.to_owned() + &key.to_ascii_lowercase(), key.to_owned());
        if old.is_some_and(|old| old != key) {
            return wrong("d must not have keys that differ in case only");
        }
    }
    Ok(keys)
}

/// The answer for a session that ends `left` seconds from now, unless somebody uses it.
pub(crate) fn passed(session: &Session, left: Seconds, wanted: &Wanted) -> Result<Response, Error> {
    if wanted.keeps_out(&session.id) {
        return Err(Error::Unauthorized);
    }
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ID, encoded(session.id.as_str())?);
    headers.insert(TTL, left.into());
    if let Some(data) = &session.d
        && !wanted.keys.is_empty()
    {
        let values = data.texts();
        for (name, key) in &wanted.keys {
            if let Some(value) = values.get(key) {
                let name = HeaderName::try_from(name).map_err(|_| Error::Internal)?;
                headers.insert(name, encoded(value)?);
            }
        }
    }
    Ok(response)
}

fn encoded(text: &str) -> Result<HeaderValue, Error> {
    let text = utf8_percent_encode(text, ENCODED).to_string();
    HeaderValue::try_from(text).map_err(|_| Error::Internal)
}
