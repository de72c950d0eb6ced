//! The paths and methods of the document are those of the service.

use std::collections::BTreeSet;

use super::{
    contract::{TEXT, at, operations},
    request::Request,
};
use crate::support::{Answer, Server, Store};

#[test]
fn the_paths_are_those_of_the_service() {
    let declared: BTreeSet<_> = at("").entries("paths").into_iter().map(|(path, _)| path).collect();
    assert_eq!(declared, rest_sessions::http::router::paths().into_iter().collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_methods_of_each_path_are_those_of_the_service() {
    let server = Server::start(Store::Embedded).await;
    for (path, _) in at("").entries("paths") {
        let operations: Vec<_> = operations().into_iter().filter(|other| other.path == path).collect();
        let url = server.url(&Request::of(operations[0].id()).path_and_query());
        let answer = Answer::of(server.client().request("BREW".parse().expect("a method"), url)).await;
        answer.refused(405, "methodNotAllowed", "The route does not have this method");
        let allowed = answer.header("allow").split(',').map(str::trim);
        // HEAD comes with every GET, which the document says once and for all.
        let allowed: BTreeSet<_> = allowed.filter(|method| *method != "HEAD").collect();
        let declared: BTreeSet<_> = operations.iter().map(|operation| operation.method.as_str()).collect();
        assert_eq!(declared, allowed, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_served_as_it_is() {
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
        // A value is the reader's own.
        let line = if line.starts_with('#') {
            line
        } else {
            line.split(' ').next().unwrap_or_default()
        };
        assert!(metrics.lines().any(|other| other.starts_with(line)), "{line}");
    }
}
