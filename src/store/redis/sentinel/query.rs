//! Sentinels: who watches over a master and its replicas, and knows which of them is the master.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool_redis::redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError, cmd};
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::store::redis::{connection::explain::Attempt, endpoint::endpoints::Endpoints};

/// The sentinels of one master.
pub(crate) struct Sentinels {
    endpoints: Endpoints,
    name: String,
    timeout: Duration,
    /// The one that answered last: it is asked first.
    last: AtomicUsize,
    /// Where the master was last, `HOST:PORT`.
    seen: Mutex<String>,
}

impl Sentinels {
    /// Each sentinel has an even share of `timeout` to answer in.
    pub(crate) fn new(endpoints: Endpoints, name: String, timeout: Duration) -> Self {
        let share = u32::try_from(endpoints.first.len() + 1).unwrap_or(u32::MAX);
        Self {
            timeout: timeout / share,
            endpoints,
            name,
            last: AtomicUsize::new(0),
            seen: Mutex::default(),
        }
    }

    /// How to connect to the master.
    pub(crate) async fn master(&self) -> Result<ConnectionInfo, RedisError> {
        Ok(self.at(&self.address().await?))
    }

    /// How to connect to a master at `HOST:PORT`.
    pub(crate) fn at(&self, address: &str) -> ConnectionInfo {
        self.endpoints.at(address)
    }

    /// How a connection to the master is secured, if it is.
    pub(crate) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.endpoints.tls.clone()
    }

    /// Where the sentinels said last that the master is; empty if none has said so yet.
    pub(crate) fn seen(&self) -> String {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the master is, `HOST:PORT`.
    pub(crate) async fn address(&self) -> Result<String, RedisError> {
        let address = self.ask_all().await?;
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&address);
        Ok(address)
    }

    async fn ask_all(&self) -> Result<String, RedisError> {
        let count = self.endpoints.first.len();
        let first = self.last.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for turn in 0..count {
            let place = (first + turn) % count;
            let sentinel = &self.endpoints.first[place];
            let failure = match timeout(self.timeout, self.ask(sentinel)).await {
                Ok(Ok(address)) => {
                    self.last.store(place, Ordering::Relaxed);
                    return Ok(address);
                }
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            failures.push(why(sentinel, failure));
        }
        Err(io::Error::other(format!("no sentinel tells the master: {}", failures.join("; "))).into())
    }

    async fn ask(&self, sentinel: &ConnectionInfo) -> Result<String, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let client = Client::open(sentinel.clone())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let answer: Result<Option<(String, u16)>, RedisError> = question.query_async(&mut connection).await;
        // "unknown command"; whoever knows it and refuses it has another code.
        if matches!(&answer, Err(error) if error.code() == Some("ERR")) {
            return Err(io::Error::other("what answers is no sentinel").into());
        }
        match answer? {
            Some((host, port)) => Ok(format!("{host}:{port}")),
            None => Err(io::Error::other("no master of that name is known to the sentinels").into()),
        }
    }
}

/// Why a sentinel was of no use; `None`: it did not answer in time.
fn why(sentinel: &ConnectionInfo, failure: Option<RedisError>) -> String {
    let (host, port, tls) = match sentinel.addr() {
        ConnectionAddr::Tcp(host, port) => (host, *port, false),
        ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
        _ => return "not behind TCP".to_owned(),
    };
    let attempt = Attempt { host, port, tls };
    let why = failure.map_or_else(|| "no answer in time".to_owned(), |error| attempt.explain(&error));
    format!("{}: {why}", attempt.target())
}
