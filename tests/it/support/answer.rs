//! HTTP answers, with assertions that hold for every answer.

use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// A well-formed token without a session.
pub(crate) const NO_TOKEN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Parses JSON; panics if it is invalid.
#[track_caller]
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.expect("a text"),
        }
    }

    /// Asserts status 200 and the headers of a JSON answer; returns the body.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        self.assert_json();
        &self.body
    }

    /// Asserts an error answer byte by byte.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, name: &str, message: &str) {
        assert_eq!(self.status, status, "{self:?}");
        self.assert_json();
        let expected = serde_json::json!(message);
        assert_eq!(self.body, format!(r#"{{"name":"{name}","message":{expected}}}"#));
    }

    #[track_caller]
    fn assert_json(&self) {
        assert_eq!(
            self.header(CONTENT_TYPE.as_str()),
            "application/json; charset=utf-8",
            "{self:?}"
        );
        assert_eq!(self.header(CACHE_CONTROL.as_str()), "no-store", "{self:?}");
    }

    /// A header's value; empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a text"))
    }
}

/// A session in an answer. Unknown fields fail the test, so a token can never slip in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) r: u64,
    pub(crate) w: u64,
    pub(crate) ttl: u64,
    pub(crate) idle: u64,
    pub(crate) ip: String,
    #[serde(default)]
    pub(crate) no_resave: bool,
    d: Option<Box<RawValue>>,
}

impl Session {
    /// A session, or `None` for `{}`.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text != "{}").then(|| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}")))
    }

    /// The JSON text of `d`; empty if the session has none.
    pub(crate) fn d(&self) -> &str {
        self.d.as_ref().map_or("", |d| d.get())
    }
}
