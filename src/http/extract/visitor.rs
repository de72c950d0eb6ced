//! The tokens that a visitor's own request carries, for `auth`: in the header `X-Session-Token` or in cookies.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};

use crate::session::Token;

const TOKEN: HeaderName = HeaderName::from_static("x-session-token");

/// The name of the cookie that holds a visitor's token.
#[derive(Clone, Debug)]
pub(crate) struct CookieName(pub(crate) Arc<str>);

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
    CookieName: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let CookieName(name) = CookieName::from_ref(state);
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
