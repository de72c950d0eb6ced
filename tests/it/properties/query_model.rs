//! A model of the contract's query parameters: decoding, validation, defaults and errors.

use std::net::IpAddr;

/// Percent-decodes a path segment, or a part of a query, where `+` is a space; `None` if the result is not UTF-8.
pub(super) fn decode(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The stored form of an `ip` parameter; `None` if it is invalid.
fn ip(text: &str) -> Option<String> {
    let zoned = |text: &str| {
        let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
        let bad_zone = zone.is_empty() || zone.chars().count() > 64 || zone.contains(['[', ']', '%', '/']);
        !bad_zone && address.parse::<std::net::Ipv6Addr>().is_ok()
    };
    let mut ip = text;
    for (end, _) in text.char_indices().chain([(text.len(), ' ')]) {
        let (address, port) = text.split_at(end);
        let port_is_good = |port: &str| !port.is_empty() && is_digits(port) && port.parse::<u16>().is_ok();
        let with_port = port.strip_prefix(':').is_some_and(port_is_good);
        let inside = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match inside {
            Some(inside) if zoned(inside) && (port.is_empty() || with_port) => ip = inside,
            None if with_port && address.parse::<std::net::Ipv4Addr>().is_ok() => ip = address,
            _ => {}
        }
    }
    let fits = ip.chars().count() <= 39 || ip.parse::<IpAddr>().is_ok() || zoned(ip);
    (fits && !ip.chars().any(char::is_control)).then(|| ip.to_owned())
}

fn is_digits(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit())
}

pub(super) fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let seconds = text.trim_start_matches('0');
    (digits && seconds.len() <= 10)
        .then(|| seconds.parse().unwrap_or(0))
        .filter(|seconds| (10..=2_147_483_647).contains(seconds))
}

/// The undecoded values of a parameter.
fn values(query: &str, name: &str) -> Vec<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let ours = pairs.filter(|(key, _)| decode(key, true).is_some_and(|key| key == name));
    ours.map(|(_, value)| value.to_owned()).collect()
}

/// The decoded value of a parameter, `None` if it is absent; `Err` if it is repeated or undecodable.
pub(super) fn single(query: &str, name: &str) -> Result<Option<String>, ()> {
    match &values(query, name)[..] {
        [] => Ok(None),
        [value] => decode(value, true).map(Some).ok_or(()),
        _ => Err(()),
    }
}

/// The parameters of create: `ip`, `ttl`, `no_resave`.
pub(super) fn create(query: &str) -> Result<(String, u64, bool), String> {
    let ip = match single(query, "ip") {
        Ok(Some(text)) if !text.is_empty() => ip(&text).ok_or("invalidFormat: Invalid ip format")?,
        Ok(_) => return Err("missingParameter: No ip supplied".into()),
        Err(()) => return Err("invalidFormat: Invalid ip format".into()),
    };
    let ttl = match single(query, "ttl") {
        Ok(None) => Some(7200),
        Ok(Some(text)) if text.is_empty() => Some(7200),
        Ok(Some(text)) => seconds(&text),
        Err(()) => None,
    };
    let ttl = ttl.ok_or("invalidValue: ttl must be a positive integer >= 10")?;
    let no_resave = single(query, "no_resave").map_err(|()| "invalidValue: no_resave must be given once")?;
    Ok((ip, ttl, no_resave.is_some_and(|text| text == "true" || text == "1")))
}

/// The keys to unset of a set without a body.
pub(super) fn unset(query: &str) -> Result<Vec<String>, String> {
    let keys = values(query, "unset").into_iter().filter(|key| !key.is_empty());
    let keys: Option<Vec<_>> = keys.map(|key| decode(&key, true)).collect();
    let keys = keys.ok_or("invalidValue: unset must be a key of d")?;
    if keys.is_empty() {
        Err("invalidValue: d must contain at least one key.".into())
    } else {
        Ok(keys)
    }
}

/// The keys of `d` that auth returns as headers.
pub(super) fn auth_keys(query: &str) -> Result<Vec<String>, String> {
    let text = single(query, "d").map_or_else(|()| "?".into(), Option::unwrap_or_default);
    let keys: Vec<_> = text
        .split(',')
        .filter(|key| !key.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    let good = |key: &String| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if let Some(first) = keys.iter().enumerate().find_map(|(place, key)| {
        let twin = |other: &String| other != key && other.eq_ignore_ascii_case(key);
        let wrong = "invalidValue: d must be keys of A-Z a-z 0-9 _ - with commas between them";
        let twins = "invalidValue: d must not have keys that differ in case only";
        if !good(key) {
            Some(wrong)
        } else if keys[..place].iter().any(twin) {
            Some(twins)
        } else {
            None
        }
    }) {
        return Err(first.into());
    }
    match single(query, "touch") {
        Ok(None) => Ok(keys),
        Ok(Some(text)) if ["", "0", "1"].contains(&&*text) => Ok(keys),
        _ => Err("invalidValue: touch must be 0 or 1".into()),
    }
}
