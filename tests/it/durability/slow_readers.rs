//! A full disk while clients read a long list slowly, or not at all: the engine is reopened as soon as there is room, and the
//! list goes on from the new one.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::oneshot,
};

use super::{
    full_disk::{done, ready},
    small_disk::SmallDisk,
    used_folder::noise,
};
use crate::{
    process::Process,
    support::{eventually, side_by_side},
};

/// Sessions in the list, and bytes of data in each: more than the sockets' buffers and a part of the list take.
const SESSIONS: usize = 500;
const DATA: usize = 30_000;

/// Asks for the list on a connection with a small receive buffer.
async fn ask(process: &Process) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let address = process.address().parse().expect("an address");
    let mut stream = socket.connect(address).await.expect("a connection");
    let request = b"GET /test-app/soapp?dt=3600 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("the server reads");
    stream
}

/// Reads 3 KB a second until `hurry`, and then the rest. Answers the whole text.
async fn read_slowly(mut stream: TcpStream, mut hurry: oneshot::Receiver<()>) -> String {
    let (mut text, mut some) = (Vec::new(), [0; 300]);
    while hurry.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
        let count = stream.read(&mut some).await.expect("an answer");
        assert_ne!(count, 0, "the answer ended early");
        text.extend_from_slice(&some[..count]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stream.read_to_end(&mut text).await.expect("an answer");
    String::from_utf8(text).expect("a text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_does_not_keep_the_engine_from_being_reopened() {
    let disk = SmallDisk::new(120);
    let process = disk.serve();
    let creates = (0..SESSIONS).map(|n| {
        let app = process.app();
        async move {
            let body = format!(r#"{{"noise":"{}"}}"#, noise(DATA));
            app.create_with(&format!("user-{n}"), "", &body).await
        }
    });
    side_by_side(8, creates).await;
    let (hurry, hurried) = oneshot::channel();
    let slow = tokio::spawn(read_slowly(ask(&process).await, hurried));
    let _stalled = ask(&process).await;

    disk.fill(0);
    let full = async || {
        let body = format!(r#"{{"noise":"{}"}}"#, noise(2000));
        !done(&process.ask("PUT", "/test-app/create/late?ip=::1", &body).await)
    };
    eventually("the disk is full", full).await;
    eventually("it is noticed", async || !ready(&process).await).await;
    disk.free();
    let freed = Instant::now();
    eventually("service again", async || ready(&process).await).await;
    // A generous bound: with a reader that holds the engine, it takes for as long as the reader does, more than an hour.
    assert!(freed.elapsed() < Duration::from_secs(45), "{:?}", freed.elapsed());

    assert!(!slow.is_finished());
    hurry.send(()).expect("it still reads");
    let text = slow.await.expect("no panic");
    assert!(text.starts_with("HTTP/1.1 200"), "{}", &text[..100]);
    assert!(text.contains("]}\r\n0\r\n"), "the answer broke off");
    for n in 0..SESSIONS {
        assert_eq!(text.matches(&format!(r#""id":"user-{n}""#)).count(), 1, "user-{n}");
    }
    process.stop();
}
