//! Parsers of option values.

use std::time::Duration;

use super::types::{DurationArg, FileMode};

pub(super) fn namespace(text: &str) -> Result<String, &'static str> {
    // Braces would form a hash tag of Redis Cluster.
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'{' && b != b'}');
    if valid {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 visible ASCII characters without braces")
    }
}

pub(super) fn wipe(text: &str) -> Result<u64, &'static str> {
    match text.parse() {
        Ok(seconds) if seconds == 0 || (10..=31_536_000).contains(&seconds) => Ok(seconds),
        _ => Err("must be 0, or 10 to 31536000"),
    }
}

pub(super) fn touch(text: &str) -> Result<DurationArg, &'static str> {
    const MESSAGE: &str = "must be a number of seconds from 0 to 60";
    seconds(text)
        .ok()
        .filter(|span| span.0 <= Duration::from_mins(1))
        .ok_or(MESSAGE)
}

pub(super) fn some_seconds(text: &str) -> Result<DurationArg, &'static str> {
    const MESSAGE: &str = "must be a number of seconds from 0.01 to 86400";
    seconds(text)
        .ok()
        .filter(|span| span.0 >= Duration::from_millis(10))
        .ok_or(MESSAGE)
}

pub(super) fn seconds(text: &str) -> Result<DurationArg, &'static str> {
    const MESSAGE: &str = "must be a number of seconds from 0 to 86400";
    let seconds: f64 = text.parse().map_err(|_| MESSAGE)?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(DurationArg(Duration::from_secs_f64(seconds)))
    } else {
        Err(MESSAGE)
    }
}

pub(super) fn mode(text: &str) -> Result<FileMode, &'static str> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    match u32::from_str_radix(text, 8) {
        Ok(mode) if octal && mode <= 0o777 => Ok(FileMode(mode)),
        _ => Err("must be octal, 000 to 777"),
    }
}

pub(super) fn cookie(text: &str) -> Result<String, &'static str> {
    // RFC 6265 takes the characters of a token from RFC 2616.
    let token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
    if (1..=256).contains(&text.len()) && text.bytes().all(token) {
        Ok(text.to_owned())
    } else {
        Err("must be the name of a cookie: letters, digits and !#$%&'*+-.^_`|~")
    }
}
