//! Clients that ask for a long list and do not read it; and an id with very many sessions in Redis.

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

/// Readers that stall, sessions in the list, and bytes of data in each: together 400 MB.
const READERS: usize = 20;
const SESSIONS: usize = 400;
const DATA: usize = 50_000;

/// A connection that takes in hardly anything by itself, after the request for a list.
async fn stalled(address: &str, path: &str) -> TcpStream {
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

/// How many sessions the rest of an answer has.
async fn sessions_of(mut stream: TcpStream) -> usize {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{}", &text[..100]);
    assert!(text.contains("]}\r\n0\r\n"), "the answer broke off");
    text.matches(r#"{"id":"ann""#).count()
}

async fn readers_that_stall_hold_little(store: Store) {
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
    // What it takes for one reader who does read is there.
    assert_eq!(app.soid("ann").await.len(), SESSIONS);
    let before = process.memory();
    for path in ["/test-app/soid/ann", "/test-app/soapp?dt=3600"] {
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(stalled(process.address(), path).await);
        }
        // Long enough for a list to give back what it has in memory.
        tokio::time::sleep(Duration::from_secs(7)).await;
        let held = process.memory().saturating_sub(before);
        let whole = (READERS * SESSIONS * DATA / 1024) as u64;
        assert!(
            held < whole / 5,
            "{held} KiB more with {READERS} readers of {path}, {before} before"
        );
        // Others are served, and who reads at last is given the whole list.
        app.create("ben").await;
        let late = readers.pop().expect("there are many");
        assert_eq!(sessions_of(late).await, SESSIONS, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stall_hold_little_embedded() {
    readers_that_stall_hold_little(Store::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stall_hold_little_redis() {
    readers_that_stall_hold_little(Store::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stall_hold_little_cluster() {
    readers_that_stall_hold_little(Store::Cluster).await;
}

/// As sessions of visitors who are not logged in are, when all have one id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_with_50_000_sessions_in_redis_is_listed_whole() {
    const COUNT: u64 = 50_000;
    let redis = redis_server::start(&[]).expect("a Redis of its own");
    let server = Server::start_with(Store::Redis, |config| config.redis_url = Some(redis.url())).await;
    let prefix = format!("{}:forum:", server.config.namespace);
    let mut connection = redis.connect();
    for chunk in 0..COUNT / 1000 {
        let mut load = pipe();
        for n in chunk * 1000..(chunk + 1) * 1000 {
            // In no order, and many in each second.
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
