//! Servers inside the test process, each on a free port and a fresh store, with a clock that only the test advances.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use rest_sessions::{
    app::run,
    clock::Clock,
    config::{Config, DurationArg, RedisMode},
    process::StartError,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::{App, eventually, redis_cluster, redis_server};

/// The initial time of every test's clock, in seconds since the Unix epoch.
pub(crate) const START: u64 = 1_800_000_000;

/// The store under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Embedded,
    Redis,
    /// Three masters.
    Cluster,
}

impl Store {
    /// The addresses of its Redis; `None` for the embedded store.
    pub(crate) fn urls(self) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::Redis => Some(redis_server::url()),
            Self::Cluster => Some(redis_cluster::urls()),
        }
    }

    /// The environment variables that configure a process for it.
    pub(crate) fn variables(self) -> Vec<(&'static str, String)> {
        let Some(urls) = self.urls() else {
            return Vec::new();
        };
        let mode = if self == Self::Cluster { "cluster" } else { "single" };
        vec![
            ("RS_REDIS_URL", urls),
            ("RS_REDIS_MODE", mode.into()),
            ("RS_NAMESPACE", redis_server::fresh_namespace()),
        ]
    }
}

/// The wall clock and the uptime of a server, in seconds.
#[derive(Clone)]
struct Clocks {
    wall: Arc<AtomicU64>,
    uptime: Arc<AtomicU64>,
}

impl Clocks {
    fn at(now: u64) -> Self {
        Self {
            wall: Arc::new(AtomicU64::new(now)),
            uptime: Arc::default(),
        }
    }

    fn clock(&self) -> Clock {
        let Self { wall, uptime } = self.clone();
        Clock::Jumping { wall, uptime }
    }
}

/// A running server. It shuts down when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) config: Config,
    clocks: Clocks,
    client: Client,
    end: oneshot::Sender<()>,
    running: JoinHandle<Result<(), StartError>>,
    /// The parent of the embedded store's data directory, removed with the server.
    folder: Option<TempDir>,
}

impl Server {
    /// Starts a server on a fresh store.
    pub(crate) async fn start(store: Store) -> Self {
        Self::start_with(store, |_| {}).await
    }

    /// Starts a server on a fresh store, with some options changed.
    pub(crate) async fn start_with(store: Store, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            // The wiper would remove expired sessions at unpredictable times.
            wipe: 0,
            drain_delay: DurationArg(Duration::ZERO),
            // Long enough for a busy machine.
            timeout: DurationArg(Duration::from_secs(30)),
            ..Config::default()
        };
        let folder = match store {
            Store::Embedded => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                config.data_dir = folder.path().join("data");
                Some(folder)
            }
            Store::Redis | Store::Cluster => {
                // With Redis nothing is written to the data directory; an attempt fails here.
                config.data_dir = PathBuf::from("/nonexistent");
                config.namespace = redis_server::fresh_namespace();
                config.redis_url = store.urls();
                if store == Store::Cluster {
                    config.redis_mode = RedisMode::Cluster;
                    // Few shards, so that several ids share one.
                    config.shards = 16;
                }
                None
            }
        };
        change(&mut config);
        Self::launch(config, folder, Clocks::at(START)).await
    }

    /// Starts another server on the same Redis, namespace and clock.
    pub(crate) async fn start_peer(&self) -> Self {
        assert!(self.folder.is_none(), "an embedded store cannot be shared");
        Self::launch(self.config.clone(), None, self.clocks.clone()).await
    }

    /// As [`Self::start_peer`], with some options changed.
    pub(crate) async fn start_elsewhere(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        Self::launch(config, None, self.clocks.clone()).await
    }

    /// As [`Self::start_elsewhere`], with a separate clock that is this many seconds ahead.
    pub(crate) async fn start_ahead(&self, seconds: u64, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        let now = self.clocks.wall.load(Ordering::SeqCst) + seconds;
        Self::launch(config, None, Clocks::at(now)).await
    }

    /// As [`Self::start_elsewhere`], with the machine's clock plus an offset in seconds.
    pub(crate) async fn start_off(&self, seconds: i64, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        Self::launch_by(Clock::Off(seconds), config, None, self.clocks.clone()).await
    }

    /// Shuts the server down gracefully and starts another on the same store and clock.
    pub(crate) async fn restart(self) -> Self {
        // Sending fails if the server has already ended; its result below says why.
        let _ = self.end.send(());
        self.running.await.expect("no panic").expect("a graceful shutdown");
        Self::launch(self.config, self.folder, self.clocks).await
    }

    async fn launch(config: Config, folder: Option<TempDir>, clocks: Clocks) -> Self {
        Self::launch_by(clocks.clock(), config, folder, clocks).await
    }

    async fn launch_by(by: Clock, config: Config, folder: Option<TempDir>, clocks: Clocks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (end, ending) = oneshot::channel();
        let running = tokio::spawn({
            let (config, clock) = (config.clone(), by);
            async move {
                let shutdown = async {
                    // Dropping the sender shuts the server down, too.
                    let _ = ending.await;
                };
                let result = Box::pin(run(&config, clock, listener, shutdown)).await;
                if let Err(failure) = &result {
                    eprintln!("the server ended: {failure:?}");
                }
                result
            }
        });
        // Proxies configured in the environment must not intercept requests.
        let client = Client::builder().no_proxy().build().expect("a client");
        Self {
            address,
            config,
            clocks,
            client,
            end,
            running,
            folder,
        }
    }

    /// A client for one app.
    pub(crate) fn app(&self, name: &str) -> App {
        App::new(self.client.clone(), self.url(&format!("/{name}")))
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path_and_query: &str) -> String {
        format!("http://{}{path_and_query}", self.address)
    }

    /// An HTTP client that reuses connections.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Advances the clock, which stands still otherwise.
    pub(crate) fn advance(&self, seconds: u64) {
        self.clocks.uptime.fetch_add(seconds, Ordering::SeqCst);
        self.clocks.wall.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Moves the wall clock while the uptime stays the same.
    pub(crate) fn jump(&self, seconds: i64) {
        let jumped = |now: u64| now.checked_add_signed(seconds);
        let wall = &self.clocks.wall;
        let set = wall.fetch_update(Ordering::SeqCst, Ordering::SeqCst, jumped);
        set.expect("a valid time");
    }

    /// The text of `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        let answer = self.client.get(self.url("/metrics")).send().await.expect("an answer");
        answer.text().await.expect("a text")
    }

    /// The value of one series, named as in the Prometheus text; 0 if it does not exist yet.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let text = self.metrics().await;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// Waits until a series has reached a value.
    pub(crate) async fn until_metric(&self, series: &str, value: u64) {
        eventually(&format!("{series} {value}"), async || {
            self.metric(series).await >= value
        })
        .await;
    }
}
