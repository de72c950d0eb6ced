//! The floor: axum with one fixed JSON answer for every request, served the way axum serves by itself.

use axum::{Router, http::header};

const ANSWER: &str = r#"{"id":"user-123456","r":17,"w":3,"ttl":7200,"idle":0,"ip":"203.0.113.7","d":{"name":"Ada","role":"admin","cart":3}}"#;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let answer = async || ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], ANSWER);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, Router::new().fallback(answer)).await
}
