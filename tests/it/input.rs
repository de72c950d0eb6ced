//! What a request may hold, and what it gets where it holds something else. No store has a say in that, so these run on
//! the embedded one; what depends on stored data is in `behaviour`.

mod auth;
mod body;
mod framing;
mod malformed;
mod names;
mod order;
mod parameters;
mod routes;
mod transfer;

use crate::support::{Server, Store};

async fn server() -> Server {
    Server::start(Store::Embedded).await
}
