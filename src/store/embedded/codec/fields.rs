//! Extra fields of a record: a list of (tag, length, value), which format 2 adds to format 1.
//!
//! A tag that this version does not know is kept, byte for byte, when the record is written again. So a newer version
//! can add a field that older ones may ignore without a new format. A field that an older version must not ignore needs
//! a new format.
//!
//! Why here and not in [`Record`](crate::session::Record): an unknown tag means nothing to the rest of the program. A
//! field that becomes known moves from here into the record.

use std::sync::Arc;

use super::Unreadable;

/// The extra fields of a record, as they are on disk. A clone shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Option<Arc<[u8]>>);

impl Fields {
    /// Fields with these tags and values, in this order.
    #[cfg(test)]
    pub(crate) fn new<'a>(fields: impl IntoIterator<Item = Field<'a>>) -> Self {
        let mut bytes = Vec::new();
        for field in fields {
            bytes = postcard::to_extend(&field, bytes).expect("a vector takes all");
        }
        Self::of(&bytes)
    }

    /// Reads a list that fills all of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, rest) = field(rest).ok_or(Unreadable::Damaged)?;
        }
        Ok(Self::of(bytes))
    }

    fn of(bytes: &[u8]) -> Self {
        Self((!bytes.is_empty()).then(|| bytes.into()))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The list as it is on disk.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The tags and values, in order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let mut rest = self.as_bytes();
        std::iter::from_fn(move || {
            let (found, behind) = field(rest)?;
            rest = behind;
            Some(found)
        })
    }
}

/// A tag and its value.
type Field<'a> = (u64, &'a [u8]);

/// The first field of a list, and the rest of the list.
fn field(bytes: &[u8]) -> Option<(Field<'_>, &[u8])> {
    postcard::take_from_bytes(bytes).ok()
}
