//! Extracts the tokens of a visitor for `auth`, from the header `X-Session-Token` or from cookies.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};

use crate::session::Token;

const TOKEN: HeaderName = HeaderName::from_static("x-session-token");

/// Name of the cookie that holds a visitor's token.
#[derive(Clone, Debug)]
pub(crate) struct CookieName(pub(crate) Arc<str>);

/// The candidate tokens of a request, in the order in which the handler tries them: that of the header `X-Session-Token`
/// alone, or those of the cookies. The first one that names a live session wins.
///
/// Why several: a browser sends every cookie of that name, including stale ones of other paths, domains or programs, and
/// does not tell them apart.
#[derive(Debug)]
pub(crate) struct Visitor([Option<Token>; Self::MAX_TOKENS]);

impl Visitor {
    /// Maximum number of tokens: each may cost a read of the store.
    const MAX_TOKENS: usize = 4;

    /// The tokens in order, without duplicates.
    pub(crate) fn tokens(self) -> impl Iterator<Item = Token> {
        self.0.into_iter().flatten()
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor
where
    CookieName: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let CookieName(name) = CookieName::from_ref(state);
        let mut tokens = [None; Self::MAX_TOKENS];
        if let Some(value) = parts.headers.get(TOKEN).filter(|value| !value.is_empty()) {
            tokens[0] = token(value.as_bytes());
            return Ok(Self(tokens));
        }
        let mut found = 0;
        for token in cookies(&parts.headers, &name) {
            if found == Self::MAX_TOKENS {
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

/// The tokens in the cookies of this name, in the order of the request. Every adapter finds the same ones:
/// `tests/cookies.json` holds the shared cases.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = Token> + 'a {
    // As bytes: another cookie may hold bytes that are not text.
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
