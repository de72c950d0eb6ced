//! openapi.yaml as a tree whose references are resolved.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::Value;

/// The text that the service serves at `/openapi.yaml`.
pub(super) const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml"));

/// The document, parsed as a YAML value first, since that parser refuses duplicate keys.
static ROOT: LazyLock<Value> = LazyLock::new(|| {
    let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(TEXT).expect("openapi.yaml is YAML");
    serde_json::to_value(yaml).expect("openapi.yaml converts to JSON")
});

/// The whole document.
pub(super) fn root() -> &'static Value {
    &ROOT
}

/// The node at a JSON pointer; references are followed.
#[track_caller]
pub(super) fn at(pointer: &str) -> Node {
    let value = root().pointer(pointer);
    let value = value.unwrap_or_else(|| panic!("openapi.yaml has no {pointer}"));
    match value["$ref"].as_str() {
        Some(reference) => at(reference.strip_prefix('#').expect("references stay within the file")),
        None => Node {
            pointer: pointer.to_owned(),
            value,
        },
    }
}

/// A part of the document and its JSON pointer.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) pointer: String,
    pub(super) value: &'static Value,
}

impl Node {
    /// The value of a key, if the key exists; references are followed.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        self.value.get(key)?;
        Some(at(&format!("{}/{}", self.pointer, escape(key))))
    }

    /// The value at a path of keys; panics if one is missing.
    #[track_caller]
    pub(super) fn to<const N: usize>(&self, keys: [&str; N]) -> Self {
        keys.iter().fold(self.clone(), |node, key| {
            node.get(key)
                .unwrap_or_else(|| panic!("openapi.yaml has no {}/{key}", node.pointer))
        })
    }

    /// The entries of the object at a key, or none if the key is absent; references are followed.
    pub(super) fn entries(&self, key: &str) -> Vec<(&'static str, Self)> {
        let entries = self.value.get(key).and_then(Value::as_object);
        let names = entries.into_iter().flat_map(|entries| entries.keys());
        names.map(|name| (name.as_str(), self.to([key, name]))).collect()
    }

    /// The items of the array at a key, or none if the key is absent; references are followed.
    fn items(&self, key: &str) -> Vec<Self> {
        let length = self.value.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        (0..length)
            .map(|n| at(&format!("{}/{key}/{n}", self.pointer)))
            .collect()
    }

    /// The values of `example` and `examples` of a media type or a parameter.
    pub(super) fn examples(&self) -> Vec<&'static Value> {
        let many = self.entries("examples");
        let many = many.iter().map(|(_, example)| &example.value["value"]);
        self.value.get("example").into_iter().chain(many).collect()
    }

    /// The string at a key; panics if there is none.
    #[track_caller]
    pub(super) fn text(&self, key: &str) -> &'static str {
        let text = self.value[key].as_str();
        text.unwrap_or_else(|| panic!("{}/{key} is not a string", self.pointer))
    }
}

/// One method of one path.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) path: &'static str,
    /// In upper case.
    pub(super) method: String,
    pub(super) node: Node,
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// All operations, in the order of the document.
pub(super) fn operations() -> Vec<Operation> {
    let paths = at("").entries("paths");
    let operations = paths.into_iter().flat_map(|(path, item)| {
        METHODS.into_iter().filter_map(move |method| {
            Some(Operation {
                path,
                method: method.to_uppercase(),
                node: item.get(method)?,
            })
        })
    });
    operations.collect()
}

/// The operation with this id.
#[track_caller]
pub(super) fn operation(id: &str) -> Operation {
    let found = operations().into_iter().find(|operation| operation.id() == id);
    found.unwrap_or_else(|| panic!("openapi.yaml has no operation {id}"))
}

impl Operation {
    /// The `operationId`.
    #[track_caller]
    pub(super) fn id(&self) -> &'static str {
        self.node.text("operationId")
    }

    /// Its parameters, including those of its path.
    pub(super) fn parameters(&self) -> Vec<Node> {
        let shared = at(&format!("/paths/{}", escape(self.path))).items("parameters");
        shared.into_iter().chain(self.node.items("parameters")).collect()
    }

    /// The statuses that it declares.
    pub(super) fn statuses(&self) -> BTreeSet<u16> {
        let responses = self.node.entries("responses");
        let numbers = responses.iter().map(|(status, _)| status.parse().expect("a status"));
        numbers.collect()
    }

    /// Its declared response for a status.
    #[track_caller]
    pub(super) fn response(&self, status: u16) -> Node {
        self.node.to(["responses", &status.to_string()])
    }
}

/// Escapes a key for a JSON pointer (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
