//! What machines read about the service: `/metrics` and `/openapi.yaml`.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::http::AppState;

pub(in crate::http) async fn metrics(State(state): State<AppState>) -> Response {
    const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, PROMETHEUS)], state.metrics().text()).into_response()
}

pub(in crate::http) async fn openapi() -> Response {
    const YAML: HeaderValue = HeaderValue::from_static("application/yaml; charset=utf-8");
    ([(header::CONTENT_TYPE, YAML)], include_str!("../../../openapi.yaml")).into_response()
}
