//! The baseline of the benchmarks: `axum::serve` with a fixed JSON answer per route, as long as the service's answer.

use axum::{
    Router,
    http::header,
    routing::{any, delete, get, put},
};

const SESSION: &str = r#"{"id":"user-1234","r":17,"w":3,"ttl":86400,"idle":0,"ip":"203.0.113.7","d":{"name":"Ada","role":"admin","cart":3}}"#;
const TOKEN: &str = r#"{"token":"q3Zt8LmWc0RfYx5KbN1vHs7Jd2GpUe9AoTi4CwEz6QnBrM8yXk0PlVhSgD3uFj5a"}"#;

fn json<Text>(answer: Text) -> ([(header::HeaderName, &'static str); 1], Text) {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], answer)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let list = format!(r#"{{"sessions":[{SESSION},{SESSION},{SESSION}]}}"#);
    let router = Router::new()
        .route("/{app}/create/{id}", put(async || json(TOKEN)))
        .route("/{app}/kill/{token}", delete(async || json(r#"{"kill":1}"#)))
        .route("/{app}/soid/{id}", get(async move || json(list.clone())))
        .route("/{app}/activity", get(async || json(r#"{"activity":10000}"#)))
        // get and set
        .route("/{app}/{verb}/{token}", any(async || json(SESSION)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, router).await
}
