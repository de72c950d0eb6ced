//! Ends a connection whose client does not read.
//!
//! hyper has a timer for the head of a request, none for its own writes: a client that sends requests and reads no answer
//! would hold its connection, and one of the slots for connections, forever. The timer here starts when a write finds the
//! send buffer full, and stops with the next byte that the kernel takes. A connection that never blocks has no timer.

use std::{
    io::{self, ErrorKind, Write},
    net,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A socket whose writes fail with [`ErrorKind::TimedOut`] when they make no progress for `limit`.
pub(crate) struct WriteTimeout<S> {
    socket: S,
    limit: Duration,
    /// Runs while a write is blocked.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S: AsFd> WriteTimeout<S> {
    pub(crate) fn new(socket: S, limit: Duration) -> Self {
        Self {
            socket,
            limit,
            timer: None,
        }
    }

    #[cold]
    fn blocked(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
            ready!(timer.as_mut().poll(context));
            self.timer = None;
            // Why: Linux reports a socket as writable only once a third of its send buffer is free. A client that reads
            // slowly makes progress long before that, and a write beside tokio's readiness sees it.
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

/// Writes what the kernel takes at once.
fn write_now(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // The duplicate shares the non-blocking mode. A Unix socket is written to in the same way.
    let mut duplicate = net::TcpStream::from(socket.as_fd().try_clone_to_owned()?);
    duplicate.write(bytes)
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + AsFd + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write(context, bytes) {
            Poll::Ready(outcome) => {
                if self.timer.is_some() {
                    self.timer = None;
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => self.blocked(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    use super::WriteTimeout;

    const LIMIT: Duration = Duration::from_millis(300);
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_write_that_nothing_takes_ends() {
        let (socket, _client) = UnixStream::pair().expect("sockets");
        let mut socket = WriteTimeout::new(socket, LIMIT);
        let written = timeout(PATIENCE, socket.write_all(&vec![0; 32 << 20])).await;
        let cause = written.expect("it ends").expect_err("nothing reads");
        assert_eq!(cause.kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn slow_progress_is_progress() {
        const BYTES: usize = 1 << 20;
        let (socket, mut client) = UnixStream::pair().expect("sockets");
        let mut socket = WriteTimeout::new(socket, LIMIT);
        let writing = tokio::spawn(async move { socket.write_all(&vec![0; BYTES]).await });
        let (mut read, mut buffer) = (0, vec![0; 64 << 10]);
        // Longer in sum than the limit by far, each pause is shorter.
        while read < BYTES {
            tokio::time::sleep(LIMIT / 6).await;
            read += client.read(&mut buffer).await.expect("it is written");
        }
        writing.await.expect("no panic").expect("each write made progress");
    }
}
