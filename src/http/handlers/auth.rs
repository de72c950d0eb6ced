//! `auth`: reports the session of a visitor in headers, for nginx's `auth_request`.
//!
//! nginx asks here before it passes a request on, with the visitor's own headers, and hands the answer to a backend, which
//! then needs no code for sessions. Every value is percent-encoded, so that none can end its header or begin another.

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    http::{
        AppState,
        error::Error,
        extract::{AuthQuery, Visitor},
    },
    session::{App, Seconds, Session},
};

const ID: HeaderName = HeaderName::from_static("x-session-id");
const TTL: HeaderName = HeaderName::from_static("x-session-ttl");

/// All but the unreserved characters of a URI, as PHP's `rawurlencode` has it: none of those needs an escape in a header.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(in crate::http) async fn auth(
    State(state): State<AppState>,
    app: App,
    query: AuthQuery,
    visitor: Visitor,
) -> Result<Response, Error> {
    for token in visitor.tokens() {
        if let Some((session, left)) = state.service().auth(app, token, query.renew).await? {
            return passed(&session, left, &query);
        }
    }
    Err(Error::Unauthorized)
}

/// The answer for a session that ends `left` seconds from now, unless it is used.
fn passed(session: &Session, left: Seconds, query: &AuthQuery) -> Result<Response, Error> {
    if query.keeps_out(&session.id) {
        return Err(Error::Unauthorized);
    }
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ID, encoded(session.id.as_str())?);
    headers.insert(TTL, left.into());
    if let Some(data) = &session.d
        && !query.keys.is_empty()
    {
        let values = data.texts();
        for (name, key) in &query.keys {
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
