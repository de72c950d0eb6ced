//! Requests built from the document: the example values of the parameters and of the body.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::contract::{Operation, operation};

/// The `in` of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
}

/// A request for one operation.
#[derive(Clone, Debug)]
pub(super) struct Request {
    operation: Operation,
    /// Place and value by name; an array parameter has its first item only.
    parameters: BTreeMap<&'static str, (Place, String)>,
    pub(super) body: String,
    pub(super) content_type: &'static str,
}

impl Request {
    /// The example request of an operation.
    #[track_caller]
    pub(super) fn of(id: &str) -> Self {
        let operation = operation(id);
        let parameters = operation.parameters().into_iter().map(|parameter| {
            let name = parameter.text("name");
            let value = match &parameter.value["example"] {
                Value::String(text) => text.clone(),
                Value::Array(items) => items[0].as_str().expect("a text").to_owned(),
                Value::Null => panic!("{name} has no example"),
                other => other.to_string(),
            };
            let place = match parameter.text("in") {
                "path" => Place::Path,
                "query" => Place::Query,
                "header" => Place::Header,
                other => panic!("{name} is in the {other}"),
            };
            (name, (place, value))
        });
        let media = operation.node.get("requestBody");
        let media = media.map(|body| body.to(["content", "application/json"]));
        let body = media.and_then(|media| Some((*media.examples().first()?).to_string()));
        Self {
            parameters: parameters.collect(),
            operation,
            body: body.unwrap_or_default(),
            content_type: "application/json",
        }
    }

    /// Replaces the value of a parameter; panics if the request lacks it.
    #[track_caller]
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let parameter = self.parameters.get_mut(name);
        value.clone_into(&mut parameter.unwrap_or_else(|| panic!("there is no parameter {name}")).1);
        self
    }

    /// Removes a parameter; panics if the request lacks it.
    #[track_caller]
    pub(super) fn without(mut self, name: &str) -> Self {
        let removed = self.parameters.remove(name);
        assert!(removed.is_some(), "there is no parameter {name}");
        self
    }

    /// The value of a parameter; panics if the request lacks it.
    #[track_caller]
    pub(super) fn value(&self, name: &str) -> &str {
        let (_, value) = self
            .parameters
            .get(name)
            .unwrap_or_else(|| panic!("there is no parameter {name}"));
        value
    }

    /// Whether the request has this parameter.
    pub(super) fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    pub(super) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }

    pub(super) fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The request target, with all values percent-encoded.
    pub(super) fn path_and_query(&self) -> String {
        let mut target = self.operation.path.to_owned();
        let mut separator = "?";
        for (name, (place, value)) in &self.parameters {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
            match place {
                Place::Path => target = target.replace(&format!("{{{name}}}"), &value),
                Place::Query => {
                    target.extend([separator, name, "=", &value]);
                    separator = "&";
                }
                Place::Header => {}
            }
        }
        target
    }

    /// The request to this origin.
    pub(super) fn at(&self, client: &reqwest::Client, origin: &str) -> reqwest::RequestBuilder {
        let method = self.operation.method.parse().expect("a method");
        let mut request = client.request(method, format!("{origin}{}", self.path_and_query()));
        for (name, (_, value)) in self.parameters.iter().filter(|(_, (place, _))| *place == Place::Header) {
            request = request.header(*name, value);
        }
        if self.body.is_empty() {
            return request;
        }
        request
            .header("content-type", self.content_type)
            .body(self.body.clone())
    }
}
