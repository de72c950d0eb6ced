use std::{os::fd::AsFd, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::oneshot,
    time::timeout,
};

use super::{
    super::{
        client_socket::{ClientSocket, SocketFlags},
        idle_timer::IdleTimer,
    },
    CHECK_INTERVAL, Peer,
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const TEST_LIMIT: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_hours(1);

/// Serves a connection whose answers take `takes`. The receiver resolves when the first request ends.
fn serve<S>(socket: S, takes: Duration, half_close_limit: Duration) -> oneshot::Receiver<()>
where
    S: SocketFlags + AsFd + tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Sync + Unpin + 'static,
{
    let (running, ended) = oneshot::channel::<()>();
    let running = Arc::new(std::sync::Mutex::new(Some(running)));
    let (peer, timer) = (Peer::default(), IdleTimer::new());
    let socket = TokioIo::new(ClientSocket::new(socket, peer.clone(), HOUR));
    let service_timer = timer.clone();
    tokio::spawn(async move {
        let service = service_fn(move |_: Request<Incoming>| {
            let (peer, timer) = (peer.clone(), service_timer.clone());
            let running = running.lock().expect("no panic").take();
            let answer = async move {
                tokio::time::sleep(takes).await;
                drop(running);
                Response::new(Body::from("done"))
            };
            async move { peer.attend(&timer, half_close_limit, answer).await }
        });
        let mut http = http1::Builder::new();
        http.half_close(true).header_read_timeout(HOUR).timer(timer);
        let _ = http.serve_connection(socket, service).await;
    });
    ended
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).await;
    (
        listener.accept().await.expect("a connection").0,
        client.expect("a connection"),
    )
}

async fn assert_dropped(ended: oneshot::Receiver<()>) {
    assert!(timeout(TEST_LIMIT, ended).await.is_ok(), "the request still runs");
}

async fn assert_still_running(ended: &mut oneshot::Receiver<()>) {
    assert!(
        timeout(CHECK_INTERVAL * 3, ended).await.is_err(),
        "the request was dropped"
    );
}

#[tokio::test]
async fn closing_a_tcp_socket_drops_the_request() {
    let (socket, mut client) = tcp().await;
    let ended = serve(socket, HOUR, Duration::from_millis(100));
    client.write_all(REQUEST).await.expect("it is written");
    drop(client);
    assert_dropped(ended).await;
}

/// Requests that hyper has not read precede the end; the socket buffers them.
#[tokio::test]
async fn closing_a_tcp_socket_with_pipelined_requests_drops_the_request() {
    let (socket, mut client) = tcp().await;
    let ended = serve(socket, HOUR, Duration::from_millis(100));
    client.write_all(&REQUEST.repeat(1_000)).await.expect("it is written");
    drop(client);
    assert_dropped(ended).await;
}

#[tokio::test]
async fn closing_a_unix_socket_drops_the_request_at_once() {
    let (socket, mut client) = UnixStream::pair().expect("sockets");
    let ended = serve(socket, HOUR, HOUR);
    client.write_all(REQUEST).await.expect("it is written");
    drop(client);
    assert_dropped(ended).await;
}

#[tokio::test]
async fn a_half_closed_unix_socket_has_until_its_limit() {
    let (socket, mut client) = UnixStream::pair().expect("sockets");
    let mut ended = serve(socket, HOUR, HOUR);
    client.write_all(REQUEST).await.expect("it is written");
    client.shutdown().await.expect("it is closed");
    assert_still_running(&mut ended).await;

    let (socket, mut client) = UnixStream::pair().expect("sockets");
    let ended = serve(socket, HOUR, Duration::from_millis(100));
    client.write_all(REQUEST).await.expect("it is written");
    client.shutdown().await.expect("it is closed");
    assert_dropped(ended).await;
}

#[tokio::test]
async fn a_connected_client_may_wait_without_limit() {
    let (socket, mut client) = tcp().await;
    let mut ended = serve(socket, HOUR, Duration::from_millis(100));
    client.write_all(&REQUEST.repeat(2)).await.expect("it is written");
    assert_still_running(&mut ended).await;
}

#[tokio::test]
async fn a_half_closed_client_gets_its_slow_answers() {
    let (socket, mut client) = tcp().await;
    // Two requests on one connection: the checks during the first lose nothing of the second.
    let _ended = serve(socket, CHECK_INTERVAL * 3 / 2, HOUR);
    client.write_all(&REQUEST.repeat(2)).await.expect("it is written");
    client.shutdown().await.expect("it is closed");
    let mut answers = String::new();
    let read = timeout(TEST_LIMIT, client.read_to_string(&mut answers)).await;
    read.expect("an end").expect("a text");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.ends_with("done"), "{answers}");
}
