//! One connection: how it is made, and how it is found to be of no more use.
//!
//! Its reader marks it the moment it ends, so that a connection that died while idle costs no request.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{self, RecycleError, RecycleResult};
use deadpool_redis::redis::{
    AsyncConnectionConfig, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError,
    aio::MultiplexedConnection, io::tcp::TcpSettings,
};

/// A connection that was silent for longer may have ended without its reader having had a turn to notice, in milliseconds.
const SILENT: u64 = 2;

/// A handle of one connection.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    state: Arc<State>,
}

/// What is known of one connection.
#[derive(Default)]
struct State {
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

    fn broken(&self) -> bool {
        self.state.broken.load(Ordering::Acquire)
    }
}

/// Makes connections. Wraps [`deadpool_redis::Manager`], whose own pool sends a PING at each checkout.
pub(super) struct Manager {
    info: ConnectionInfo,
    config: AsyncConnectionConfig,
}

impl Manager {
    /// Fails with one line, free of secrets, if the URL makes no sense.
    pub(super) fn new(url: String, timeout: Duration) -> Result<Self, String> {
        let info = url
            .into_connection_info()
            .map_err(|error| format!("bad Redis URL: {}", description(&error)))?;
        // rustls has several providers of cryptography, and panics unless one is chosen; a second choice is refused, which is
        // as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // RESP3 is what lets the reader of a connection say that it has ended.
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info
            .set_redis_settings(redis)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        // The deadline of a request bounds the wait for its reply.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(None);
        Ok(Self { info, config })
    }
}

impl managed::Manager for Manager {
    type Type = Link;
    type Error = RedisError;

    async fn create(&self) -> Result<Link, RedisError> {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let config = self.config.clone().set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                seen.broken.store(true, Ordering::Release);
            }
            Ok::<_, Infallible>(())
        });
        let manager = deadpool_redis::Manager::new_with_config(self.info.clone(), config)?;
        // Connecting is rare, and its state is large: in a box it does not make every request's larger.
        let connection = Box::pin(manager.create()).await?;
        Ok(Link { connection, state })
    }

    async fn recycle(&self, link: &mut Link, _: &managed::Metrics) -> RecycleResult<RedisError> {
        if link.broken() {
            return Err(RecycleError::message("broken"));
        }
        Ok(())
    }
}

/// What the client library has against a URL, without any part of it.
fn description(error: &RedisError) -> String {
    let text = error.to_string();
    text.split(" - ").next().unwrap_or_default().to_owned()
}
