//! The HTTP server over raw sockets: connection limits and timeouts, shutdown, Unix socket, errors, health and logs.

mod connections;
mod errors;
mod health;
mod logs;
mod shutdown;
mod socket;
mod storm;
mod unread;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::process::PATIENCE;

/// A raw HTTP connection.
struct Wire(BufReader<TcpStream>);

impl Wire {
    async fn connect(address: &str) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.expect("a connection")))
    }

    async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.expect("a write");
    }

    /// Sends a GET and returns the answer.
    async fn get(&mut self, path: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.answer().await
    }

    /// The status and the body of the next answer.
    async fn answer(&mut self) -> (u16, String) {
        timeout(PATIENCE, self.read_answer()).await.expect("an answer in time")
    }

    /// As [`Self::answer`], without a time limit.
    async fn read_answer(&mut self) -> (u16, String) {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.expect("a line");
            let line = line
                .strip_suffix("\r\n")
                .unwrap_or_else(|| panic!("the server closed the connection within an answer: {line:?}"));
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok());
            }
            if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("a body");
        (status.expect("a status"), String::from_utf8(body).expect("text"))
    }

    /// Asserts that the server closes the connection without a further answer.
    async fn assert_closed(mut self) {
        let mut rest = Vec::new();
        // A reset closes the connection, too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .expect("the server closes the connection in time");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}
