//! What goes on between the queue and the server, for as long as a connection lives.
//!
//! A connection without traffic may be dead without a sign: firewalls and load balancers drop idle ones silently. So it is
//! pinged every few seconds, and requests that come meanwhile wait for the reply: if there is none, they are known not to
//! have been sent, and go to another connection.

use std::{collections::VecDeque, io, pin::pin, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    select,
    sync::oneshot,
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::store::redis::{
    connection::{
        pipeline::{NoReply, Request, RetryPolicy, Shared},
        resp::Scan,
        socket::error_in,
    },
    error::reason,
};

/// Room for what is read, in bytes: how much there is of it at first, and the least for a further read.
const ROOM: usize = 64 * 1024;
const LEAST: usize = 8 * 1024;

/// A connection is pinged after one to two of these without traffic.
const QUIET: Duration = Duration::from_secs(2);
/// The longest time to wait for the reply to that; a quarter of the time for any other reply if that is less.
const PONG: Duration = Duration::from_secs(1);

/// What is on its way to the server and back.
pub(crate) struct Traffic {
    unsent: Bytes,
    /// Whether something may wait in between us and the system: TLS has a buffer of its own.
    unflushed: bool,
    received: BytesMut,
    pub(crate) asked: VecDeque<Sent>,
    scan: Scan,
    /// Whether anything has come since the last look.
    active: bool,
    /// Whether a ping is under way. Nothing else is then, and nothing is taken from the queue.
    pinging: bool,
    /// All bytes that were taken from the queue, and of them those that the system took.
    taken: u64,
    pub(crate) written: u64,
}

/// A request on its way.
pub(crate) struct Sent {
    /// The place of its first byte among all that were taken.
    pub(crate) begins: u64,
    replies: usize,
    patience: RetryPolicy,
    /// When the connection is taken to be dead, for new requests and for those that can be repeated.
    doubt: Instant,
    due: Instant,
    /// `None` once it is late, and for a ping: its reply is of no use, but will come first.
    pub(crate) reply: Option<oneshot::Sender<Result<Bytes, NoReply>>>,
}

impl Traffic {
    pub(crate) fn new() -> Self {
        Self {
            unsent: Bytes::new(),
            unflushed: false,
            received: BytesMut::with_capacity(ROOM),
            asked: VecDeque::new(),
            scan: Scan::default(),
            active: false,
            pinging: false,
            taken: 0,
            written: 0,
        }
    }

    /// Why the connection has ended.
    pub(crate) async fn flow(&mut self, shared: &Shared, stream: impl AsyncRead + AsyncWrite) -> io::Error {
        let (reader, writer) = tokio::io::split(stream);
        let (mut reader, mut writer) = (pin!(reader), pin!(writer));
        let mut late = pin!(sleep_until(Instant::now()));
        let mut quiet = pin!(sleep_until(Instant::now() + QUIET));
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
                // Before any request: one that comes after a long silence waits for the pong.
                () = &mut quiet => {
                    let now = Instant::now();
                    // A machine that was suspended cannot tell how long the silence was.
                    let overslept = now - quiet.deadline() > QUIET;
                    if self.asked.is_empty() && self.unsent.is_empty() && (overslept || !self.active) {
                        late.as_mut().reset(self.ping(shared, now));
                    }
                    self.active = false;
                    quiet.as_mut().reset(now + QUIET);
                }
                () = shared.filled.notified(), if self.unsent.is_empty() && !self.pinging => {
                    // Whoever has a request here already gets its turn first, and the system its chance to tell of an end.
                    yield_now().await;
                    self.take(shared);
                }
                () = shared.doubted.notified() => self.let_go(),
                () = &mut late, if !self.asked.is_empty() => match self.expire(shared) {
                    Some(next) => late.as_mut().reset(next),
                    None => return io::ErrorKind::TimedOut.into(),
                },
            }
        }
    }

    /// Sends a ping. When its reply is due.
    fn ping(&mut self, shared: &Shared, now: Instant) -> Instant {
        const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
        let due = now + PONG.min(shared.timeout / 4);
        self.asked.push_back(Sent {
            begins: self.taken,
            replies: 1,
            patience: RetryPolicy::Never,
            doubt: due,
            due,
            reply: None,
        });
        self.taken += PING.len() as u64;
        self.unsent = Bytes::from_static(PING);
        self.pinging = true;
        due
    }

    /// Takes what is in the queue, but for what nobody waits for any more.
    fn take(&mut self, shared: &Shared) {
        let (mut bytes, mut requests) = {
            let mut queue = shared.lock();
            // As much as the last time will do.
            let (bytes, requests) = (queue.bytes.len(), queue.requests.len());
            (
                std::mem::replace(&mut queue.bytes, Vec::with_capacity(bytes)),
                std::mem::replace(&mut queue.requests, Vec::with_capacity(requests)),
            )
        };
        if requests.iter().any(|request| request.reply.is_closed()) {
            (bytes, requests) = wanted(&bytes, requests);
        }
        let now = Instant::now();
        let (doubt, due) = (now + shared.timeout / 2, now + shared.timeout);
        for request in requests {
            self.asked.push_back(Sent {
                begins: self.taken,
                replies: request.replies,
                patience: request.patience,
                doubt,
                due,
                reply: Some(request.reply),
            });
            self.taken += request.length as u64;
        }
        self.unsent = bytes.into();
    }

    /// Gives away the replies that are whole.
    fn answer(&mut self) -> io::Result<()> {
        // A pong alone is no traffic.
        self.active |= !self.pinging;
        while !self.received.is_empty() {
            let Some(first) = self.asked.front() else {
                // Such as: too many clients, protected mode.
                let error = error_in(&self.received.split().freeze());
                let said = error.map_or_else(|| "an answer to no question".to_owned(), |error| reason(&error));
                return Err(io::Error::other(said));
            };
            let Some(length) = self.scan.replies(&self.received, first.replies)? else {
                break;
            };
            let bytes = self.received.split_to(length).freeze();
            self.pinging = false;
            if let Some(reply) = self.asked.pop_front().and_then(|sent| sent.reply) {
                // Whoever asked may have gone.
                let _ = reply.send(Ok(bytes));
            }
        }
        Ok(())
    }

    /// Tells those whose replies others wait for that the connection is in doubt.
    fn let_go(&mut self) {
        for sent in self.asked.iter_mut().filter(|sent| sent.patience == RetryPolicy::Yield) {
            if let Some(reply) = sent.reply.take() {
                let _ = reply.send(Err(NoReply::Late));
            }
        }
    }

    /// Tells those who have waited long enough. When the next one will have, `None` if nobody is left: then the server is
    /// taken to be gone.
    fn expire(&mut self, shared: &Shared) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut wake = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        for sent in &mut self.asked {
            if sent.doubt > now {
                // Those behind it came later.
                wake(sent.doubt);
                break;
            }
            shared.give_up();
            if sent.patience != RetryPolicy::Never || sent.due <= now {
                if let Some(reply) = sent.reply.take() {
                    let _ = reply.send(Err(NoReply::Late));
                }
            } else if sent.reply.is_some() {
                wake(sent.due);
            }
        }
        next
    }
}

/// The requests that somebody waits for, and their bytes.
fn wanted(bytes: &[u8], requests: Vec<Request>) -> (Vec<u8>, Vec<Request>) {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut begins = 0;
    let mut requests = requests;
    requests.retain(|request| {
        let ends = begins + request.length;
        let wanted = !request.reply.is_closed();
        if wanted {
            kept.extend_from_slice(&bytes[begins..ends]);
        }
        begins = ends;
        wanted
    });
    (kept, requests)
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
