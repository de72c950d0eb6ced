//! The changes to `d` that a create or a set asks for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::{
    Data, Invalid,
    fields::{Fields, SPACE, is_infinite, is_nested, is_readable},
};

/// Largest request body, and largest stored `d`, in bytes of JSON.
pub const MAX_DATA_BYTES: usize = 60_000;

/// Why changes cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The result would exceed [`MAX_DATA_BYTES`].
    TooLarge,
    /// The stored data is not JSON. That is a defect: it was checked when it was read.
    Unreadable,
}

/// What a client sends: keys to store, and keys to remove (null).
#[derive(Debug, Default)]
pub struct Changes(Fields);

impl Changes {
    /// Parses the body of a create. An empty body, `{}`, `[]` (PHP's empty map) and `null` (Java's) mean no data.
    ///
    /// Fails with [`Invalid::Json`] or [`Invalid::Value`].
    pub fn for_create(body: &[u8]) -> Result<Self, Invalid> {
        if without_byte_order_mark(body).is_empty() {
            return Ok(Self::default());
        }
        let json = json(body)?;
        let array = json.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if json == "null" || array.is_some_and(|inside| inside.trim().is_empty()) {
            return Ok(Self::default());
        }
        Self::parse(json)
    }

    /// Parses the body of a set, and the keys that its query removes. Body or query must name a key. If the query does, the
    /// body may be any that a create accepts.
    ///
    /// Fails with [`Invalid::Json`] or [`Invalid::Value`].
    pub fn for_set(body: &[u8], unset: Vec<String>) -> Result<Self, Invalid> {
        let mut changes = match body {
            body if without_byte_order_mark(body).is_empty() => Self::default(),
            body if unset.is_empty() => Self::parse(json(body)?)?,
            body => Self::for_create(body)?,
        };
        changes.unset(unset)?;
        if changes.0.0.is_empty() {
            return Err(Invalid::Value("d must contain at least one key.".into()));
        }
        Ok(changes)
    }

    /// Size of keys and values, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let fields = self.0.0.iter();
        fields.map(|(key, value)| key.len() + value.get().len()).sum()
    }

    /// Adds the removal of some keys.
    fn unset(&mut self, keys: Vec<String>) -> Result<(), Invalid> {
        let places: BTreeMap<_, _> = (0..).zip(&self.0.0).map(|(place, (key, _))| (key, place)).collect();
        let mut new = BTreeSet::new();
        for key in keys {
            match places.get(&key).map(|place: &usize| &self.0.0[*place].1) {
                None => drop(new.insert(key)),
                Some(value) if value.get() == "null" => {}
                Some(_) => return Err(Invalid::Value(format!("d.{key} is both set and unset"))),
            }
        }
        let removals = new.into_iter().map(|key| (key, RawValue::NULL.to_owned()));
        self.0.0.extend(removals);
        Ok(())
    }

    fn parse(json: &str) -> Result<Self, Invalid> {
        if !json.starts_with('{') {
            return Err(Invalid::Value("d must be an object".into()));
        }
        let fields: Fields = serde_json::from_str(json).map_err(|_| Invalid::Json)?;
        if !fields.0.iter().all(|(_, value)| is_readable(value)) {
            return Err(Invalid::Json);
        }
        for (key, value) in &fields.0 {
            if is_nested(value) {
                return Err(Invalid::Value(format!(
                    "d.{key} has a forbidden type. Only strings, numbers, boolean and null are allowed."
                )));
            }
            if is_infinite(value) {
                return Err(Invalid::Value(format!("d.{key} is beyond the numbers of a double.")));
            }
        }
        Ok(Self(fields))
    }

    /// The changes in the order they came, each value as JSON text, `None` to remove the key.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&str>)> {
        self.0.0.iter().map(|(key, value)| {
            let value = value.get();
            (key.as_str(), (value != "null").then_some(value))
        })
    }

    /// Applies the changes to `old`. Keys that are not named keep their place, new keys follow. `None` if no key is left.
    ///
    /// Fails with [`ApplyError::TooLarge`] if the result exceeds [`MAX_DATA_BYTES`].
    pub fn apply(self, old: Option<&Data>) -> Result<Option<Data>, ApplyError> {
        let mut fields = match old {
            Some(old) => serde_json::from_str(old.as_str()).map_err(|_| ApplyError::Unreadable)?,
            None => Fields::default(),
        };
        fields.merge(self.0);
        if fields.0.is_empty() {
            return Ok(None);
        }
        let text = serde_json::to_string(&fields).map_err(|_| ApplyError::Unreadable)?;
        if text.len() > MAX_DATA_BYTES {
            return Err(ApplyError::TooLarge);
        }
        Ok(Some(Data(text.into())))
    }
}

/// Drops the byte order mark that some Windows programs write before UTF-8. RFC 8259, section 8.1 permits that.
fn without_byte_order_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// The JSON text of a body without surrounding space. Checks the syntax of any value but an object, whose parser follows:
/// so an array is refused as "not an object", and only broken text as "not JSON".
fn json(body: &[u8]) -> Result<&str, Invalid> {
    let text = std::str::from_utf8(without_byte_order_mark(body)).map_err(|_| Invalid::Json)?;
    let object = text.trim_start_matches(SPACE);
    if object.starts_with('{') {
        return Ok(object);
    }
    let any: &RawValue = serde_json::from_str(text).map_err(|_| Invalid::Json)?;
    Ok(any.get())
}
