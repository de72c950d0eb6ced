//! Each declared answer is obtained and matches its declaration: status, headers, type, body, and all error examples.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    cases::{Case, cases},
    contract::Node,
    request::Request,
    scenarios::Running,
    schema::must_match,
};
use crate::support::{Answer, Store, for_every_store, json as parse, raw};

for_every_store!(every_declared_answer_is_given);

async fn every_declared_answer_is_given(store: Store) {
    let mut servers = BTreeMap::new();
    let mut errors: BTreeMap<(&str, u16), BTreeSet<String>> = BTreeMap::new();
    for case in cases() {
        eprintln!(
            "{} {} in {:?}",
            case.request.operation().id(),
            case.status,
            case.scenario
        );
        let running = match servers.remove(&case.scenario) {
            Some(running) => running,
            None => case.scenario.start(store).await,
        };
        let answer = send(&running, &case).await;
        let body = assert_declared(&case, &answer);
        if case.status >= 400 {
            let seen = errors.entry((case.request.operation().id(), case.status)).or_default();
            seen.insert(body.to_string());
        }
        servers.insert(case.scenario, running);
    }
    let mut mismatches = String::new();
    for ((operation, status), seen) in errors {
        let media = super::contract::operation(operation)
            .response(status)
            .to(["content", "application/json"]);
        let examples: BTreeSet<_> = media.examples().into_iter().map(ToString::to_string).collect();
        if examples != seen {
            writeln!(
                mismatches,
                "{operation} {status}: examples {examples:?}, answers {seen:?}"
            )
            .expect("writing to a String");
        }
    }
    assert!(mismatches.is_empty(), "{mismatches}");
}

async fn send(running: &Running, case: &Case) -> Answer {
    let origin = format!("http://{}", running.address);
    let mut request = case.request.clone();
    if let Some(data) = &case.session {
        // Sessions of earlier cases would change the answers.
        Answer::of(Request::of("killall").at(&running.client, &origin))
            .await
            .ok();
        let create = Request::of("create").body(data.clone()).at(&running.client, &origin);
        let created = parse(Answer::of(create).await.ok());
        for name in ["token", "X-Session-Token"] {
            if request.has(name) {
                request = request.with(name, created["token"].as_str().expect("a token"));
            }
        }
    }
    if case.half_body {
        return send_half_body(running, &request).await;
    }
    Answer::of(request.at(&running.client, &origin)).await
}

/// Sends half of the body and waits for the answer.
async fn send_half_body(running: &Running, request: &Request) -> Answer {
    let (method, target) = (&request.operation().method, request.path_and_query());
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Type: {}\r\n",
        request.content_type
    );
    let length = request.body.len();
    let half = &request.body[..length / 2];
    let sent = format!("{head}Content-Length: {length}\r\n\r\n{half}");
    let mut stream = raw::connect(running.address).await;
    stream.write_all(sent.as_bytes()).await.expect("the server reads");
    raw::read(stream).await
}

/// Asserts that an answer matches its declaration; returns the body.
#[track_caller]
fn assert_declared(case: &Case, answer: &Answer) -> Value {
    assert_eq!(answer.status, case.status, "{:?} {answer:?}", case.request);
    let response = case.request.operation().response(case.status);
    assert_headers(&response, answer);
    let body = assert_body(case.status, &response, answer);
    // A case with a session must not get the answer for a missing session.
    if case.session.is_some() && case.status == 200 {
        let without_session = [
            json!({}),
            json!({"sessions": []}),
            json!({"kill": 0}),
            json!({"activity": 0}),
        ];
        assert!(!without_session.contains(&body), "{:?} {answer:?}", case.request);
    }
    body
}

#[track_caller]
fn assert_headers(response: &Node, answer: &Answer) {
    let declared = response.entries("headers");
    for (name, header) in &declared {
        let value = answer.header(name);
        assert!(
            !value.is_empty() || header.value["required"] != true,
            "no {name}: {answer:?}"
        );
        let value = value
            .parse::<i64>()
            .map_or_else(|_| json!(value), |number| json!(number));
        must_match(&header.to(["schema"]), &value);
    }
    // Conversely, these headers must be declared where they are sent.
    for name in [
        "Cache-Control",
        "Retry-After",
        "Allow",
        "Location",
        "Set-Cookie",
        "ETag",
        "WWW-Authenticate",
        "X-Session-Id",
        "X-Session-Ttl",
    ] {
        let known = declared.iter().any(|(declared, _)| *declared == name);
        assert!(
            known || answer.header(name).is_empty(),
            "{name} is not declared: {answer:?}"
        );
    }
}

#[track_caller]
fn assert_body(status: u16, response: &Node, answer: &Answer) -> Value {
    if status == 204 {
        assert_eq!(
            (answer.body.as_str(), answer.header("content-type")),
            ("", ""),
            "{answer:?}"
        );
        return Value::Null;
    }
    let media_type = answer.header("content-type").split(';').next().unwrap_or_default();
    let contents = response.entries("content");
    let media = contents.iter().find(|(declared, _)| *declared == media_type);
    let (_, media) = media.unwrap_or_else(|| panic!("{media_type} is not declared: {answer:?}"));
    let body = if media_type == "application/json" {
        parse(&answer.body)
    } else {
        json!(answer.body)
    };
    if let Some(schema) = media.get("schema") {
        must_match(&schema, &body);
    }
    body
}
