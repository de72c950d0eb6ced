//! Validates values against the document's schemas. `OpenAPI` 3.0 schemas are JSON Schema draft 4, except for
//! `nullable`, which adds null to the type beside it.

use boon::{Compiler, Draft, Schemas};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::contract::{Node, root};

/// Fails with a multi-line explanation if the value does not match the schema.
#[track_caller]
pub(super) fn check(schema: &Node, value: &Value) -> Result<(), String> {
    const DOCUMENT: &str = "https://contract.invalid/openapi";
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V4);
    compiler.add_resource(DOCUMENT, draft_4(root())).expect("a document");
    let pointer = utf8_percent_encode(&schema.pointer, NON_ALPHANUMERIC).to_string();
    let pointer = pointer.replace("%2F", "/").replace("%7E", "~");
    let mut schemas = Schemas::new();
    let index = compiler
        .compile(&format!("{DOCUMENT}#{pointer}"), &mut schemas)
        .unwrap_or_else(|error| panic!("{} is not a schema: {error:#}", schema.pointer));
    schemas
        .validate(value, index)
        .map_err(|error| format!("{value} does not match {}: {error:#}", schema.pointer))
}

/// Panics if the value does not match the schema.
#[track_caller]
pub(super) fn must_match(schema: &Node, value: &Value) {
    check(schema, value).unwrap_or_else(|why| panic!("{why}"));
}

/// The document with `nullable` expressed in draft 4.
fn draft_4(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), draft_4(value)));
            let mut entries: serde_json::Map<_, _> = entries.collect();
            if let (Some(Value::Bool(true)), Some(Value::String(only))) = (entries.get("nullable"), entries.get("type"))
            {
                let both = json!([only, "null"]);
                entries.insert("type".into(), both);
            }
            Value::Object(entries)
        }
        Value::Array(items) => items.iter().map(draft_4).collect(),
        other => other.clone(),
    }
}
