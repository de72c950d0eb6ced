//! Lists and counts: `activity`, `soapp`, `soid`.

use axum::{extract::State, response::Response};
use serde::Serialize;

use crate::{
    http::{
        AppState,
        error::Error,
        extract::{DtQuery, PageQuery},
        list_body,
        response::json,
    },
    session::{App, Scope, UserId},
};

pub(in crate::http) async fn activity(
    State(state): State<AppState>,
    app: App,
    DtQuery(dt): DtQuery,
) -> Result<Response, Error> {
    #[derive(Serialize)]
    struct Activity {
        activity: u64,
    }
    let activity = state.service().activity(app, dt).await?;
    Ok(json(&Activity { activity }))
}

pub(in crate::http) async fn soapp(
    State(state): State<AppState>,
    app: App,
    DtQuery(dt): DtQuery,
    page: PageQuery,
) -> Result<Response, Error> {
    let scope = Scope::of_app(app);
    let (after, most) = (page.after(scope)?, page.most());
    let listing = state.service().soapp(app, dt, after, most).await?;
    list_body::answer(state.service().clone(), listing, page.limit, scope).await
}

pub(in crate::http) async fn soid(
    State(state): State<AppState>,
    app: App,
    id: UserId,
    page: PageQuery,
) -> Result<Response, Error> {
    let scope = Scope::of_id(app, &id);
    let listing = state.service().soid(app, id, page.after(scope)?, page.most());
    list_body::answer(state.service().clone(), listing, page.limit, scope).await
}
