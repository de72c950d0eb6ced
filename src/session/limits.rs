//! Seconds, and the bounds of the numbers in a request.

use super::Invalid;

/// Seconds since the Unix epoch, or a number of seconds.
pub type Seconds = u64;

/// The `ttl` of a session that was created without one, in seconds.
pub const DEFAULT_TTL: Seconds = 7200;

/// Shortest `ttl` and `dt`, in seconds.
const MIN_SECONDS: Seconds = 10;
/// Longest `ttl` and `dt`, in seconds: the largest signed 32-bit number, so that every client can hold it.
const MAX_SECONDS: Seconds = 2_147_483_647;

/// Parses `ttl` or `dt`: 10 to 2147483647 seconds, decimal digits only.
///
/// Fails with [`Invalid::Value`], which names the parameter.
pub fn seconds(name: &str, text: &str) -> Result<Seconds, Invalid> {
    Some(text)
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|seconds| (MIN_SECONDS..=MAX_SECONDS).contains(seconds))
        .ok_or_else(|| Invalid::Value(format!("{name} must be a positive integer >= 10")))
}

/// Parses `limit`, the maximum number of sessions in a page: 1 to 2147483647, decimal digits only.
///
/// Fails with [`Invalid::Value`].
pub fn limit(text: &str) -> Result<usize, Invalid> {
    Some(text)
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|limit| (1..=2_147_483_647).contains(limit))
        .ok_or_else(|| Invalid::Value("limit must be a positive integer".into()))
}
