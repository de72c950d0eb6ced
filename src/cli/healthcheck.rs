//! `rest-sessions healthcheck`: asks a running service for its `/readyz`, so that a container needs no curl.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use crate::{config::Config, text::printable};

/// Time limit for connecting, and again for the answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Succeeds if the service at `--host` and `--port`, or at `--socket`, is ready. Fails with one line for the operator.
pub(super) fn run(config: &Config) -> Result<(), String> {
    let (place, answer) = match (config.tcp(), &config.socket) {
        (Some((host, port)), _) => (format!("{}:{port}", printable::value(host)), ask_tcp(host, port)),
        (None, Some(path)) => (printable::path(path), UnixStream::connect(path).and_then(ask)),
        (None, None) => return Err("--host is none, and there is no --socket".into()),
    };
    let answer = answer.map_err(|cause| format!("no answer from {place}: {cause}"))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let line = answer.lines().next().unwrap_or("an empty answer");
    Err(format!("not ready: {line}"))
}

fn ask_tcp(host: &str, port: u16) -> io::Result<String> {
    // A service that listens on every address listens on the loopback too.
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "::" | "[::]" => "::1",
        host => host,
    };
    let mut refused = io::ErrorKind::AddrNotAvailable.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return ask(stream),
            Err(cause) => refused = cause,
        }
    }
    Err(refused)
}

fn ask(stream: impl Into<OwnedFd>) -> io::Result<String> {
    // TCP and Unix sockets share the calls for timeouts.
    let mut stream = TcpStream::from(stream.into());
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}
