//! The document, its references resolved.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::Value;

/// What the service serves, since it is built in.
pub(super) const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml"));

/// The document. By way of a YAML value, as that refuses a key that is given twice.
static ROOT: LazyLock<Value> = LazyLock::new(|| {
    let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(TEXT).expect("openapi.yaml is YAML");
    serde_json::to_value(yaml).expect("openapi.yaml has nothing that JSON lacks")
});

/// The whole document.
pub(super) fn root() -> &'static Value {
    &ROOT
}

/// What a JSON pointer leads to, references followed.
#[track_caller]
pub(super) fn at(pointer: &str) -> Node {
    let value = root().pointer(pointer);
    let value = value.unwrap_or_else(|| panic!("openapi.yaml has no {pointer}"));
    match value["$ref"].as_str() {
        Some(reference) => at(reference.strip_prefix('#').expect("all of it is in one file")),
        None => Node {
            pointer: pointer.to_owned(),
            value,
        },
    }
}

/// A part of the document, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) pointer: String,
    pub(super) value: &'static Value,
}

impl Node {
    /// What a key leads to, references followed; `None` if there is no such key.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        self.value.get(key)?;
        Some(at(&format!("{}/{}", self.pointer, escape(key))))
    }

    /// The same for a path of keys that has to be there.
    #[track_caller]
    pub(super) fn to<const N: usize>(&self, keys: [&str; N]) -> Self {
        keys.iter().fold(self.clone(), |node, key| {
            node.get(key)
                .unwrap_or_else(|| panic!("openapi.yaml has no {}/{key}", node.pointer))
        })
    }

    /// The entries of an object, none if the key is absent, references followed.
    pub(super) fn entries(&self, key: &str) -> Vec<(&'static str, Self)> {
        let entries = self.value.get(key).and_then(Value::as_object);
        let names = entries.into_iter().flat_map(|entries| entries.keys());
        names.map(|name| (name.as_str(), self.to([key, name]))).collect()
    }

    /// The items of an array, none if the key is absent, references followed.
    fn items(&self, key: &str) -> Vec<Self> {
        let length = self.value.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        (0..length)
            .map(|n| at(&format!("{}/{key}/{n}", self.pointer)))
            .collect()
    }

    /// The examples of a media type or a parameter, however they are written.
    pub(super) fn examples(&self) -> Vec<&'static Value> {
        let many = self.entries("examples");
        let many = many.iter().map(|(_, example)| &example.value["value"]);
        self.value.get("example").into_iter().chain(many).collect()
    }

    /// A string that has to be there.
    #[track_caller]
    pub(super) fn text(&self, key: &str) -> &'static str {
        let text = self.value[key].as_str();
        text.unwrap_or_else(|| panic!("{}/{key} is no string", self.pointer))
    }
}

/// One method of one path.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) path: &'static str,
    /// In capitals, as HTTP has it.
    pub(super) method: String,
    pub(super) node: Node,
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Every operation, in the order of the document's keys.
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
    /// Its name.
    #[track_caller]
    pub(super) fn id(&self) -> &'static str {
        self.node.text("operationId")
    }

    /// Its parameters, those of its path included.
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

    /// What it declares for a status that it declares.
    #[track_caller]
    pub(super) fn response(&self, status: u16) -> Node {
        self.node.to(["responses", &status.to_string()])
    }
}

/// A key as a part of a JSON pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
