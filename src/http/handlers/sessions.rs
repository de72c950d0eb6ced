//! One session, or all sessions of an id or an app: `create`, `get`, `set`, `kill`, `killsoid`, `killall`.

use axum::{extract::State, response::Response};
use serde::Serialize;

use crate::{
    http::{
        AppState,
        error::Error,
        extract::{CreateQuery, JsonBody, UnsetQuery},
        response::{json, killed, session},
    },
    service::NewSession,
    session::{App, Changes, Token, UserId},
    store,
};

pub(in crate::http) async fn create(
    State(state): State<AppState>,
    app: App,
    id: UserId,
    CreateQuery { ip, ttl, no_resave }: CreateQuery,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    #[derive(Serialize)]
    struct Created<'a> {
        token: &'a str,
    }
    let data = Changes::for_create(&body)?;
    let new = NewSession {
        ip,
        ttl,
        no_resave,
        data,
    };
    let token = state.service().create(app, id, new).await?;
    Ok(json(&Created { token: token.as_str() }))
}

pub(in crate::http) async fn get(State(state): State<AppState>, app: App, token: Token) -> Result<Response, Error> {
    Ok(state.service().get(app, token).await.map(session)?)
}

pub(in crate::http) async fn set(
    State(state): State<AppState>,
    app: App,
    token: Token,
    UnsetQuery(unset): UnsetQuery,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    let changes = Changes::for_set(&body, unset)?;
    Ok(state.service().set(app, token, changes).await.map(session)?)
}

pub(in crate::http) async fn kill(State(state): State<AppState>, app: App, token: Token) -> Result<Response, Error> {
    Ok(state.service().kill(app, token).await.map(killed)?)
}

pub(in crate::http) async fn killsoid(State(state): State<AppState>, app: App, id: UserId) -> Result<Response, Error> {
    let service = state.service().clone();
    detached(async move { service.killsoid(app, id).await })
        .await
        .map(killed)
}

pub(in crate::http) async fn killall(State(state): State<AppState>, app: App) -> Result<Response, Error> {
    let service = state.service().clone();
    detached(async move { service.killall(app).await }).await.map(killed)
}

/// Runs a removal as a task of its own, which a client that disconnects does not cancel: half a logout is no logout.
async fn detached<T: Send + 'static>(
    removal: impl Future<Output = Result<T, store::Error>> + Send + 'static,
) -> Result<T, Error> {
    let removal = tokio::spawn(removal);
    Ok(removal.await.unwrap_or(Err(store::Error::Internal))?)
}
