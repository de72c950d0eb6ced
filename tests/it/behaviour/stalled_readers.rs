//! Tests with clients that request a long list and do not read it, and with one id of 50,000 sessions in Redis.

use std::{collections::BTreeSet, time::Duration};

use deadpool_redis::redis::pipe;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{
    process::Process,
    support::{START, Server, Store, json, redis_server, side_by_side},
};

/// Stalled readers of one list. Together they would have to buffer 400 MB: readers times [`SESSIONS`] times [`DATA`].
const READERS: usize = 20;
/// Sessions in the list.
const SESSIONS: usize = 400;
/// Bytes of data in each session.
const DATA: usize = 50_000;

/// Requests a list on a connection with a small receive buffer, and does not read the answer.
async fn stalled_reader(address: &str, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket
        .connect(address.parse().expect("an address"))
        .await
        .expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    stream
}

/// Reads an answer to its end and counts its sessions.
async fn count_sessions(mut stream: TcpStream) -> usize {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{}", &text[..100]);
    assert!(text.contains("]}\r\n0\r\n"), "the answer ended early");
    text.matches(r#"{"id":"ann""#).count()
}

async fn check_stalled_readers(store: Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Process::command(folder.path(), &[]);
    command.envs(store.variables());
    let process = Process::spawn(command);
    let app = process.app();
    let data = format!(r#"{{"x":"{}"}}"#, "x".repeat(DATA));
    let creates = (0..SESSIONS).map(|_| {
        let (app, data) = (app.clone(), data.clone());
        async move { app.create_with("ann", "", &data).await }
    });
    side_by_side(8, creates).await;
    // Read the list once, so that the memory for one fast reader is part of the baseline.
    assert_eq!(app.soid("ann").await.len(), SESSIONS);
    let before = process.memory();
    for path in ["/test-app/soid/ann", "/test-app/soapp?dt=3600"] {
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(stalled_reader(process.address(), path).await);
        }
        // Long enough for a stalled list to release its buffers.
        tokio::time::sleep(Duration::from_secs(7)).await;
        let held = process.memory().saturating_sub(before);
        let whole = (READERS * SESSIONS * DATA / 1024) as u64;
        assert!(
            held < whole / 5,
            "{held} KiB more with {READERS} readers of {path}, {before} before"
        );
        // Other clients are served, and a stalled reader that reads at last gets the whole list.
        app.create("ben").await;
        let late = readers.pop().expect("there are many");
        assert_eq!(count_sessions(late).await, SESSIONS, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_readers_hold_little_memory_on_the_embedded_store() {
    check_stalled_readers(Store::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_readers_hold_little_memory_on_redis() {
    check_stalled_readers(Store::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_readers_hold_little_memory_on_a_cluster() {
    check_stalled_readers(Store::Cluster).await;
}

/// A site may give one id to all visitors that are not logged in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soid_lists_all_50_000_sessions_of_one_id_in_redis() {
    const COUNT: u64 = 50_000;
    let redis = redis_server::start(&[]).expect("a Redis of its own");
    let server = Server::start_with(Store::Redis, |config| config.redis_url = Some(redis.url())).await;
    let prefix = format!("{}:forum:", server.config.namespace);
    let mut connection = redis.connect();
    for chunk in 0..COUNT / 1000 {
        let mut load = pipe();
        for n in chunk * 1000..(chunk + 1) * 1000 {
            // In no particular order, and many in the same second.
            let (second, token) = (START - n % 7, format!("{:010}{n:054}", n * 7919 % COUNT));
            load.cmd("HSET")
                .arg(format!("{prefix}{token}"))
                .arg(&["id", "ann", "r", "1", "w", "1", "ttl", "7200", "ip", "::1"])
                .arg("la")
                .arg(second)
                .arg("d")
                .arg(format!(r#"{{"n":{n}}}"#))
                .ignore();
            load.cmd("SADD").arg(format!("{prefix}us:ann")).arg(token).ignore();
        }
        load.query::<()>(&mut connection).expect("Redis takes it");
    }
    let app = server.app("forum");
    let numbers = |sessions: &[crate::support::Session]| -> Vec<u64> {
        let number = |session: &crate::support::Session| json(session.d())["n"].as_u64().expect("a number");
        sessions.iter().map(number).collect()
    };
    let whole = app.soid("ann").await;
    assert!(whole.iter().map(|session| session.idle).is_sorted());
    let whole = numbers(&whole);
    assert_eq!(whole.iter().copied().collect::<BTreeSet<_>>(), (0..COUNT).collect());
    assert_eq!(whole.len() as u64, COUNT);
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = app.page_of_id("ann", Some(20_000), cursor.as_deref()).await;
        paged.extend(numbers(&page));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, whole);
}
