//! The sentinels of one master, and the question for its address.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError, aio::MultiplexedConnection, cmd,
};
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::store::redis::{connection::explain::Attempt, endpoint::endpoints::Endpoints};

/// The sentinels of one master.
pub(crate) struct Sentinels {
    endpoints: Endpoints,
    /// The name of the master.
    name: String,
    /// The longest wait for one sentinel.
    timeout: Duration,
    /// The index of the sentinel that answered last. It is asked first.
    last: AtomicUsize,
    /// The last known address of the master, `HOST:PORT`.
    seen: Mutex<String>,
}

impl Sentinels {
    /// Each sentinel may take an even share of `timeout` to answer.
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

    /// The name of the master.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many sentinels the operator has given.
    pub(super) fn count(&self) -> usize {
        self.endpoints.first.len()
    }

    /// The index of the sentinel that answered last.
    pub(super) fn last(&self) -> usize {
        self.last.load(Ordering::Relaxed)
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

    /// The last known address of the master; empty before the first answer.
    pub(crate) fn seen(&self) -> String {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The address of the master, `HOST:PORT`, from the first sentinel that answers. The error names every sentinel.
    pub(crate) async fn address(&self) -> Result<String, RedisError> {
        let (count, first) = (self.count(), self.last());
        let mut failures = Vec::new();
        for turn in 0..count {
            let place = (first + turn) % count;
            let answer = async {
                let mut connection = self.connect(place, self.config()).await?;
                self.ask(place, &mut connection).await
            };
            let failure = match timeout(self.timeout, answer).await {
                Ok(Ok(address)) => return Ok(address),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            failures.push(why(&self.endpoints.first[place], failure));
        }
        Err(io::Error::other(format!(
            "no sentinel gave the address of the master: {}",
            failures.join("; ")
        ))
        .into())
    }

    /// The settings of a connection to a sentinel.
    pub(super) fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
    }

    /// Connects to the sentinel at an index.
    pub(super) async fn connect(
        &self,
        place: usize,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let client = Client::open(self.endpoints.first[place].clone())?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Asks the sentinel at an index for the address of the master, and remembers both.
    pub(super) async fn ask(&self, place: usize, connection: &mut MultiplexedConnection) -> Result<String, RedisError> {
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let answer: Result<Option<(String, u16)>, RedisError> = question.query_async(connection).await;
        // "unknown command". A sentinel that refuses a known command replies with another code.
        if matches!(&answer, Err(error) if error.code() == Some("ERR")) {
            return Err(io::Error::other("the server is not a sentinel").into());
        }
        let Some((host, port)) = answer? else {
            return Err(io::Error::other("no master of that name is known to the sentinels").into());
        };
        let address = format!("{host}:{port}");
        self.last.store(place, Ordering::Relaxed);
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&address);
        Ok(address)
    }
}

/// Why a sentinel failed; `None`: it did not answer in time.
fn why(sentinel: &ConnectionInfo, failure: Option<RedisError>) -> String {
    let (host, port, tls) = match sentinel.addr() {
        ConnectionAddr::Tcp(host, port) => (host, *port, false),
        ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
        _ => return "not reached by TCP".to_owned(),
    };
    let attempt = Attempt { host, port, tls };
    let why = failure.map_or_else(|| "no answer in time".to_owned(), |error| attempt.explain(&error));
    format!("{}: {why}", attempt.target())
}
