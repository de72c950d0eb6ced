//! One connection on which any number of requests are under way, and what a client library would do to it.
//!
//! Replies come in the order of the requests. Whoever asks adds its commands to what is to be sent, and one task sends all
//! that has gathered in one system call, reads what has come in another, and gives each its reply unread: who asked reads
//! it, on whatever thread that is. The client library, which we use wherever time does not count, wakes its task, calls the
//! system and takes a reply apart for each command.

mod addresses;
mod explain;
mod reply;
mod socket;
mod traffic;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use deadpool_redis::redis::{Cmd, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, RedisError};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{UnixStream, lookup_host},
    sync::{Notify, oneshot},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

pub(super) use self::{
    explain::Attempt,
    reply::Reply,
    socket::{UNACKNOWLEDGED, keepalive},
};
use self::{socket::Socket, traffic::Traffic};

/// A handle of one connection: cloning it is cheap. The connection ends with the last one.
#[derive(Clone)]
pub(super) struct Wire {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

/// How long a reply is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// The whole time: what is asked must not be done twice.
    Whole,
    /// Half of it, so that the other half is left to ask again on another connection.
    Half,
    /// The same, and not even that on a connection that did not reply to others: they wait for this, on other connections.
    Least,
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
    /// Told when the connection is given up.
    doubted: Notify,
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
    patience: Patience,
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
    /// Connects to the first address of the name that serves, says who we are and selects the database.
    ///
    /// All of it takes nine tenths of `timeout` at most, so that the error tells what was tried before the caller gives up. Each
    /// reply after that has `patience`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) async fn connect(
        info: &ConnectionInfo,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
        patience: Duration,
    ) -> Result<Self, RedisError> {
        let deadline = Instant::now() + timeout * 9 / 10;
        let settings = info.redis_settings();
        let (host, port, tls) = match (info.addr(), tls) {
            (ConnectionAddr::Tcp(host, port), _) => (host, *port, None),
            (ConnectionAddr::TcpTls { host, port, .. }, Some(config)) => (host, *port, Some(config)),
            (ConnectionAddr::Unix(path), _) => {
                let open =
                    async { Self::greet(Socket::Unix(UnixStream::connect(path).await?), settings, patience).await };
                let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
                return timeout_at(deadline, open).await.unwrap_or_else(|_| late());
            }
            _ => return Err(io::Error::other("no way to connect to such an address").into()),
        };
        let attempt = Attempt {
            host,
            port,
            tls: tls.is_some(),
        };
        let addresses = match timeout_at(deadline, lookup_host((host.as_str(), port))).await {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => return Err(attempt.error(&error.to_string())),
            Err(_) => return Err(attempt.error("the name is not resolved in time")),
        };
        let connect = async |address| {
            let tls = tls.as_ref().map(|config| (config, host.as_str()));
            let secured = tls.is_some();
            let opened = match socket::connect(address, tls).await {
                Ok(socket) => Self::greet(socket, settings, patience).await,
                Err(error) => Err(error.into()),
            };
            match opened {
                Err(error) if !secured && explain::ended(&error) => {
                    Err(socket::last_words(address).await.unwrap_or(error))
                }
                opened => opened,
            }
        };
        let found = addresses::first(addresses, deadline, connect).await;
        found.map_err(|tried| attempt.failed(tried))
    }

    /// Begins to serve a socket, and with the first commands.
    async fn greet(socket: Socket, settings: &RedisConnectionInfo, timeout: Duration) -> Result<Self, RedisError> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Notify::new(),
            doubted: Notify::new(),
            broken: AtomicBool::new(false),
            timeout,
        });
        let task = match socket {
            Socket::Tcp(stream) => tokio::spawn(shared.clone().serve(stream, true)),
            Socket::Tls(stream) => tokio::spawn(shared.clone().serve(stream, false)),
            Socket::Unix(stream) => tokio::spawn(shared.clone().serve(stream, true)),
        };
        let wire = Self {
            shared,
            _task: Arc::new(Task(task.abort_handle())),
        };
        for cmd in socket::greeting(settings) {
            wire.ask(&[&cmd], Patience::Whole)
                .await
                .map_err(RedisError::from)?
                .only()?;
        }
        Ok(wire)
    }

    /// The replies to some commands, which nobody else's come between.
    pub(super) async fn ask(&self, commands: &[&Cmd], patience: Patience) -> Result<Reply, Lost> {
        let write = |bytes: &mut Vec<u8>| {
            for cmd in commands {
                cmd.write_packed_command(bytes);
            }
        };
        self.ask_written(commands.len(), patience, write).await
    }

    /// The same for so many commands that `write` adds to what is to be sent.
    pub(super) async fn ask_written(
        &self,
        count: usize,
        patience: Patience,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Reply, Lost> {
        let (reply, receiver) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.ended {
                return Err(Lost::NotSent);
            }
            let before = queue.bytes.len();
            write(&mut queue.bytes);
            let length = queue.bytes.len() - before;
            queue.requests.push(Request {
                length,
                replies: count,
                patience,
                reply,
            });
            if queue.requests.len() == 1 {
                self.shared.filled.notify_one();
            }
        }
        // Whoever serves ends by a panic only.
        let bytes = receiver.await.unwrap_or_else(|_| Err(Lost::ended()))?;
        Ok(Reply::on(self.shared.clone(), bytes))
    }

    /// Notes that the connection is of no more use. Whoever waits for a reply on it may still get one.
    pub(super) fn give_up(&self) {
        self.shared.give_up();
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
    /// Nothing that is done under the lock panics.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self) {
        self.broken.store(true, Ordering::Release);
        self.doubted.notify_one();
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
