//! The errors of the HTTP side, and the only place that turns an error into an answer.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{session::Invalid, store};

/// The media type of every JSON answer, spelled as the original does.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Why a request failed. The `name` of each variant is part of the contract. Invariant: no message holds a token, a key of
/// the store or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// 400: a required parameter is absent or empty.
    MissingParameter(&'static str),
    /// 400: app, token, id or ip does not match its syntax.
    InvalidFormat(&'static str),
    /// 400: a value such as `ttl`, `dt` or a key of `d` is not allowed.
    InvalidValue(String),
    /// 400: the body is not JSON.
    InvalidJson,
    /// 400: the head is not valid HTTP, or two parsers could read it differently.
    InvalidRequest,
    /// 401, `auth` only: the request carries no token of a live session of this app.
    Unauthorized,
    /// 404: no route matches the path.
    NotFound,
    /// 405: the route does not support the method. The router adds `Allow`.
    MethodNotAllowed,
    /// 408: the body did not arrive in time.
    RequestTimeout,
    /// 413: the body, or `d` after a set, exceeds [`crate::session::MAX_DATA_BYTES`].
    TooLarge,
    /// 414: path and query exceed the limit of hyper.
    UriTooLong,
    /// 415: `Content-Type` or `Content-Encoding` does not declare plain JSON.
    UnsupportedMediaType,
    /// 431: the head has too many bytes or headers.
    HeadTooLarge,
    /// 500: a defect of this service.
    Internal,
    /// 503: the store is unreachable or missed its deadline. The change may or may not have been applied.
    StoreUnavailable,
    /// 503: the change was applied, but too few replicas acknowledged it (`RS_REDIS_WAIT`). A failover may lose it.
    NotReplicated,
    /// 503, `/readyz` only: the server is draining.
    ShuttingDown,
}

impl Error {
    /// The HTTP status, the stable name and the message.
    fn describe(&self) -> (StatusCode, &'static str, String) {
        use StatusCode as S;
        let (status, name, message) = match self {
            Self::MissingParameter(name) => {
                return (S::BAD_REQUEST, "missingParameter", format!("No {name} supplied"));
            }
            Self::InvalidFormat(name) => return (S::BAD_REQUEST, "invalidFormat", format!("Invalid {name} format")),
            Self::InvalidValue(message) => return (S::BAD_REQUEST, "invalidValue", message.clone()),
            Self::InvalidJson => (S::BAD_REQUEST, "invalidJson", "The body is not valid JSON"),
            Self::InvalidRequest => (S::BAD_REQUEST, "invalidRequest", "The request is not valid HTTP"),
            Self::UriTooLong => (S::URI_TOO_LONG, "uriTooLong", "The path and query are too long"),
            Self::HeadTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headTooLarge",
                "The head of the request is too large",
            ),
            Self::Unauthorized => (
                S::UNAUTHORIZED,
                "unauthorized",
                "The request brings no token of a live session",
            ),
            Self::NotFound => (S::NOT_FOUND, "notFound", "No such route"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "methodNotAllowed",
                "The route does not have this method",
            ),
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, "requestTimeout", "The body did not arrive in time"),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "tooLarge",
                "The body, and d as stored, may have at most 60000 bytes",
            ),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupportedMediaType",
                "The body must be application/json",
            ),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internalError", "Internal error"),
            Self::StoreUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "storeUnavailable",
                "The session store is not available",
            ),
            Self::NotReplicated => (
                S::SERVICE_UNAVAILABLE,
                "notReplicated",
                "The change was made, but too few replicas have it",
            ),
            Self::ShuttingDown => (S::SERVICE_UNAVAILABLE, "shuttingDown", "The service is about to end"),
        };
        (status, name, message.to_owned())
    }

    fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Answer {
            name: &'static str,
            message: String,
        }
        let (_, name, message) = self.describe();
        serde_json::to_vec(&Answer { name, message }).unwrap_or_default()
    }

    /// The complete answer as bytes of HTTP/1.1, with `date` as its `Date` and `Connection: close`.
    pub(crate) fn to_http1(&self, date: &[u8]) -> Vec<u8> {
        let (status, ..) = self.describe();
        let body = self.body();
        let (line, length) = (status.canonical_reason().unwrap_or_default(), body.len());
        let mut answer = format!("HTTP/1.1 {} {line}\r\n", status.as_str()).into_bytes();
        for part in [
            b"content-type: ",
            JSON.as_bytes(),
            b"\r\ncache-control: no-store\r\nconnection: close\r\n",
        ] {
            answer.extend(part);
        }
        answer.extend(format!("content-length: {length}\r\ndate: ").bytes());
        for part in [date, b"\r\n\r\n", &body] {
            answer.extend(part);
        }
        answer
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, ..) = self.describe();
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        match self {
            Self::StoreUnavailable | Self::NotReplicated | Self::ShuttingDown => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // RFC 9110 demands the header in a 401. Browsers ignore an unknown scheme and show the page of the backend. nginx
            // forwards the header to visitors, so it does not name the app.
            Self::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Session"));
            }
            // The rest of the body is still arriving, or the end of the request is ambiguous: the connection cannot be reused.
            Self::RequestTimeout | Self::InvalidRequest | Self::UriTooLong | Self::HeadTooLarge => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::Missing(name) => Self::MissingParameter(name),
            Invalid::Format(name) => Self::InvalidFormat(name),
            Invalid::Value(message) => Self::InvalidValue(message),
            Invalid::Json => Self::InvalidJson,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable => Self::StoreUnavailable,
            store::Error::NotReplicated => Self::NotReplicated,
            store::Error::TooLarge => Self::TooLarge,
            store::Error::Internal => Self::Internal,
        }
    }
}
