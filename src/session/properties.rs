//! For the properties of parsers that nobody outside can call. Those of all others are in `tests/it/properties`, and
//! these lie there too.

#[path = "../../tests/it/properties/hold.rs"]
pub(crate) mod hold;
#[path = "../../tests/it/properties/texts.rs"]
pub(crate) mod texts;
