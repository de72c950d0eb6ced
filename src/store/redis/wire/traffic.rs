//! What goes on between the queue and the server, for as long as a connection lives.

use std::{collections::VecDeque, io, pin::pin, sync::atomic::Ordering};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    select,
    sync::oneshot,
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{Lost, Shared, reply::Scan};

/// Room for what is read, in bytes: how much there is of it at first, and the least for a further read.
const ROOM: usize = 64 * 1024;
const LEAST: usize = 8 * 1024;

/// What is on its way to the server and back.
pub(super) struct Traffic {
    unsent: Bytes,
    /// Whether something may wait in between us and the system: TLS has a buffer of its own.
    unflushed: bool,
    received: BytesMut,
    pub(super) asked: VecDeque<Sent>,
    scan: Scan,
    /// All bytes that were taken from the queue, and of them those that the system took.
    taken: u64,
    pub(super) written: u64,
}

/// A request on its way.
pub(super) struct Sent {
    /// The place of its first byte among all that were taken.
    pub(super) begins: u64,
    replies: usize,
    due: Instant,
    /// `None` once it is late: its reply is of no use, but will come first.
    pub(super) reply: Option<oneshot::Sender<Result<Bytes, Lost>>>,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self {
            unsent: Bytes::new(),
            unflushed: false,
            received: BytesMut::with_capacity(ROOM),
            asked: VecDeque::new(),
            scan: Scan::default(),
            taken: 0,
            written: 0,
        }
    }

    /// Why the connection has ended.
    pub(super) async fn flow(&mut self, shared: &Shared, stream: impl AsyncRead + AsyncWrite) -> io::Error {
        let (reader, writer) = tokio::io::split(stream);
        let (mut reader, mut writer) = (pin!(reader), pin!(writer));
        let mut late = pin!(sleep_until(Instant::now()));
        loop {
            self.received.reserve(LEAST);
            select! {
                biased;
                // First: the connection may have ended since it was used last, and what was not sent is not lost.
                read = reader.read_buf(&mut self.received) => match read {
                    Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                    Ok(_) => if let Err(error) = self.answer() {
                        return error;
                    },
                    Err(error) => return error,
                },
                sent = send(&mut writer, &self.unsent), if !self.unsent.is_empty() || self.unflushed => match sent {
                    Ok(count) => {
                        self.written += count as u64;
                        self.unsent.advance(count);
                        self.unflushed = count > 0;
                    }
                    Err(error) => return error,
                },
                () = shared.filled.notified(), if self.unsent.is_empty() => {
                    // Whoever has a request here already gets its turn first, and the system its chance to tell of an end.
                    yield_now().await;
                    self.take(shared);
                }
                () = &mut late, if !self.asked.is_empty() => match self.expire(shared) {
                    Some(next) => late.as_mut().reset(next),
                    None => return io::ErrorKind::TimedOut.into(),
                },
            }
        }
    }

    /// Takes what is in the queue.
    fn take(&mut self, shared: &Shared) {
        let (bytes, requests) = {
            let mut queue = shared.lock();
            // As much as the last time will do.
            let (bytes, requests) = (queue.bytes.len(), queue.requests.len());
            (
                std::mem::replace(&mut queue.bytes, Vec::with_capacity(bytes)),
                std::mem::replace(&mut queue.requests, Vec::with_capacity(requests)),
            )
        };
        let due = Instant::now() + shared.timeout;
        for request in requests {
            self.asked.push_back(Sent {
                begins: self.taken,
                replies: request.replies,
                due,
                reply: Some(request.reply),
            });
            self.taken += request.length as u64;
        }
        self.unsent = bytes.into();
    }

    /// Gives away the replies that are whole.
    fn answer(&mut self) -> io::Result<()> {
        while !self.received.is_empty() {
            let Some(first) = self.asked.front() else {
                return Err(io::Error::other("an answer to no question"));
            };
            let Some(length) = self.scan.replies(&self.received, first.replies)? else {
                break;
            };
            let bytes = self.received.split_to(length).freeze();
            if let Some(reply) = self.asked.pop_front().and_then(|sent| sent.reply) {
                // Whoever asked may have gone.
                let _ = reply.send(Ok(bytes));
            }
        }
        Ok(())
    }

    /// Tells those who have waited long enough. When the next one will have, `None` if nobody is left: then the server is
    /// taken to be gone.
    fn expire(&mut self, shared: &Shared) -> Option<Instant> {
        let now = Instant::now();
        for sent in &mut self.asked {
            if sent.due > now {
                return Some(sent.due);
            }
            shared.broken.store(true, Ordering::Release);
            if let Some(reply) = sent.reply.take() {
                let _ = reply.send(Err(Lost::Late));
            }
        }
        None
    }
}

/// Sends some bytes, or makes sure of those that were sent, and then says 0.
async fn send(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    match writer.write(bytes).await {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        sent => sent,
    }
}
