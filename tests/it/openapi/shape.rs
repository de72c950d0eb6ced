//! Quality rules for the document itself: complete, open to new fields, with valid examples.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    contract::{Node, TEXT, at, operations, root},
    schema::{check, must_match},
};

/// Calls `visit` with the JSON pointer and the value of every node below `value`.
fn walk(pointer: &str, value: &'static Value, visit: &mut impl FnMut(&str, &'static Value)) {
    visit(pointer, value);
    let children: Vec<(String, &Value)> = match value {
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => (0..).map(|n: usize| n.to_string()).zip(items).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        walk(&format!("{pointer}/{key}"), child, visit);
    }
}

#[test]
fn the_document_names_this_version_and_the_default_address() {
    assert_eq!(at("").text("openapi"), "3.0.3");
    assert_eq!(at("/info").text("version"), env!("CARGO_PKG_VERSION"));
    let defaults = rest_sessions::config::Config::default();
    let url = format!("http://{}:{}", defaults.host, defaults.port);
    assert_eq!(at("/servers/0").text("url"), url);
}

#[test]
fn every_operation_has_an_id_a_tag_and_a_description() {
    let tags = root()["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]);
    let tags: Vec<_> = tags.collect();
    let mut ids = BTreeSet::new();
    for operation in operations() {
        assert!(ids.insert(operation.id()), "{} exists twice", operation.id());
        assert!(tags.contains(&&operation.node.value["tags"][0]), "{}", operation.id());
        assert!(!operation.node.text("summary").is_empty() && !operation.node.text("description").is_empty());
        for parameter in operation.parameters() {
            assert!(!parameter.text("description").is_empty(), "{}", parameter.pointer);
        }
    }
}

#[test]
fn every_answer_declares_its_headers() {
    for operation in operations() {
        for status in operation.statuses() {
            let headers = operation.response(status).entries("headers");
            let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
            let expected: &[_] = match status {
                204 => &["Cache-Control", "X-Session-Id", "X-Session-Ttl"],
                401 => &["Cache-Control", "WWW-Authenticate"],
                503 => &["Cache-Control", "Retry-After"],
                _ => &["Cache-Control"],
            };
            assert_eq!(names, expected, "{} {status}", operation.id());
        }
    }
}

#[test]
fn every_error_has_the_error_schema_and_an_example() {
    for operation in operations() {
        for status in operation.statuses().into_iter().filter(|status| *status >= 400) {
            let contents = operation.response(status).entries("content");
            let [("application/json", media)] = contents.as_slice() else {
                panic!("{} {status}: {contents:?}", operation.id());
            };
            assert_eq!(media.value["schema"], json!({"$ref": "#/components/schemas/ErrorBody"}));
            assert!(!media.examples().is_empty(), "{} {status}", operation.id());
        }
    }
}

#[test]
fn schemas_allow_additional_fields() {
    walk("", root(), &mut |pointer, value| {
        assert_ne!(value["additionalProperties"], json!(false), "{pointer}");
    });
    for (name, schema) in at("/components").entries("schemas") {
        if schema.get("properties").is_some() {
            assert_eq!(schema.value["additionalProperties"], json!(true), "{name}");
        }
    }
}

/// All schemas with their examples, if any.
fn schemas_with_examples() -> Vec<(Node, Vec<&'static Value>)> {
    let mut found = Vec::new();
    for operation in operations() {
        let body = operation.node.get("requestBody");
        let responses = operation
            .node
            .entries("responses")
            .into_iter()
            .map(|(_, response)| response);
        for node in responses.chain(body) {
            for (_, part) in [node.entries("content"), node.entries("headers")].concat() {
                found.extend(part.get("schema").map(|schema| (schema, part.examples())));
            }
        }
        for parameter in operation.parameters() {
            found.push((parameter.to(["schema"]), parameter.examples()));
        }
    }
    for (_, schema) in at("/components").entries("schemas") {
        let examples = schema.examples();
        found.push((schema, examples));
    }
    found
}

#[test]
fn examples_match_their_schemas() {
    let mut seen = 0;
    for (schema, examples) in schemas_with_examples() {
        for example in examples {
            must_match(&schema, example);
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} examples were found");
}

#[test]
fn schemas_reject_invalid_answers() {
    let session = json!({"id": "a", "r": 1, "w": 1, "ttl": 10, "idle": 0, "ip": "1", "d": {"a": 1}});
    let with = |key: &str, value: Value| {
        let mut session = session.clone();
        session[key] = value;
        session
    };
    for (schema, value) in [
        ("Created", json!({})),
        ("Created", json!({"token": "short"})),
        ("Created", json!({"token": "-".repeat(64)})),
        ("Session", json!([])),
        ("Session", with("id", json!(1))),
        ("Session", with("r", json!("1"))),
        ("Session", with("w", json!(0.5))),
        ("Session", with("ttl", json!(-1))),
        ("Session", with("no_resave", json!(1))),
        ("Session", with("d", json!([]))),
        ("Session", with("d", json!({"a": []}))),
        ("Session", with("d", json!({"a": {}}))),
        ("Sessions", json!({})),
        ("Sessions", json!([])),
        ("Sessions", json!({"sessions": [1]})),
        ("Activity", json!({"activity": -1})),
        ("Killed", json!({"kill": "1"})),
        ("ErrorBody", json!({"name": "tooLarge"})),
        ("ErrorBody", json!({"name": 1, "message": ""})),
    ] {
        let schema = at(&format!("/components/schemas/{schema}"));
        assert!(check(&schema, &value).is_err(), "{value} matches {}", schema.pointer);
    }
    must_match(&at("/components/schemas/Session"), &session);
    must_match(&at("/components/schemas/Session"), &with("new", json!([1])));
}

#[test]
fn links_name_existing_operations_and_parameters() {
    for operation in operations() {
        let success = operation
            .statuses()
            .into_iter()
            .next()
            .expect("an operation has an answer");
        for (_, link) in operation.response(success).entries("links") {
            let target = super::contract::operation(link.text("operationId"));
            let known: BTreeSet<_> = target
                .parameters()
                .iter()
                .map(|parameter| parameter.text("name"))
                .collect();
            for (name, _) in link.entries("parameters") {
                assert!(known.contains(name), "{}: {name}", link.pointer);
            }
        }
    }
}

#[test]
fn every_component_is_referenced() {
    for (kind, _) in at("").entries("components") {
        for (name, _) in at("/components").entries(kind) {
            let reference = format!("\"#/components/{kind}/{name}\"");
            assert!(TEXT.contains(&reference), "nothing refers to {reference}");
        }
    }
}
