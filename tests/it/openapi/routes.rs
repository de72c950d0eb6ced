//! The document's paths and methods are those of the service.

use std::collections::BTreeSet;

use super::{
    contract::{TEXT, at, operations},
    request::Request,
};
use crate::support::{Answer, Server, Store};

#[test]
fn every_path_is_declared() {
    let declared: BTreeSet<_> = at("").entries("paths").into_iter().map(|(path, _)| path).collect();
    assert_eq!(declared, rest_sessions::http::router::paths().into_iter().collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_is_declared() {
    let server = Server::start(Store::Embedded).await;
    for (path, _) in at("").entries("paths") {
        let operations: Vec<_> = operations().into_iter().filter(|other| other.path == path).collect();
        let url = server.url(&Request::of(operations[0].id()).path_and_query());
        let answer = Answer::of(server.client().request("BREW".parse().expect("a method"), url)).await;
        answer.refused(405, "methodNotAllowed", "The route does not have this method");
        let allowed = answer.header("allow").split(',').map(str::trim);
        // HEAD accompanies every GET; the document says so once for all paths.
        let allowed: BTreeSet<_> = allowed.filter(|method| *method != "HEAD").collect();
        let declared: BTreeSet<_> = operations.iter().map(|operation| operation.method.as_str()).collect();
        assert_eq!(declared, allowed, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_serves_the_document() {
    let server = Server::start(Store::Embedded).await;
    let answer = Answer::of(server.client().get(server.url("/openapi.yaml"))).await;
    assert_eq!(answer.body, TEXT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_in_the_example_exist() {
    let server = Server::start(Store::Embedded).await;
    server.app("forum").create("ann").await;
    let metrics = server.metrics().await;
    let media = super::contract::operation("metrics")
        .response(200)
        .to(["content", "text/plain"]);
    for line in media.text("example").lines() {
        // Values differ; only the series must exist.
        let line = if line.starts_with('#') {
            line
        } else {
            line.split(' ').next().unwrap_or_default()
        };
        assert!(metrics.lines().any(|other| other.starts_with(line)), "{line}");
    }
}
