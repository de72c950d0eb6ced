//! Reads a query string.

use std::borrow::Cow;

use crate::session::Invalid;

/// A query string. Unknown parameters are ignored.
pub(crate) struct Query<'a>(pub(crate) &'a str);

/// The value of a parameter that may occur once.
pub(crate) enum Value<'a> {
    Absent,
    One(Cow<'a, str>),
    /// The parameter occurs twice, or cannot be decoded.
    Unusable,
}

impl<'a> Query<'a> {
    /// The values of a parameter, not decoded.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true)? == name).then_some(value)
        })
    }

    /// The decoded value of a parameter.
    pub(crate) fn one(&self, name: &str) -> Value<'a> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Value::Absent,
            (Some(value), None) => decode(value, true).map_or(Value::Unusable, Value::One),
            (Some(_), Some(_)) => Value::Unusable,
        }
    }

    /// The parsed value of an optional parameter.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        match self.one(name) {
            Value::Absent => Ok(None),
            Value::One(text) => parse(&text).map(Some),
            // Gives the same error as an invalid value.
            Value::Unusable => parse("").map(Some),
        }
    }
}

/// Decodes percent-escapes, and in a query `+` as a space. `None` for a broken escape or a result that is not UTF-8.
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
