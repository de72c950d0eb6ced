//! Replaces hyper's own bare error responses by the JSON error of this service.
//!
//! A head that is malformed, too long or has too many headers never becomes a request: hyper writes a bare 400, 414 or 431 and
//! closes. Its bytes are known, so this wrapper replaces them while they are written. The rest of the request may still be
//! arriving, and closing a socket with unread bytes resets the connection, which can destroy the answer before the client
//! reads it. So the wrapper reads on for a moment, within bounds.
//!
//! hyper does not answer the preface of HTTP/2 at all. The wrapper turns it into a request of an unknown version, which hyper
//! refuses as malformed.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::http::error::Error;

/// The beginning of each of hyper's refusals, after the version, and the error that replaces it.
const HYPER_REFUSALS: [(&[u8], Error); 3] = [
    (
        b" 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
        Error::InvalidRequest,
    ),
    (
        b" 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
        Error::UriTooLong,
    ),
    (
        b" 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
        Error::HeadTooLarge,
    ),
];
const VERSION: &[u8] = b"HTTP/1.1";
/// Length of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`, in bytes.
const DATE_LEN: usize = 29;
const END: &[u8] = b"\r\n\r\n";

/// The connection preface of HTTP/2 (RFC 9113, section 3.4), and the position of its version.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HTTP2_VERSION: usize = b"PRI * HTTP/".len();

/// Limits of reading on after a refusal: time, and bytes.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 8 << 20;

/// A stream that replaces bare refusals by JSON errors.
pub(crate) struct EarlyRefusal<S> {
    stream: S,
    /// Whether no byte has been read yet.
    first: bool,
    /// Invariant: set by the last bytes that hyper writes, since a refusal ends the connection.
    refusal: Option<Box<Refusal>>,
}

struct Refusal {
    /// Length of hyper's answer, in bytes.
    replaced: usize,
    text: Vec<u8>,
    written: usize,
    closed: bool,
    /// End of reading on.
    timer: Pin<Box<Sleep>>,
    /// Bytes that may still be read.
    left: usize,
}

impl<S> EarlyRefusal<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            first: true,
            refusal: None,
        }
    }
}

/// Finds a bare refusal at the end of `bytes`: its position, its date, and the error that replaces it.
fn find_refusal(bytes: &[u8]) -> Option<(usize, &[u8], Error)> {
    // Fast path: an answer with a body does not end so.
    if !bytes.ends_with(END) {
        return None;
    }
    HYPER_REFUSALS.iter().find_map(|(head, error)| {
        let date = bytes.len().checked_sub(END.len() + DATE_LEN)?;
        let start = date.checked_sub(head.len() + VERSION.len())?;
        let found = bytes[start..].starts_with(VERSION) && bytes[start + VERSION.len()..].starts_with(head);
        found.then(|| (start, &bytes[date..date + DATE_LEN], error.clone()))
    })
}

impl Refusal {
    fn new(replaced: usize, date: &[u8], error: &Error) -> Self {
        Self {
            replaced,
            text: error.to_http1(date),
            written: 0,
            closed: false,
            timer: Box::pin(sleep(LINGER)),
            left: LINGER_BYTES,
        }
    }

    fn write<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while self.written < self.text.len() {
            let written = ready!(Pin::new(&mut *stream).poll_write(context, &self.text[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        Poll::Ready(Ok(self.replaced))
    }

    /// Closes the sending side, then reads until the client has closed its own or a bound is reached.
    fn close<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
            self.closed = true;
        }
        let mut buffer = [0; 4096];
        while self.left > 0 && self.timer.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                read => self.left = self.left.saturating_sub(read),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for EarlyRefusal<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.first = false;
        let read = &mut buffer.filled_mut()[before..];
        // hyper itself refuses a preface that arrives in pieces.
        if read.starts_with(HTTP2) {
            read[HTTP2_VERSION] = b'x';
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for EarlyRefusal<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.refusal.is_none() {
            match find_refusal(bytes) {
                None => return Pin::new(&mut this.stream).poll_write(context, bytes),
                // Write the answers to earlier requests first.
                Some((start @ 1.., ..)) => return Pin::new(&mut this.stream).poll_write(context, &bytes[..start]),
                Some((0, date, error)) => {
                    this.refusal = Some(Box::new(Refusal::new(bytes.len(), date, &error)));
                }
            }
        }
        match &mut this.refusal {
            Some(refusal) => refusal.write(&mut this.stream, context),
            None => Pin::new(&mut this.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.refusal {
            Some(refusal) => refusal.close(&mut this.stream, context),
            None => Pin::new(&mut this.stream).poll_shutdown(context),
        }
    }
}
