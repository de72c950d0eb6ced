//! Clients that send requests and read no answers: they lose their connections, and other clients are served.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::process::{PATIENCE, Process, eventually};

const CLIENTS: usize = 8;

/// Starts the service with few connections and a short idle timeout.
fn start(folder: &Path) -> Process {
    let flags = ["--max-connections", "8", "--idle-timeout", "1", "--socket", "http.sock"];
    Process::start(folder, &flags)
}

/// Sends requests until the buffers of both sides are full.
fn fill_buffers(mut client: impl Write) {
    let requests = "GET /openapi.yaml HTTP/1.1\r\nHost: test\r\n\r\n".repeat(400);
    // The server stops reading requests while its answers are not read.
    while client.write_all(requests.as_bytes()).is_ok() {}
}

fn connect(process: &Process) -> TcpStream {
    let client = TcpStream::connect(process.address()).expect("a connection");
    let timeout = Some(Duration::from_millis(200));
    client.set_write_timeout(timeout).expect("an option");
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_nothing_are_disconnected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = start(folder.path());
    process.ask("GET", "/openapi.yaml", "").await;
    let before = process.memory();
    let mut clients = Vec::new();
    for _ in 0..3 {
        for _ in 0..CLIENTS {
            let client = connect(&process);
            fill_buffers(&client);
            clients.push(client);
        }
        // All connections are taken, so this request waits until one is freed.
        assert_eq!(process.ask("GET", "/livez", "").await.status, 200);
    }
    let grown = process.memory().saturating_sub(before);
    assert!(grown < 30 << 10, "{grown} KiB for clients that do not read");
    process.stop();
}

#[test]
fn a_socket_client_that_reads_nothing_is_disconnected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = start(folder.path());
    let socket = folder.path().join("http.sock");
    let mut client = UnixStream::connect(&socket).expect("a connection");
    client
        .set_write_timeout(Some(Duration::from_millis(200)))
        .expect("an option");
    fill_buffers(&client);
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    std::thread::sleep(Duration::from_secs(3));
    // The rest of the buffers, then the end.
    let mut left = Vec::new();
    let end = client.read_to_end(&mut left);
    assert!(end.is_ok_and(|_| left.len() < 64 << 20) || left.len() < 64 << 20);
    assert!(client.write_all(b"GET /ping HTTP/1.1\r\nHost: test\r\n\r\n").is_err());
    process.stop();
}

#[test]
fn a_slow_reader_receives_all_answers() {
    const ANSWERS: usize = 100;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = start(folder.path());
    let client = connect(&process);
    let requests = "GET /openapi.yaml HTTP/1.1\r\nHost: test\r\n\r\n".repeat(ANSWERS - 1);
    let last = "GET /openapi.yaml HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    (&client).write_all((requests + last).as_bytes()).expect("small");
    let (mut answers, mut buffer) = (Vec::new(), vec![0; 128 << 10]);
    // The whole takes many times the idle timeout, but each pause between reads is well within it.
    eventually("all answers are read", || {
        std::thread::sleep(Duration::from_millis(100));
        match (&client).read(&mut buffer) {
            Ok(0) => Some(()),
            Ok(read) => {
                answers.extend_from_slice(&buffer[..read]);
                None
            }
            Err(cause) => {
                assert_eq!(cause.kind(), ErrorKind::Interrupted, "{cause}");
                None
            }
        }
    });
    let text = String::from_utf8(answers).expect("a text");
    assert_eq!(text.matches("HTTP/1.1 200 ").count(), ANSWERS);
    process.stop();
}
