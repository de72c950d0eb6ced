//! One connection: how it is made, and how it is found to be of no more use.
//!
//! Its reader marks it the moment it ends, so that a connection that died while idle costs no request.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{self, RecycleError, RecycleResult};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, PushInfo, PushKind, RedisError, Value, aio::MultiplexedConnection,
    cmd,
};

use super::sentinel::Sentinels;

/// A connection that was silent for longer may have ended without its reader having had a turn to notice, in milliseconds.
const SILENT: u64 = 2;

/// A handle of one connection.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    state: Arc<State>,
}

/// What is known of one connection.
struct State {
    /// Where the sentinels said that its server is; empty without sentinels.
    address: String,
    /// Whether it is of no more use.
    broken: AtomicBool,
    /// When it was handed out last, in milliseconds since the pool was made.
    used: AtomicU64,
    /// When it was handed out first after its last reply, in the same milliseconds and 1 more; 0 if no reply is awaited.
    waiting: AtomicU64,
}

impl Link {
    /// Notes that this handle is about to be used at `now`, in milliseconds since the pool was made. False if the
    /// connection turns out to be of no more use.
    pub(super) async fn ready(&self, now: u64, timeout: Duration) -> bool {
        if now.saturating_sub(self.state.used.swap(now, Ordering::Relaxed)) > SILENT {
            // One turn for the runtime to hear of an end, one for the reader to act on it.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        match self.state.waiting.load(Ordering::Relaxed) {
            0 => self.state.waiting.store(now + 1, Ordering::Relaxed),
            // Clients in a hurry cancel their requests before the deadline, and would keep a dead connection for ever.
            since if u128::from((now + 1).saturating_sub(since)) > timeout.as_millis() => self.give_up(),
            _ => {}
        }
        !self.broken()
    }

    /// Notes a reply.
    pub(super) fn replied(&self) {
        // A look first: writing what all workers read costs more.
        if self.state.waiting.load(Ordering::Relaxed) != 0 {
            self.state.waiting.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that the connection is of no more use. Whoever waits for a reply on it may still get one.
    pub(super) fn give_up(&self) {
        self.state.broken.store(true, Ordering::Release);
    }

    /// Whether it leads to the master that the sentinels name now.
    pub(super) fn leads_to(&self, address: &str) -> bool {
        self.state.address == address
    }

    /// Whether the connection is of no more use, as far as is known.
    pub(super) fn broken(&self) -> bool {
        self.state.broken.load(Ordering::Acquire)
    }
}

/// Makes connections. A manager of our own: that of [`deadpool_redis`] sends a PING at each checkout.
#[derive(Clone)]
pub(super) struct Manager {
    source: Source,
    config: AsyncConnectionConfig,
}

/// Where the server is.
#[derive(Clone)]
enum Source {
    Fixed(Box<ConnectionInfo>),
    /// Wherever the sentinels say.
    Sentinels(Arc<Sentinels>),
}

impl Manager {
    /// Connects to one server.
    pub(super) fn fixed(info: ConnectionInfo, timeout: Duration) -> Self {
        Self::new(Source::Fixed(Box::new(info)), timeout)
    }

    /// Connects to the master that sentinels know.
    pub(super) fn by_sentinels(sentinels: Arc<Sentinels>, timeout: Duration) -> Self {
        Self::new(Source::Sentinels(sentinels), timeout)
    }

    fn new(source: Source, timeout: Duration) -> Self {
        // The deadline of a request bounds the wait for its reply.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(None);
        Self { source, config }
    }

    /// Connects. What the server says of its own accord, and that the connection has ended, goes to `hear` as well.
    pub(super) async fn connect(&self, hear: impl Fn(PushInfo) + Send + Sync + 'static) -> Result<Link, RedisError> {
        let (info, address) = match &self.source {
            Source::Fixed(info) => ((**info).clone(), String::new()),
            Source::Sentinels(sentinels) => {
                let address = sentinels.address().await?;
                (sentinels.at(&address), address)
            }
        };
        let state = Arc::new(State {
            address,
            broken: AtomicBool::new(false),
            used: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        });
        let seen = Arc::clone(&state);
        let config = self.config.clone().set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                seen.broken.store(true, Ordering::Release);
            }
            hear(push);
            Ok::<_, Infallible>(())
        });
        let mut connection = Client::open(info)?
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        if let Source::Sentinels(_) = self.source {
            be_master(&mut connection).await?;
        }
        Ok(Link { connection, state })
    }
}

/// Fails if a server is not, or not any more, the master that sentinels took it for.
pub(super) async fn be_master(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let role: Value = cmd("ROLE").query_async(connection).await?;
    let is_master =
        matches!(&role, Value::Array(parts) if parts.first() == Some(&Value::BulkString(b"master".to_vec())));
    if is_master {
        return Ok(());
    }
    Err(io::Error::other("what the sentinels call master is none").into())
}

impl managed::Manager for Manager {
    type Type = Link;
    type Error = RedisError;

    async fn create(&self) -> Result<Link, RedisError> {
        // Connecting is rare, and its state is large: in a box it does not make every request's larger.
        Box::pin(self.connect(|_| {})).await
    }

    async fn recycle(&self, link: &mut Link, _: &managed::Metrics) -> RecycleResult<RedisError> {
        if link.broken() {
            return Err(RecycleError::message("broken"));
        }
        Ok(())
    }
}
