//! The socket of a client: ends writes that make no progress, and checks on request whether the client is still there.
//!
//! hyper has a timer for the head of a request, none for its own writes. A client that sends requests and never reads an
//! answer would hold its connection forever. The timer here starts when a write finds the send buffer full, and stops with the
//! next byte that the kernel accepts. A connection that never blocks has no timer.
//!
//! The check of the client belongs to [`super::peer`].

use std::{
    io::{self, ErrorKind, Write},
    net,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::{TcpStream, UnixStream},
    time::{Sleep, sleep},
};

use super::peer::{CLOSED, CONNECTED, HALF_CLOSED, Peer};

/// A socket whose readiness flags tokio knows.
pub(super) trait SocketFlags {
    /// The flags, if they are known without a system call.
    fn flags(&self) -> Option<io::Result<Ready>>;
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl SocketFlags for TcpStream {
    fn flags(&self) -> Option<io::Result<Ready>> {
        self.ready(BOTH).now_or_never()
    }
}

impl SocketFlags for UnixStream {
    fn flags(&self) -> Option<io::Result<Ready>> {
        self.ready(BOTH).now_or_never()
    }
}

/// A client's socket. Writes fail with [`ErrorKind::TimedOut`] when they make no progress for `write_limit`.
pub(super) struct ClientSocket<S> {
    socket: S,
    peer: Peer,
    write_limit: Duration,
    /// Runs while a write is blocked.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S: AsFd + SocketFlags> ClientSocket<S> {
    pub(super) fn new(socket: S, peer: Peer, write_limit: Duration) -> Self {
        Self {
            socket,
            peer,
            write_limit,
            write_timer: None,
        }
    }

    #[cold]
    fn check_client(&self) {
        self.peer.record(match self.socket.flags() {
            Some(Ok(flags)) if flags.is_write_closed() => CLOSED,
            Some(Ok(flags)) if flags.is_read_closed() => HALF_CLOSED,
            _ => CONNECTED,
        });
    }

    #[cold]
    fn poll_blocked_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let timer = self
                .write_timer
                .get_or_insert_with(|| Box::pin(sleep(self.write_limit)));
            ready!(timer.as_mut().poll(context));
            self.write_timer = None;
            // Why: Linux reports a socket as writable only once a third of its send buffer is free. A client that reads
            // slowly makes progress long before that, and a write that ignores tokio's readiness sees it.
            match write_now(&self.socket, bytes) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(ErrorKind::TimedOut.into()));
                }
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Poll::Ready(Err(cause)),
            }
        }
    }
}

/// Writes as much as the kernel accepts without blocking.
fn write_now(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // The duplicate shares the non-blocking mode. The same call writes to a Unix socket.
    let mut duplicate = net::TcpStream::from(socket.as_fd().try_clone_to_owned()?);
    duplicate.write(bytes)
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + AsFd + SocketFlags + Unpin> AsyncWrite for ClientSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write(context, bytes) {
            Poll::Ready(outcome) => {
                if self.write_timer.is_some() {
                    self.write_timer = None;
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => self.poll_blocked_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.peer.check_requested() {
            self.check_client();
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
        time::timeout,
    };

    use super::{super::peer::Peer, ClientSocket};

    const LIMIT: Duration = Duration::from_millis(300);
    const TEST_LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_write_that_the_client_never_reads_times_out() {
        let (socket, _client) = UnixStream::pair().expect("sockets");
        let mut socket = ClientSocket::new(socket, Peer::default(), LIMIT);
        let written = timeout(TEST_LIMIT, socket.write_all(&vec![0; 32 << 20])).await;
        let cause = written.expect("the write ends").expect_err("the client does not read");
        assert_eq!(cause.kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_slow_reader_does_not_time_out() {
        const BYTES: usize = 1 << 20;
        let (socket, mut client) = UnixStream::pair().expect("sockets");
        let mut socket = ClientSocket::new(socket, Peer::default(), LIMIT);
        let writing = tokio::spawn(async move { socket.write_all(&vec![0; BYTES]).await });
        let (mut read, mut buffer) = (0, vec![0; 64 << 10]);
        // The pauses add up to far more than the limit, but each of them is shorter.
        while read < BYTES {
            tokio::time::sleep(LIMIT / 6).await;
            read += client.read(&mut buffer).await.expect("the socket accepts bytes");
        }
        writing.await.expect("no panic").expect("each write made progress");
    }
}
