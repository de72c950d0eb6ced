//! Drops a request whose client has left.
//!
//! hyper keeps a connection whose client has closed its sending side, because a client may do that and still read the answer
//! (RFC 9112, 9.6). A client that has closed its socket looks the same on TCP until something is sent to it. So both get an
//! answer if it begins soon; a search through a long list ends early, and no longer takes turns from other requests.
//!
//! A request that takes longer than [`LOOK`] looks at the flags of its socket now and then, and reads nothing from it. hyper owns
//! the socket, but flushes it after each poll of a handler, and the look is made there: a quick request costs one relaxed
//! load for each flush.

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

use crate::timer::Timer;

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
        timer: &Timer,
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
