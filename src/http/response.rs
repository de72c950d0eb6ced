//! The bodies of successful answers.

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::error::{Error, JSON};
use crate::session::Session;

/// A session, or `{}` if there is none.
pub(super) fn session(session: Option<Session>) -> Response {
    let mut text = Vec::new();
    match session {
        Some(session) => session.write(&mut text),
        None => text.extend(b"{}"),
    }
    json_body(text.into())
}

/// How many sessions a kill removed.
pub(super) fn killed(kill: u64) -> Response {
    #[derive(Serialize)]
    struct Killed {
        kill: u64,
    }
    json(&Killed { kill })
}

pub(super) fn json(answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => json_body(body.into()),
        Err(_) => Error::Internal.into_response(),
    }
}

/// An answer whose body is JSON text already.
pub(super) fn json_body(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
