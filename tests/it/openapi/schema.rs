//! Values against the document's schemas. Schemas of OpenAPI 3.0 are of JSON Schema's draft 4 but for a few words, of which
//! [`super::shape`] finds none in use that would make a difference.

use boon::{Compiler, Draft, Schemas};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::contract::{Node, root};

/// Why the value is not of this schema, in many lines; `Ok` if it is.
#[track_caller]
pub(super) fn check(schema: &Node, value: &Value) -> Result<(), String> {
    const DOCUMENT: &str = "https://contract.invalid/openapi";
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V4);
    compiler.add_resource(DOCUMENT, root().clone()).expect("a document");
    let pointer = utf8_percent_encode(&schema.pointer, NON_ALPHANUMERIC).to_string();
    let pointer = pointer.replace("%2F", "/").replace("%7E", "~");
    let mut schemas = Schemas::new();
    let index = compiler
        .compile(&format!("{DOCUMENT}#{pointer}"), &mut schemas)
        .unwrap_or_else(|error| panic!("{} is no schema: {error:#}", schema.pointer));
    schemas
        .validate(value, index)
        .map_err(|error| format!("{value} is not of {}: {error:#}", schema.pointer))
}

/// Fails if the value is not of this schema.
#[track_caller]
pub(super) fn must_match(schema: &Node, value: &Value) {
    check(schema, value).unwrap_or_else(|why| panic!("{why}"));
}
