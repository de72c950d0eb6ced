//! One connection on which any number of requests are under way, and what a client library would do to it.
//!
//! Replies come in the order of the requests. Whoever asks adds its commands to what is to be sent, and one task sends all
//! that has gathered in one system call, reads what has come in another, and gives each its reply unread: who asked reads
//! it, on whatever thread that is. The client library, which we use wherever time does not count, wakes its task, calls the
//! system and takes a reply apart for each command.

mod reply;
mod socket;

use std::{
    collections::VecDeque,
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use deadpool_redis::redis::{Cmd, ConnectionInfo, RedisError};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    select,
    sync::{Notify, oneshot},
    task::{AbortHandle, yield_now},
    time::{Instant, sleep_until},
};

pub(super) use self::reply::Reply;
use self::reply::Scan;

/// Room for what is read, in bytes: how much there is of it at first, and the least for a further read.
const ROOM: usize = 64 * 1024;
const LEAST: usize = 8 * 1024;

/// A handle of one connection: cloning it is cheap. The connection ends with the last one.
#[derive(Clone)]
pub(super) struct Wire {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

/// Why there is no reply.
pub(super) enum Lost {
    /// The connection had ended before anything was sent.
    NotSent,
    /// There was none in time.
    Late,
    /// The connection has ended: what was asked may have been done.
    Ended(RedisError),
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
    /// Whether it is of no more use.
    broken: AtomicBool,
    /// The longest time to wait for a reply.
    timeout: Duration,
}

/// What is to be sent.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    requests: Vec<Request>,
    ended: bool,
}

/// Commands whose replies somebody waits for.
struct Request {
    /// How many bytes they have.
    length: usize,
    replies: usize,
    reply: oneshot::Sender<Result<Bytes, Lost>>,
}

/// The task behind all handles.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Wire {
    /// Connects, says who we are and selects the database.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) async fn connect(
        info: &ConnectionInfo,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
    ) -> Result<Self, RedisError> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Notify::new(),
            broken: AtomicBool::new(false),
            timeout,
        });
        let task = match socket::connect(info.addr(), tls).await? {
            socket::Socket::Tcp(stream) => tokio::spawn(shared.clone().serve(stream, true)),
            socket::Socket::Tls(stream) => tokio::spawn(shared.clone().serve(stream, false)),
            socket::Socket::Unix(stream) => tokio::spawn(shared.clone().serve(stream, true)),
        };
        let wire = Self {
            shared,
            _task: Arc::new(Task(task.abort_handle())),
        };
        for cmd in socket::greeting(info.redis_settings()) {
            wire.ask(&[&cmd]).await.map_err(RedisError::from)?.only()?;
        }
        Ok(wire)
    }

    /// The replies to some commands, which nobody else's come between.
    pub(super) async fn ask(&self, commands: &[&Cmd]) -> Result<Reply, Lost> {
        let (reply, receiver) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.ended {
                return Err(Lost::NotSent);
            }
            let before = queue.bytes.len();
            for cmd in commands {
                cmd.write_packed_command(&mut queue.bytes);
            }
            let length = queue.bytes.len() - before;
            queue.requests.push(Request {
                length,
                replies: commands.len(),
                reply,
            });
            if queue.requests.len() == 1 {
                self.shared.filled.notify_one();
            }
        }
        // Whoever serves ends by a panic only.
        receiver.await.unwrap_or_else(|_| Err(Lost::ended())).map(Reply::new)
    }

    /// Notes that the connection is of no more use. Whoever waits for a reply on it may still get one.
    pub(super) fn give_up(&self) {
        self.shared.broken.store(true, Ordering::Release);
    }

    /// Whether it is of no more use, as far as is known.
    pub(super) fn broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }
}

impl Lost {
    fn ended() -> Self {
        Self::Ended(io::Error::from(io::ErrorKind::ConnectionReset).into())
    }
}

impl From<Lost> for RedisError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NotSent => io::Error::from(io::ErrorKind::ConnectionReset).into(),
            Lost::Late => io::Error::from(io::ErrorKind::TimedOut).into(),
            Lost::Ended(error) => error,
        }
    }
}

impl Shared {
    /// A panic under the lock leaves the queue whole enough: whoever waits is told that the connection has ended.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends and reads until the connection ends, and tells all who wait that it has. `exact`: a write that fails has sent
    /// nothing, which TLS cannot say.
    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite, exact: bool) {
        let mut traffic = Traffic::new();
        let why = traffic.flow(&self, stream).await;
        self.broken.store(true, Ordering::Release);
        let left = {
            let mut queue = self.lock();
            queue.ended = true;
            std::mem::take(&mut queue.requests)
        };
        // Whoever asked may have gone.
        for request in left {
            let _ = request.reply.send(Err(Lost::NotSent));
        }
        for sent in traffic.asked {
            let lost = if sent.begins < traffic.written || !exact {
                Lost::Ended(io::Error::new(why.kind(), why.to_string()).into())
            } else {
                Lost::NotSent
            };
            if let Some(reply) = sent.reply {
                let _ = reply.send(Err(lost));
            }
        }
    }
}

/// What is on its way to the server and back.
struct Traffic {
    unsent: Bytes,
    /// Whether something may wait in between us and the system: TLS has a buffer of its own.
    unflushed: bool,
    received: BytesMut,
    asked: VecDeque<Sent>,
    scan: Scan,
    /// All bytes that were taken from the queue, and of them those that the system took.
    taken: u64,
    written: u64,
}

/// A request on its way.
struct Sent {
    /// The place of its first byte among all that were taken.
    begins: u64,
    replies: usize,
    due: Instant,
    /// `None` once it is late: its reply is of no use, but will come first.
    reply: Option<oneshot::Sender<Result<Bytes, Lost>>>,
}

impl Traffic {
    fn new() -> Self {
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
    async fn flow(&mut self, shared: &Shared, stream: impl AsyncRead + AsyncWrite) -> io::Error {
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
