//! Servers in each state that some answer requires.

use std::{any::Any, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{MethodFilter, on},
};
use reqwest::Client;
use rest_sessions::{
    clock::Clock,
    config::DurationArg,
    http::{AppState, middleware},
    observability::metrics::Metrics,
    server::{Limits, serve},
    service::Service,
    store::{Backend, embedded::Embedded},
};
use tokio::net::TcpListener;

use super::contract::operations;
use crate::{
    process::Process,
    support::{Answer, Server, Store, eventually},
};

/// The state of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scenario {
    Healthy,
    /// The deadline for a request body is short.
    ShortTimeout,
    /// Redis is unreachable. Used for every store, since the embedded store cannot be unreachable.
    StoreUnavailable,
    /// The process drains after SIGTERM.
    ShuttingDown,
    /// Real middleware over handlers that panic, since no request makes a real handler panic.
    Panicking,
}

/// A running server.
pub(super) struct Running {
    pub(super) client: Client,
    pub(super) address: SocketAddr,
    /// Dropping it ends the server.
    _guard: Box<dyn Any>,
}

impl Scenario {
    pub(super) async fn start(self, store: Store) -> Running {
        match self {
            Self::Healthy => in_process(Server::start(store).await),
            Self::ShortTimeout => {
                let short = DurationArg(Duration::from_millis(200));
                in_process(Server::start_with(store, |config| config.timeout = short).await)
            }
            Self::StoreUnavailable => {
                // No server listens on port 1.
                let unreachable = Some("redis://127.0.0.1:1".into());
                in_process(Server::start_with(Store::Redis, |config| config.redis_url = unreachable).await)
            }
            Self::ShuttingDown => shutting_down(store).await,
            Self::Panicking => panicking().await,
        }
    }
}

fn in_process(server: Server) -> Running {
    Running {
        client: server.client().clone(),
        address: server.address,
        _guard: Box::new(server),
    }
}

async fn shutting_down(store: Store) -> Running {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Process::command(folder.path(), &["--drain-delay", "60"]);
    command.envs(store.variables());
    let process = Process::spawn(command);
    process.signal("TERM");
    let address: SocketAddr = process.address().parse().expect("an address");
    let (client, ready) = (client(), format!("http://{address}/readyz"));
    eventually("the shutdown has begun", async || {
        Answer::of(client.get(&ready)).await.status != 200
    })
    .await;
    Running {
        client,
        address,
        _guard: Box::new((process, folder)),
    }
}

async fn panicking() -> Running {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = state(&folder.path().join("data"));
    let routes = operations().into_iter().fold(Router::new(), |router, operation| {
        let method: reqwest::Method = operation.method.parse().expect("a method");
        let method = MethodFilter::try_from(method).expect("a common method");
        router.route(operation.path, on(method, panics))
    });
    let stack = middleware::wrap(&routes, &state);
    let limits = Limits {
        idle: Duration::from_mins(1),
        connections: 10,
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::ZERO,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { serve(listener.into(), stack, &state, limits, std::future::pending()).await });
    Running {
        client: client(),
        address,
        _guard: Box::new(folder),
    }
}

async fn panics() -> &'static str {
    panic!("on purpose, in a test")
}

fn state(data: &Path) -> AppState {
    let metrics = Arc::new(Metrics::new());
    let deadline = Duration::from_secs(2);
    let embedded = Embedded::open(data, 1 << 20, deadline, metrics.clone()).expect("a new folder");
    let store = rest_sessions::store::Store::new(Backend::Embedded(embedded), deadline, metrics.clone());
    let service = Arc::new(Service::new(store, Clock::System, metrics.clone()));
    AppState::new(service, metrics, deadline, "session")
}

fn client() -> Client {
    Client::builder().no_proxy().build().expect("a client")
}
