//! Liveness and readiness: `/ping`, `/livez`, `/readyz`.

use axum::extract::State;

use crate::http::{AppState, error::Error};

pub(in crate::http) async fn ping() -> &'static str {
    "PONG"
}

/// The process is alive, whatever the state of its store: a restart would not end an outage of the store.
pub(in crate::http) async fn livez() -> &'static str {
    "ok"
}

/// The store answers, and the server is not draining.
pub(in crate::http) async fn readyz(State(state): State<AppState>) -> Result<&'static str, Error> {
    if state.is_draining() {
        return Err(Error::ShuttingDown);
    }
    state.service().ready().await?;
    Ok("ok")
}
