//! A server in this process, on a free port and a store of its own, with a clock that only the test moves.

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

/// Where every test's clock begins, in seconds since the Unix epoch.
pub(crate) const START: u64 = 1_800_000_000;

/// The store to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Embedded,
    Redis,
    /// Three masters. What is true of Redis alone, such as its layout, is not looked at here.
    Cluster,
}

impl Store {
    /// Where its Redis is, if it is one.
    pub(crate) fn urls(self) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::Redis => Some(redis_server::url()),
            Self::Cluster => Some(redis_cluster::urls()),
        }
    }

    /// The variables that lead the program to it.
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

/// The clocks of a server: what the system tells, and what it counts.
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

/// A running server. It ends with the test that holds it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) config: Config,
    clocks: Clocks,
    client: Client,
    end: oneshot::Sender<()>,
    running: JoinHandle<Result<(), StartError>>,
    /// The embedded store's folder, removed with the server.
    folder: Option<TempDir>,
}

impl Server {
    /// A server on a fresh store.
    pub(crate) async fn start(store: Store) -> Self {
        Self::start_with(store, |_| {}).await
    }

    /// A server on a fresh store, with some options changed.
    pub(crate) async fn start_with(store: Store, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            // A wiper that nobody asked for would make tests of expiry a matter of luck.
            wipe: 0,
            drain_delay: DurationArg(Duration::ZERO),
            // A busy machine is slow, not broken.
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
                // Nothing should be written here; if it is, it is not in the project's folder.
                config.data_dir = PathBuf::from("/nonexistent");
                config.namespace = redis_server::fresh_namespace();
                config.redis_url = store.urls();
                if store == Store::Cluster {
                    config.redis_mode = RedisMode::Cluster;
                    // Few, so that tests meet several ids in one.
                    config.shards = 16;
                }
                None
            }
        };
        change(&mut config);
        Self::launch(config, folder, Clocks::at(START)).await
    }

    /// One more server on the same Redis, namespace and clock.
    pub(crate) async fn start_peer(&self) -> Self {
        assert!(self.folder.is_none(), "the embedded store has one server");
        Self::launch(self.config.clone(), None, self.clocks.clone()).await
    }

    /// The same with some options changed.
    pub(crate) async fn start_elsewhere(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        Self::launch(config, None, self.clocks.clone()).await
    }

    /// The same with another clock, ahead by some seconds, and some options changed.
    pub(crate) async fn start_ahead(&self, seconds: u64, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        let now = self.clocks.wall.load(Ordering::SeqCst) + seconds;
        Self::launch(config, None, Clocks::at(now)).await
    }

    /// The same with the clock of this machine, which is so many seconds off, and some options changed.
    pub(crate) async fn start_off(&self, seconds: i64, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        Self::launch_by(Clock::Off(seconds), config, None, self.clocks.clone()).await
    }

    /// Ends the server in good order and starts another on the same store and clock.
    pub(crate) async fn restart(self) -> Self {
        // Nobody may listen at the other end if the server has ended by itself; its result tells.
        let _ = self.end.send(());
        self.running.await.expect("no panic").expect("a good end");
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
                    // A test that ends early drops the sender, which means the same.
                    let _ = ending.await;
                };
                let result = Box::pin(run(&config, clock, listener, shutdown)).await;
                if let Err(failure) = &result {
                    eprintln!("the server ended: {failure:?}");
                }
                result
            }
        });
        // A proxy of the environment must not come between.
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

    /// The routes of one app.
    pub(crate) fn app(&self, name: &str) -> App {
        App::new(self.client.clone(), self.url(&format!("/{name}")))
    }

    /// A path's address.
    pub(crate) fn url(&self, path_and_query: &str) -> String {
        format!("http://{}{path_and_query}", self.address)
    }

    /// A client that keeps its connections.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Lets time pass, which stands still otherwise.
    pub(crate) fn advance(&self, seconds: u64) {
        self.clocks.uptime.fetch_add(seconds, Ordering::SeqCst);
        self.clocks.wall.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Sets the clock to another time, without any passing.
    pub(crate) fn jump(&self, seconds: i64) {
        let jumped = |now: u64| now.checked_add_signed(seconds);
        let wall = &self.clocks.wall;
        let set = wall.fetch_update(Ordering::SeqCst, Ordering::SeqCst, jumped);
        set.expect("a time that there is");
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> String {
        let answer = self.client.get(self.url("/metrics")).send().await.expect("an answer");
        answer.text().await.expect("a text")
    }

    /// The value of one metric, written as in the Prometheus text; 0 if it is not there yet.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let text = self.metrics().await;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// Waits until a metric has reached a value.
    pub(crate) async fn until_metric(&self, series: &str, value: u64) {
        eventually(&format!("{series} {value}"), async || {
            self.metric(series).await >= value
        })
        .await;
    }
}
