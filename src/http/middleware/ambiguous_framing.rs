//! Refuses requests that two parsers could read in two ways (RFC 9112).
//!
//! hyper refuses most of them itself: several lengths, `chunked` that is not the last coding, folded lines, spaces before
//! a colon. A length beside `chunked` it drops, and closes the connection after the answer. Left are the `Host`, which
//! exactly one line must name (3.2), and `chunked` that is named twice (6.1).

use axum::http::{HeaderMap, Request, Version, header};
use hyper::body::Body;

/// Whether the head of a request is one that every server on its way understands alike.
pub(crate) fn unambiguous(request: &Request<impl Body>) -> bool {
    // A body in chunks has no known length, so requests without a body are not looked at.
    host(request) && (request.body().is_end_stream() || chunked_once(request.headers()))
}

fn host(request: &Request<impl Body>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => host.as_bytes().iter().all(|byte| in_host(*byte)),
        (Some(_), Some(_)) => false,
    }
}

/// The characters of a host and a port in a URI (RFC 3986, 3.2.2). The host may be empty.
fn in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

fn chunked_once(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    codings
        .filter(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
        .nth(1)
        .is_none()
}
