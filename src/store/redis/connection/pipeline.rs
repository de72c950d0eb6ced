//! One connection on which any number of requests are under way, and what a client library would do to it.
//!
//! Replies come in the order of the requests. Whoever asks adds its commands to what is to be sent, and one task sends all
//! that has gathered in one system call, reads what has come in another, and gives each its reply unread: who asked reads
//! it, on whatever thread that is. The client library, which we use wherever time does not count, wakes its task, calls the
//! system and takes a reply apart for each command.

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

use crate::store::redis::connection::{
    explain::{self, Attempt},
    happy_eyeballs,
    resp::RawReply,
    socket::{self, Socket},
    traffic::Traffic,
};

/// A handle of one connection: cloning it is cheap. The connection ends with the last one.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

/// How long a reply is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryPolicy {
    /// The whole time: what is asked must not be done twice.
    Never,
    /// Half of it, so that the other half is left to ask again on another connection.
    AfterHalf,
    /// The same, and not even that on a connection that did not reply to others: they wait for this, on other connections.
    Yield,
}

/// Why there is no reply.
pub(crate) enum NoReply {
    /// The connection had ended before anything was sent.
    NotSent,
    /// There was none in time.
    Late,
    /// The connection has ended: what was asked may have been done.
    Ended(RedisError),
}

pub(crate) struct Shared {
    queue: Mutex<Queue>,
    pub(crate) filled: Notify,
    /// Told when the connection is given up.
    pub(crate) doubted: Notify,
    /// Whether it is of no more use.
    broken: AtomicBool,
    /// The longest time to wait for a reply.
    pub(crate) timeout: Duration,
}

/// What is to be sent.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) bytes: Vec<u8>,
    pub(crate) requests: Vec<Request>,
    ended: bool,
}

/// Commands whose replies somebody waits for.
pub(crate) struct Request {
    /// How many bytes they have.
    pub(crate) length: usize,
    pub(crate) replies: usize,
    pub(crate) patience: RetryPolicy,
    pub(crate) reply: oneshot::Sender<Result<Bytes, NoReply>>,
}

/// The task behind all handles.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects to the first address of the name that serves, says who we are and selects the database.
    ///
    /// All of it takes nine tenths of `timeout` at most, so that the error tells what was tried before the caller gives up. Each
    /// reply after that has `patience`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) async fn connect(
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
        let found = happy_eyeballs::first(addresses, deadline, connect).await;
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
        let connection = Self {
            shared,
            _task: Arc::new(Task(task.abort_handle())),
        };
        for cmd in socket::greeting(settings) {
            connection
                .ask(&[&cmd], RetryPolicy::Never)
                .await
                .map_err(RedisError::from)?
                .only()?;
        }
        Ok(connection)
    }

    /// The replies to some commands, which nobody else's come between.
    pub(crate) async fn ask(&self, commands: &[&Cmd], patience: RetryPolicy) -> Result<RawReply, NoReply> {
        let write = |bytes: &mut Vec<u8>| {
            for cmd in commands {
                cmd.write_packed_command(bytes);
            }
        };
        self.ask_written(commands.len(), patience, write).await
    }

    /// The same for so many commands that `write` adds to what is to be sent.
    pub(crate) async fn ask_written(
        &self,
        count: usize,
        patience: RetryPolicy,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<RawReply, NoReply> {
        let (reply, receiver) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.ended {
                return Err(NoReply::NotSent);
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
        let bytes = receiver.await.unwrap_or_else(|_| Err(NoReply::ended()))?;
        Ok(RawReply::on(self.shared.clone(), bytes))
    }

    /// Notes that the connection is of no more use. Whoever waits for a reply on it may still get one.
    pub(crate) fn give_up(&self) {
        self.shared.give_up();
    }

    /// Whether it is of no more use, as far as is known.
    pub(crate) fn broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }
}

impl NoReply {
    fn ended() -> Self {
        Self::Ended(io::Error::from(io::ErrorKind::ConnectionReset).into())
    }
}

impl From<NoReply> for RedisError {
    fn from(lost: NoReply) -> Self {
        match lost {
            NoReply::NotSent => io::Error::from(io::ErrorKind::ConnectionReset).into(),
            NoReply::Late => io::Error::from(io::ErrorKind::TimedOut).into(),
            NoReply::Ended(error) => error,
        }
    }
}

impl Shared {
    /// Nothing that is done under the lock panics.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn give_up(&self) {
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
            let _ = request.reply.send(Err(NoReply::NotSent));
        }
        for sent in traffic.asked {
            let lost = if sent.begins < traffic.written || !exact {
                NoReply::Ended(io::Error::new(why.kind(), why.to_string()).into())
            } else {
                NoReply::NotSent
            };
            if let Some(reply) = sent.reply {
                let _ = reply.send(Err(lost));
            }
        }
    }
}
