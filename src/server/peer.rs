//! Drops a request whose client has left.
//!
//! hyper keeps a connection whose client has closed its sending side, because a client may do that and still read the answer
//! (RFC 9112, 9.6). A client that has closed its socket looks the same on TCP until something is sent to it. So both get an
//! answer if it begins soon; a search through a long list ends early, and no longer takes turns from other requests.
//!
//! A request that takes longer than [`LOOK`] looks at the flags of its socket now and then, and reads nothing from it. hyper owns
//! the socket, but flushes it after each poll of a handler, and the look is made there: a quick request costs one relaxed
//! load for each flush.
//!
//! The end of a client that has pipelined more than the socket's buffers take arrives only when they are read.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::{TcpStream, UnixStream},
    time::Instant,
};

use super::idle_timer::IdleTimer;

/// From the beginning of a request to the first look at its client, and from one look to the next.
const LOOK: Duration = Duration::from_secs(1);

/// The client has left, and its request is dropped.
#[derive(Debug)]
pub(crate) struct Left;

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the client left before its answer began")
    }
}

impl std::error::Error for Left {}

/// What is known of the client of a connection. Each value is one of the constants below.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer(Arc<AtomicU8>);

/// Nothing is wrong with it.
const STAYS: u8 = 0;
/// The next flush is to look at it.
const ASKED: u8 = 1;
/// It has closed its sending side, and perhaps all of its socket.
const ENDED: u8 = 2;
/// It has closed its socket.
const GONE: u8 = 3;

impl Peer {
    /// Waits for an answer. Fails once the client is surely gone, or if the answer takes longer than `patience` after the
    /// client was found to have closed its sending side.
    pub(crate) async fn attend<T>(
        &self,
        timer: &IdleTimer,
        patience: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, Left> {
        let mut answer = pin!(answer);
        let (mut wait, mut asked, mut ended) = (None, false, false);
        std::future::poll_fn(move |context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Ok(answer));
            }
            if asked {
                match self.0.load(Relaxed) {
                    GONE => return Poll::Ready(Err(Left)),
                    ENDED => {
                        (asked, ended) = (false, true);
                        wait = Some(timer.wait(Instant::now() + patience));
                    }
                    _ => {}
                }
            }
            let waiting = wait.get_or_insert_with(|| timer.wait(Instant::now() + LOOK));
            ready!(Pin::new(waiting).poll(context));
            if ended {
                return Poll::Ready(Err(Left));
            }
            self.0.store(ASKED, Relaxed);
            asked = true;
            wait = None;
            // The flush comes before the next poll, which sees what was found and sets the timer.
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }
}

/// The flags that tokio has of a socket.
pub(crate) trait Flags {
    /// What is known without asking the system, if anything.
    fn flags(&self) -> Option<io::Result<Ready>>;
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl Flags for TcpStream {
    fn flags(&self) -> Option<io::Result<Ready>> {
        self.ready(BOTH).now_or_never()
    }
}

impl Flags for UnixStream {
    fn flags(&self) -> Option<io::Result<Ready>> {
        self.ready(BOTH).now_or_never()
    }
}

/// A socket that is looked at when its [`Peer`] asks for it.
pub(crate) struct Observed<S> {
    socket: S,
    peer: Peer,
}

impl<S: Flags> Observed<S> {
    pub(crate) fn new(socket: S, peer: Peer) -> Self {
        Self { socket, peer }
    }

    #[cold]
    fn look(&self) {
        let found = match self.socket.flags() {
            Some(Ok(flags)) if flags.is_write_closed() => GONE,
            Some(Ok(flags)) if flags.is_read_closed() => ENDED,
            _ => STAYS,
        };
        self.peer.0.store(found, Relaxed);
    }
}

impl<S: AsFd> AsFd for Observed<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Flags + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.peer.0.load(Relaxed) == ASKED {
            self.look();
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

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

    use super::super::idle_timer::IdleTimer;
    use super::{Flags, LOOK, Observed, Peer};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    const PATIENCE: Duration = Duration::from_secs(20);
    const HOUR: Duration = Duration::from_hours(1);

    /// Serves a connection with answers that take so long, and `patience` with a client that has closed its sending side.
    /// The receiver ends with the first request.
    fn serve<S>(socket: S, takes: Duration, patience: Duration) -> oneshot::Receiver<()>
    where
        S: Flags + tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Sync + Unpin + 'static,
    {
        let (running, ended) = oneshot::channel::<()>();
        let running = Arc::new(std::sync::Mutex::new(Some(running)));
        let (peer, timer) = (Peer::default(), IdleTimer::new());
        let socket = TokioIo::new(Observed::new(socket, peer.clone()));
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
                async move { peer.attend(&timer, patience, answer).await }
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

    async fn is_dropped(ended: oneshot::Receiver<()>) {
        assert!(timeout(PATIENCE, ended).await.is_ok(), "it goes on");
    }

    async fn goes_on(ended: &mut oneshot::Receiver<()>) {
        assert!(timeout(LOOK * 3, ended).await.is_err(), "it was dropped");
    }

    #[tokio::test]
    async fn a_client_that_closed_its_tcp_socket_ends_its_request() {
        let (socket, mut client) = tcp().await;
        let ended = serve(socket, HOUR, Duration::from_millis(100));
        client.write_all(REQUEST).await.expect("it is written");
        drop(client);
        is_dropped(ended).await;
    }

    /// Bytes that hyper has not read come before the end; the socket has room for them.
    #[tokio::test]
    async fn so_does_one_that_has_sent_more() {
        let (socket, mut client) = tcp().await;
        let ended = serve(socket, HOUR, Duration::from_millis(100));
        client.write_all(&REQUEST.repeat(1_000)).await.expect("it is written");
        drop(client);
        is_dropped(ended).await;
    }

    #[tokio::test]
    async fn a_client_that_closed_its_unix_socket_is_surely_gone() {
        let (socket, mut client) = UnixStream::pair().expect("sockets");
        let ended = serve(socket, HOUR, HOUR);
        client.write_all(REQUEST).await.expect("it is written");
        drop(client);
        is_dropped(ended).await;
    }

    #[tokio::test]
    async fn a_closed_sending_side_of_a_unix_socket_has_its_time() {
        let (socket, mut client) = UnixStream::pair().expect("sockets");
        let mut ended = serve(socket, HOUR, HOUR);
        client.write_all(REQUEST).await.expect("it is written");
        client.shutdown().await.expect("it is closed");
        goes_on(&mut ended).await;

        let (socket, mut client) = UnixStream::pair().expect("sockets");
        let ended = serve(socket, HOUR, Duration::from_millis(100));
        client.write_all(REQUEST).await.expect("it is written");
        client.shutdown().await.expect("it is closed");
        is_dropped(ended).await;
    }

    #[tokio::test]
    async fn a_client_that_stays_waits_as_long_as_it_likes() {
        let (socket, mut client) = tcp().await;
        let mut ended = serve(socket, HOUR, Duration::from_millis(100));
        client.write_all(&REQUEST.repeat(2)).await.expect("it is written");
        goes_on(&mut ended).await;
    }

    #[tokio::test]
    async fn a_slow_answer_reaches_a_client_that_sends_no_more() {
        let (socket, mut client) = tcp().await;
        // Two on one connection: nothing of the second is lost by the looks at the first.
        let _ended = serve(socket, LOOK * 3 / 2, HOUR);
        client.write_all(&REQUEST.repeat(2)).await.expect("it is written");
        client.shutdown().await.expect("it is closed");
        let mut answers = String::new();
        let read = timeout(PATIENCE, client.read_to_string(&mut answers)).await;
        read.expect("an end").expect("a text");
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
        assert!(answers.ends_with("done"), "{answers}");
    }
}
