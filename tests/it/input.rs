//! Tests of the validation of requests, and of the answers to invalid ones. Validation does not depend on the store, so
//! these tests run on the embedded one. Tests that depend on stored data are in `behaviour`.

mod auth;
mod body;
mod body_transfer;
mod framing;
mod ip;
mod malformed;
mod path_segments;
mod query;
mod routes;
mod unset;
mod validation_order;

use crate::support::{Server, Store};

async fn server() -> Server {
    Server::start(Store::Embedded).await
}
