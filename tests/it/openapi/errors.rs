//! The error names in the schema and in the description's table are those of the service.

use std::collections::BTreeSet;

use axum::response::IntoResponse;
use http_body_util::BodyExt;
use rest_sessions::http::error::Error;
use serde_json::Value;

use super::contract::at;

/// One error of each kind. A new kind makes the match fail to compile.
fn all() -> Vec<Error> {
    let all = vec![
        Error::MissingParameter("ip"),
        Error::InvalidFormat("app"),
        Error::InvalidValue("ttl".into()),
        Error::InvalidJson,
        Error::InvalidRequest,
        Error::UriTooLong,
        Error::HeadTooLarge,
        Error::Unauthorized,
        Error::NotFound,
        Error::MethodNotAllowed,
        Error::RequestTimeout,
        Error::TooLarge,
        Error::UnsupportedMediaType,
        Error::Internal,
        Error::StoreUnavailable,
        Error::NotReplicated,
        Error::ShuttingDown,
    ];
    for error in &all {
        match error {
            Error::MissingParameter(_)
            | Error::InvalidFormat(_)
            | Error::InvalidValue(_)
            | Error::InvalidJson
            | Error::InvalidRequest
            | Error::UriTooLong
            | Error::HeadTooLarge
            | Error::Unauthorized
            | Error::NotFound
            | Error::MethodNotAllowed
            | Error::RequestTimeout
            | Error::TooLarge
            | Error::UnsupportedMediaType
            | Error::Internal
            | Error::StoreUnavailable
            | Error::NotReplicated
            | Error::ShuttingDown => {}
        }
    }
    all
}

/// Status and name of each error answer.
async fn answered() -> BTreeSet<(String, String)> {
    let mut answered = BTreeSet::new();
    for error in all() {
        let response = error.into_response();
        let status = response.status().as_u16().to_string();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        answered.insert((status, body["name"].as_str().expect("a name").to_owned()));
    }
    answered
}

#[tokio::test]
async fn the_schema_names_every_error() {
    let schema = at("/components/schemas/ErrorBody/properties/name");
    let listed = schema.value["x-extensible-enum"].as_array().expect("a list");
    let listed: BTreeSet<_> = listed.iter().filter_map(Value::as_str).collect();
    let answered = answered().await;
    assert_eq!(listed, answered.iter().map(|(_, name)| name.as_str()).collect());
    for name in listed {
        assert!(schema.text("description").contains(&format!("`{name}`")), "{name}");
    }
}

#[tokio::test]
async fn the_table_names_every_error_with_its_status() {
    let rows = at("/info")
        .text("description")
        .lines()
        .filter(|line| line.starts_with("| "));
    let listed = rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (status, name) = (cells.next()?, cells.next()?);
        Some((status.to_owned(), name.strip_prefix('`')?.strip_suffix('`')?.to_owned()))
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), answered().await);
}
