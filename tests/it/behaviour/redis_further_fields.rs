//! Fields of a session's hash that this version does not know stay as they are for as long as the session lives.
//!
//! A newer version of the service or a peer may have written them. They are written here by a plain Redis client.

use std::{collections::BTreeMap, time::Duration};

use deadpool_redis::redis::cmd;
use rest_sessions::config::{Config, DurationArg};

use crate::support::{App, Server, Store, eventually, redis_server};

const FURTHER: [(&str, &str); 3] = [("created", "1799999000"), ("h", "0123456789abcdef"), ("newer", "")];

/// A session with further fields in its hash.
struct Extended<'a> {
    app: &'a App,
    key: String,
    token: String,
}

impl<'a> Extended<'a> {
    async fn create(server: &Server, app: &'a App, id: &str, parameters: &str) -> Self {
        let token = app.create_with(id, parameters, r#"{"a":1}"#).await;
        let key = format!("{}:forum:{token}", server.config.namespace);
        for (name, value) in FURTHER {
            let mut set = cmd("HSET");
            set.arg(&key).arg(name).arg(value);
            let added: u64 = set.query(&mut redis_server::connection()).expect("an answer");
            assert_eq!(added, 1);
        }
        Self { app, key, token }
    }

    #[track_caller]
    fn assert_complete(&self) {
        let hash = self.hash();
        for (name, value) in FURTHER {
            assert_eq!(hash.get(name).map(String::as_str), Some(value), "{name} in {hash:?}");
        }
    }

    fn hash(&self) -> BTreeMap<String, String> {
        redis_server::ask(&format!("HGETALL {}", self.key))
    }

    async fn get(&self) {
        self.app.get(&self.token).await.expect("alive");
    }

    async fn set(&self, changes: &str) {
        self.app.set(&self.token, changes).await.expect("alive");
    }
}

/// Every operation that reads or changes a session, or ends another one.
async fn further_fields_survive(configure: fn(&mut Config)) {
    let server = Server::start_with(Store::Redis, |config| {
        config.wipe = 1;
        configure(config);
    })
    .await;
    let app = server.app("forum");
    let sessions = [
        Extended::create(&server, &app, "ann", "ttl=600").await,
        Extended::create(&server, &app, "ann", "ttl=600&no_resave=1").await,
    ];
    for session in &sessions {
        // The second get may be served by the near cache.
        session.get().await;
        session.get().await;
        server.advance(2);
        session.get().await;
        session.set(r#"{"b":2}"#).await;
        server.advance(2);
        session.get().await;
        // Removes `d` from the hash.
        session.set(r#"{"a":null,"b":null}"#).await;
        session.set(r#"{"c":3}"#).await;
        session.get().await;
        // Flushes buffered reads.
        app.activity(600).await;
        session.assert_complete();
    }
    assert_eq!((app.soid("ann").await.len(), app.soapp(600).await.len()), (2, 2));

    let killed = app.create("ann").await;
    assert_eq!(app.kill(&killed).await, 1);
    app.create("bob").await;
    assert_eq!(app.killsoid("bob").await, 1);
    server.app("shop").create("ann").await;
    assert_eq!(server.app("shop").killall().await, 1);
    app.create_with("ann", "ttl=10", "").await;
    server.advance(11);
    server.until_metric("rest_sessions_expired_total", 1).await;
    for session in &sessions {
        session.assert_complete();
        assert_eq!(session.app.get(&session.token).await.expect("alive").d(), r#"{"c":3}"#);
    }

    // They go with their session, however it ends.
    assert_eq!(app.kill(&sessions[0].token).await, 1);
    server.advance(600);
    eventually("everything is gone", async || {
        redis_server::keys(&server.config.namespace).is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_fields_survive_with_reads_that_are_written_at_once() {
    further_fields_survive(|config| config.touch = DurationArg(Duration::ZERO)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_fields_survive_with_buffered_reads() {
    further_fields_survive(|config| config.touch = DurationArg(Duration::from_millis(50))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_fields_survive_with_a_near_cache() {
    further_fields_survive(|config| config.cachetime = DurationArg(Duration::from_hours(1))).await;
}
