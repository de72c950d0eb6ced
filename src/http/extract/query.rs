//! Reads a query string.

use std::borrow::Cow;

use crate::session::Invalid;

/// A query string. Unknown parameters are ignored.
pub(crate) struct Query<'a>(pub(crate) &'a str);

/// What a query has for a parameter that may be given once.
pub(crate) enum Value<'a> {
    Absent,
    One(Cow<'a, str>),
    /// Given twice, or not decodable: no value can be right.
    Unusable,
}

impl<'a> Query<'a> {
    /// The values of one parameter, as they were sent.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true)? == name).then_some(value)
        })
    }

    /// The value of one parameter, decoded.
    pub(crate) fn one(&self, name: &str) -> Value<'a> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Value::Absent,
            (Some(value), None) => decode(value, true).map_or(Value::Unusable, Value::One),
            (Some(_), Some(_)) => Value::Unusable,
        }
    }

    /// The value of one parameter, parsed, if it is there.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        match self.one(name) {
            Value::Absent => Ok(None),
            Value::One(text) => parse(&text).map(Some),
            // Says what is wrong as of any other value that cannot be one.
            Value::Unusable => parse("").map(Some),
        }
    }
}

/// Decodes percent-escapes; in a query, `+` is a space. `None` for a broken escape, or if the result is no UTF-8.
pub(super) fn decode(text: &str, plus: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|b| b == b'%' || (plus && b == b'+')) {
        return Some(text.into());
    }
    let mut escapes = text.split('%').skip(1);
    if !escapes.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit())) {
        return None;
    }
    let spaced = if plus { text.replace('+', " ") } else { text.to_owned() };
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned().into())
}
