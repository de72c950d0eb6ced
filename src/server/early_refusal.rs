//! Puts the JSON error into the refusals that hyper writes before a request reaches the service.
//!
//! A head that is malformed, too long or has too many headers never becomes a request: hyper writes a bare 400, 414 or
//! 431 and closes. Its answer is known to the byte, and is replaced on its way out. The rest of the request may still be
//! arriving, and closing a socket with unread bytes resets the connection, which can destroy the answer before the client
//! reads it: so the connection is read on for a moment, within bounds.
//!
//! To the preface of HTTP/2 hyper answers nothing. It is made a request of an unknown version, which is malformed.

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

/// What hyper's refusals begin with, after the version, and the error that each means.
const HEADS: [(&[u8], Error); 3] = [
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
/// Bytes of a date, as in `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE: usize = 29;
const END: &[u8] = b"\r\n\r\n";

/// What a client sends first that knows its server to speak HTTP/2 (RFC 9113, 3.4), and where it has the version.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HTTP2_VERSION: usize = b"PRI * HTTP/".len();

/// How long and how much to read on after a refusal.
const LINGER: Duration = Duration::from_secs(2);
const MOST: usize = 8 << 20;

/// A stream whose bare refusals become JSON.
pub(crate) struct EarlyRefusal<S> {
    stream: S,
    /// Whether nothing was read yet.
    first: bool,
    /// Invariant: set only by the last bytes that hyper writes, since a refusal ends the connection.
    refusal: Option<Box<Refusal>>,
}

struct Refusal {
    /// Bytes of hyper's answer that the text replaces.
    replaced: usize,
    text: Vec<u8>,
    written: usize,
    closed: bool,
    /// Read on until then, and for at most so many bytes.
    timer: Pin<Box<Sleep>>,
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

/// Where in `bytes` a bare refusal begins, its date, and what it means.
fn bare(bytes: &[u8]) -> Option<(usize, &[u8], Error)> {
    // Answers with a body end here, and those are nearly all.
    if !bytes.ends_with(END) {
        return None;
    }
    HEADS.iter().find_map(|(head, error)| {
        let date = bytes.len().checked_sub(END.len() + DATE)?;
        let start = date.checked_sub(head.len() + VERSION.len())?;
        let found = bytes[start..].starts_with(VERSION) && bytes[start + VERSION.len()..].starts_with(head);
        found.then(|| (start, &bytes[date..date + DATE], error.clone()))
    })
}

impl Refusal {
    fn new(replaced: usize, date: &[u8], error: &Error) -> Self {
        Self {
            replaced,
            text: error.http(date),
            written: 0,
            closed: false,
            timer: Box::pin(sleep(LINGER)),
            left: MOST,
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
        // One that comes in parts hyper refuses itself.
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
            match bare(bytes) {
                None => return Pin::new(&mut this.stream).poll_write(context, bytes),
                // Answers to earlier requests come first.
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
