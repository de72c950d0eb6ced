//! Strategies of `tests/it/properties`, shared with the property tests of parsers that are private to the crate.

#[path = "../../tests/it/properties/hold.rs"]
pub(crate) mod hold;
#[path = "../../tests/it/properties/texts.rs"]
pub(crate) mod texts;
