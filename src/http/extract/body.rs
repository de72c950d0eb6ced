//! Extracts a JSON body, within bounds of media type, size and time.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRef, FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;

use crate::{http::error::Error, session::MAX_DATA_BYTES};

/// Time limit for a body to arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTimeout(pub(crate) Duration);

/// The body of a request: of JSON media type and at most [`MAX_DATA_BYTES`] long. Its text is not parsed yet.
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
            // The client disconnected, or its chunks are malformed.
            Ok(Err(_)) => Err(Error::InvalidJson),
            Err(_) => Err(Error::RequestTimeout),
        }
    }
}

/// Whether the headers declare JSON in UTF-8 without a content coding. A missing media type counts as JSON.
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
