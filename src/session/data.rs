//! `d`, the data of a session: a flat JSON object whose values keep their text and whose keys keep their order.
//!
//! Values stay the JSON text that the client sent ([`RawValue`]): without a conversion, no number is ever rounded.

use std::{collections::BTreeMap, fmt, sync::Arc};

#[cfg(test)]
use serde::ser::{Serialize, Serializer};
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::fields::{SPACE, is_nested};

/// The data of one session: the text of a JSON object with at least one key. No value is null, an array or an object.
#[derive(Clone)]
pub struct Data(pub(super) Arc<str>);

impl Data {
    /// Reads stored data. Returns `None` if it is not a flat JSON object, `Some(None)` for an empty one.
    #[must_use]
    pub fn stored(text: &str) -> Option<Option<Self>> {
        let Flat { empty } = serde_json::from_str(text).ok()?;
        Some((!empty).then(|| Self(text.trim_matches(SPACE).into())))
    }

    /// The values as plain text, by key: strings without quotes and escapes, numbers and booleans as in JSON.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<String, String> {
        // Invariant: the text was checked when it was stored or read, so this parse does not fail.
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

/// The outcome of checking an object without keeping its fields: every session that is read is checked.
struct Flat {
    empty: bool,
}

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CheckFlat;
        impl<'de> Visitor<'de> for CheckFlat {
            type Value = Flat;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flat object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flat, A::Error> {
                let mut empty = true;
                while let Some((IgnoredAny, value)) = map.next_entry::<_, &RawValue>()? {
                    if is_nested(value) {
                        return Err(A::Error::custom("nested"));
                    }
                    empty = false;
                }
                Ok(Flat { empty })
            }
        }
        deserializer.deserialize_map(CheckFlat)
    }
}
