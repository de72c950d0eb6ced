//! The fields of a JSON object as raw text, and the checks of a single value.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Serialize,
    de::{Deserializer, MapAccess, Visitor},
    ser::{SerializeMap, Serializer},
};
use serde_json::value::RawValue;

/// The white space of JSON.
pub(super) const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The fields of an object in their order, each key once.
#[derive(Default)]
pub(super) struct Fields(pub(super) Vec<(String, Box<RawValue>)>);

impl Fields {
    /// Adds changes: later values win, null removes a key.
    pub(super) fn merge(&mut self, changes: Self) {
        self.0.extend(changes.0);
        self.remove_duplicates();
        self.0.retain(|(_, value)| value.get() != "null");
    }

    /// Keeps each key once, with its last value at its first place, as `JSON.parse` does.
    fn remove_duplicates(&mut self) {
        // Up to this number of keys, a linear search is faster than a map.
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
                fields.remove_duplicates();
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Ordered)
    }
}

/// Whether a value is an array or an object.
pub(super) fn is_nested(value: &RawValue) -> bool {
    value.get().starts_with(['[', '{'])
}

/// Whether a value is a number too large for a double, such as `1e999`. Some parsers turn it into infinity, which JSON cannot
/// express; the others refuse the whole text. Only new values are checked: a Redis peer may have stored such a number.
pub(super) fn is_infinite(value: &RawValue) -> bool {
    // Without an exponent, a number needs 309 digits.
    const SAFE: usize = 300;
    let text = value.get();
    let number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    number && (text.len() > SAFE || text.contains(['e', 'E'])) && text.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// Whether every escape in a string is a whole character. JSON's grammar allows half of a surrogate pair, but parsers such
/// as PHP's then refuse the whole text, which may be a list with many other sessions.
pub(super) fn is_readable(value: &RawValue) -> bool {
    let text = value.get();
    !text.starts_with('"') || !text.contains("\\u") || serde_json::from_str::<String>(text).is_ok()
}
