//! Detects requests that two parsers could read differently (RFC 9112): the basis of request smuggling.
//!
//! hyper refuses most of them: several lengths, a `chunked` that is not the last coding, folded lines, spaces before a colon.
//! It drops a length beside `chunked`, and closes the connection after the answer. Two rules remain for this module: exactly
//! one `Host` line (section 3.2), and no repeated `chunked` (section 6.1).

use axum::http::{HeaderMap, Request, Version, header};
use hyper::body::Body;

/// Whether every server reads the head of this request in the same way.
pub(super) fn is_unambiguous(request: &Request<impl Body>) -> bool {
    // A chunked body has no known length, so a request without a body needs no second check.
    has_one_host(request) && (request.body().is_end_stream() || is_chunked_once(request.headers()))
}

fn has_one_host(request: &Request<impl Body>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => host.as_bytes().iter().all(|byte| is_host_byte(*byte)),
        (Some(_), Some(_)) => false,
    }
}

/// The characters of a host and port in a URI (RFC 3986, section 3.2.2). The host may be empty.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

fn is_chunked_once(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    codings
        .filter(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
        .nth(1)
        .is_none()
}
