//! HTTP over a raw socket, for requests that an HTTP client would correct or refuse to send.

use std::net::SocketAddr;

use reqwest::header::{HeaderMap, HeaderName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Answer, Server};

/// Sends these bytes unchanged and reads one answer until the server closes the connection.
pub(crate) async fn exchange(server: &Server, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = connect(server.address).await;
    stream.write_all(request.as_ref()).await.expect("the server reads");
    read(stream).await
}

/// Sends a request without a body; `request_line` lacks the HTTP version.
pub(crate) async fn request(server: &Server, request_line: &str) -> Answer {
    exchange(
        server,
        format!("{request_line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"),
    )
    .await
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("a connection")
}

/// Reads an answer that ends when the server closes the connection.
pub(crate) async fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("an answer");
    parse(&String::from_utf8(bytes).expect("a text"))
}

fn parse(text: &str) -> Answer {
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {text:?}"));
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        headers.append(
            name.parse::<HeaderName>().expect("a name"),
            value.parse().expect("a value"),
        );
    }
    Answer {
        status: status.unwrap_or_else(|| panic!("no status in {text:?}")),
        headers,
        body: body.to_owned(),
    }
}
