//! Tests of the Redis store with a real Redis server, one for each test.

mod garbage;
mod layout;
mod merge;
mod outage;
mod properties;
mod renewal;
mod silent;

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use deadpool_redis::redis::{Client, Cmd, Connection, FromRedisValue, ToRedisArgs};

use super::{Address, Deployment, Options, Redis, RedisListing};
use crate::{
    clock::Clock,
    observability::metrics::Metrics,
    session::{App, Changes, Ip, Record, Seconds, Session, Token, UserId},
    store::ListQuery,
};

/// The clock of the tests.
const NOW: Seconds = 1_700_000_000;

/// A Redis server on a free port, without persistence; it ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::start_on(port)
    }

    fn start_on(port: u16) -> Self {
        let child = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { child, port };
        for _ in 0..500 {
            if server.client().get_connection().is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not answer");
    }

    fn client(&self) -> Client {
        Client::open(("127.0.0.1", self.port)).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn open(&self) -> Redis {
        open(self.port, &Arc::new(Metrics::new()))
    }

    /// A connection of its own, to inspect what the store writes.
    fn raw(&self) -> Raw {
        Raw(self.client().get_connection().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open(port: u16, metrics: &Arc<Metrics>) -> Redis {
    Redis::open(options(&format!("redis://127.0.0.1:{port}")), Arc::clone(metrics)).unwrap()
}

fn options(url: &str) -> Options {
    let address = Address {
        urls: url.into(),
        mode: Deployment::Single,
        username: None,
        password: None,
        sentinel_password: None,
        master_tls: None,
        ca: None,
        identity: None,
    };
    Options {
        address,
        namespace: "rs".into(),
        shards: 256,
        timeout: Duration::from_millis(800),
        connections: 2,
        replicas: 0,
        touch: Duration::ZERO,
        cachetime: Duration::ZERO,
        cachemax: 1,
        clock: Clock::Manual(Arc::default()),
    }
}

struct Raw(Connection);

impl Raw {
    /// Sends a command given as words separated by spaces.
    fn ask<T: FromRedisValue>(&mut self, words: &str) -> T {
        self.send(&words.split(' ').collect::<Vec<_>>())
    }

    fn send<T: FromRedisValue>(&mut self, words: &[impl ToRedisArgs]) -> T {
        let mut cmd = cmd_of(words);
        cmd.take().query(&mut self.0).unwrap()
    }

    /// Every key, sorted.
    fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask("KEYS *");
        keys.sort();
        keys
    }
}

fn cmd_of(words: &[impl ToRedisArgs]) -> Cmd {
    let mut cmd = Cmd::new();
    for word in words {
        cmd.arg(word);
    }
    cmd
}

fn app() -> App {
    App::parse("forum").unwrap()
}

fn token(letter: char) -> Token {
    Token::parse(&letter.to_string().repeat(64)).unwrap()
}

fn id(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn record(id: &str, data: &str) -> Record {
    Record {
        id: UserId::parse(id).unwrap(),
        ip: Ip::parse("127.0.0.1").unwrap(),
        reads: 1,
        writes: 1,
        ttl: 100,
        last_active: NOW,
        no_resave: false,
        data: Changes::for_create(data.as_bytes()).unwrap().apply(None).unwrap(),
    }
}

fn changes(text: &str) -> Changes {
    Changes::for_set(text.as_bytes(), Vec::new()).unwrap()
}

/// The value of a counter without labels.
fn counter(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.text();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.rsplit(' ')
        .next()
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

/// The whole list of an app.
async fn soapp(store: &Redis, since: Seconds, now: Seconds) -> Vec<Session> {
    let query = ListQuery {
        since,
        after: None,
        now,
    };
    all(store, store.soapp(app(), query, 3).await.unwrap()).await
}

/// The whole list of an id.
async fn soid(store: &Redis, id: UserId, now: Seconds) -> Vec<Session> {
    let query = ListQuery {
        since: 0,
        after: None,
        now,
    };
    all(store, store.soid(app(), id, query, usize::MAX)).await
}

async fn all(store: &Redis, mut listing: RedisListing) -> Vec<Session> {
    let mut sessions = Vec::new();
    while let Some(part) = store.next_part(&mut listing).await.unwrap() {
        sessions.extend(part.into_iter().map(|listed| listed.session));
    }
    sessions
}
