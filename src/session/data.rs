//! `d`, the data of a session: a flat JSON object that is never rounded and keeps the order of its keys.
//!
//! Values stay the text that the client sent ([`RawValue`]): what is not converted cannot be changed on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{
    Deserialize, Serialize,
    de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor},
    ser::{SerializeMap, Serializer},
};
use serde_json::value::RawValue;

use super::Invalid;

/// Largest request body, and largest stored `d`, in bytes of JSON.
pub const MAX_DATA_BYTES: usize = 60_000;

/// What JSON takes for space.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The data of one session: the text of a JSON object with at least one key, and no value that is null, an array or an
/// object.
#[derive(Clone)]
pub struct Data(Arc<str>);

impl Data {
    /// Reads what a store holds. `None` if it is not a flat JSON object; an empty one is `Some(None)`.
    #[must_use]
    pub fn stored(text: &str) -> Option<Option<Self>> {
        let Flat { empty } = serde_json::from_str(text).ok()?;
        Some((!empty).then(|| Self(text.trim_matches(SPACE).into())))
    }

    /// The values as plain text, by key: strings without quotes and escapes, numbers and booleans as JSON has them.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<String, String> {
        // What is stored was checked on its way in, or when it was read from there: this parse does not fail.
        let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(self.as_str()).unwrap_or_default();
        let text = |value: Box<RawValue>| serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned());
        values.into_iter().map(|(key, value)| (key, text(value))).collect()
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        <&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(self.as_str()))
            .expect("it is JSON")
            .serialize(serializer)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data(…)")
    }
}

/// Why changes cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The result would exceed [`MAX_DATA_BYTES`].
    TooLarge,
    /// The stored data is not JSON: a defect, since it was checked when it was read.
    Unreadable,
}

/// What a client sends: keys to store, and keys to remove (null).
#[derive(Debug, Default)]
pub struct Changes(Fields);

impl Changes {
    /// Parses the body of a create, where nothing, `{}`, `[]` (PHP's empty map) and `null` (Java's) mean no data.
    ///
    /// Fails with `invalidJson` or `invalidValue`.
    pub fn for_create(body: &[u8]) -> Result<Self, Invalid> {
        if without_mark(body).is_empty() {
            return Ok(Self::default());
        }
        let json = json(body)?;
        let array = json.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if json == "null" || array.is_some_and(|inside| inside.trim().is_empty()) {
            return Ok(Self::default());
        }
        Self::parse(json)
    }

    /// Parses the body of a set and the keys that its query removes. One of the two must name a key; if the query does,
    /// the body may be whatever a create takes for no data.
    ///
    /// Fails with `invalidJson` or `invalidValue`.
    pub fn for_set(body: &[u8], unset: Vec<String>) -> Result<Self, Invalid> {
        let mut changes = match body {
            body if without_mark(body).is_empty() => Self::default(),
            body if unset.is_empty() => Self::parse(json(body)?)?,
            body => Self::for_create(body)?,
        };
        changes.unset(unset)?;
        if changes.0.0.is_empty() {
            return Err(Invalid::Value("d must contain at least one key.".into()));
        }
        Ok(changes)
    }

    /// How much there is of it, in bytes.
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
        if !fields.0.iter().all(|(_, value)| readable(value)) {
            return Err(Invalid::Json);
        }
        for (key, value) in &fields.0 {
            if nested(value) {
                return Err(Invalid::Value(format!(
                    "d.{key} has a forbidden type. Only strings, numbers, boolean and null are allowed."
                )));
            }
            if infinite(value) {
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

    /// `old` with these changes: keys that are not named stay where they are, new ones follow.
    ///
    /// Fails with `tooLarge` if the result exceeds [`MAX_DATA_BYTES`].
    pub fn apply(self, old: Option<&Data>) -> Result<Option<Data>, ApplyError> {
        let mut fields = match old {
            // What is stored was checked on its way in, so this parse does not fail.
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

/// The body without the byte order mark that some Windows programs begin UTF-8 with (RFC 8259, 8.1 lets a parser skip
/// it).
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// The JSON that a body is, whatever it is of: so an array is no object, and only a broken text is no JSON. What looks
/// like an object may be broken further on.
fn json(body: &[u8]) -> Result<&str, Invalid> {
    let text = std::str::from_utf8(without_mark(body)).map_err(|_| Invalid::Json)?;
    let object = text.trim_start_matches(SPACE);
    if object.starts_with('{') {
        return Ok(object);
    }
    let any: &RawValue = serde_json::from_str(text).map_err(|_| Invalid::Json)?;
    Ok(any.get())
}

/// A look at an object that keeps nothing of it: each session that is read is looked at.
struct Flat {
    empty: bool,
}

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Flat;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flat object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flat, A::Error> {
                let mut empty = true;
                while let Some((IgnoredAny, value)) = map.next_entry::<_, &RawValue>()? {
                    if nested(value) {
                        return Err(A::Error::custom("nested"));
                    }
                    empty = false;
                }
                Ok(Flat { empty })
            }
        }
        deserializer.deserialize_map(Look)
    }
}

/// Whether a value is an array or an object.
fn nested(value: &RawValue) -> bool {
    value.get().starts_with(['[', '{'])
}

/// Whether a value is a number too large for a double, as `1e999`. Half of all parsers make infinity of it, which JSON
/// cannot express, and the others refuse the whole text. Stored values are not looked at: a Redis peer may have written
/// them.
fn infinite(value: &RawValue) -> bool {
    // Without an exponent, a number needs 309 digits.
    const SAFE: usize = 300;
    let text = value.get();
    let number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    number && (text.len() > SAFE || text.contains(['e', 'E'])) && text.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// Whether an escape in a string is half of a character: JSON's grammar allows it, but readers such as PHP's refuse the
/// whole text that it is in, and that may be a list with the sessions of others.
fn readable(value: &RawValue) -> bool {
    let text = value.get();
    !text.starts_with('"') || !text.contains("\\u") || serde_json::from_str::<String>(text).is_ok()
}

/// The fields of an object in order, each key once.
#[derive(Default)]
struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    /// Later values win; null removes.
    fn merge(&mut self, changes: Self) {
        self.0.extend(changes.0);
        self.once();
        self.0.retain(|(_, value)| value.get() != "null");
    }

    /// Each key once: the last value at the first place, as in JSON.parse.
    fn once(&mut self) {
        // Up to here, looking at all of them is quicker than keeping their places.
        const FEW: usize = 16;
        let mut places = (self.0.len() > FEW).then(BTreeMap::new);
        let mut kept: Vec<(String, Box<RawValue>)> = Vec::with_capacity(self.0.len());
        for (key, value) in std::mem::take(&mut self.0) {
            let place = match &places {
                Some(places) => places.get(&key).copied(),
                None => kept.iter().position(|(other, _)| *other == key),
            };
            if let Some(place) = place {
                kept[place].1 = value;
                continue;
            }
            if let Some(places) = &mut places {
                places.insert(key.clone(), kept.len());
            }
            kept.push((key, value));
        }
        self.0 = kept;
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({})", self.0.len())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;
        impl<'de> Visitor<'de> for Ordered {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(field) = map.next_entry()? {
                    fields.0.push(field);
                }
                fields.once();
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Ordered)
    }
}
