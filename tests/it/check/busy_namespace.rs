//! A namespace in Redis, on one server or on a cluster, with a service that is under load while a test damages and
//! checks the namespace.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use deadpool_redis::redis::{FromRedisValue, Value};

use super::{check, finds};
use crate::{
    process::Finished,
    support::{App, Server, Store, redis_cluster, redis_server},
};

/// A namespace with a service that is under load there, in an app of its own. A check must not disturb it.
pub(super) struct BusyNamespace {
    store: Store,
    pub(super) server: Server,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl BusyNamespace {
    pub(super) async fn start(store: Store) -> Self {
        let server = Server::start(store).await;
        // On a cluster, the first create records the number of shards.
        server.app("busy").create("first").await;
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..3).map(|n| tokio::spawn(client(server.app("busy"), n, stop.clone())));
        let clients = clients.collect();
        Self {
            store,
            server,
            stop,
            clients,
        }
    }

    /// A key in the shard of a session. On a cluster, a token begins with the number of its shard.
    pub(super) fn key(&self, token: &str, rest: &str) -> String {
        let namespace = &self.server.config.namespace;
        match self.store {
            Store::Cluster => format!("{{{namespace}:{}}}:{rest}", &token[..2]),
            _ => format!("{namespace}:{rest}"),
        }
    }

    /// The reply to a command, from the node that has its key.
    pub(super) fn redis<T: FromRedisValue>(&self, command: &str) -> T {
        match self.store {
            Store::Cluster => redis_cluster::shared().ask(command),
            _ => redis_server::ask(command),
        }
    }

    /// Runs a command on Redis itself, bypassing the service.
    pub(super) fn change(&self, command: &str) {
        let _: Value = self.redis(command);
    }

    pub(super) fn keys(&self) -> Vec<String> {
        let namespace = &self.server.config.namespace;
        match self.store {
            Store::Cluster => redis_cluster::shared().keys(namespace),
            _ => redis_server::keys(namespace),
        }
    }

    /// Runs a check of the namespace.
    pub(super) fn check(&self, args: &[&str]) -> Finished {
        let config = &self.server.config;
        let (urls, shards) = (self.store.urls().expect("it is a Redis"), config.shards.to_string());
        let mode = if self.store == Store::Cluster {
            "cluster"
        } else {
            "single"
        };
        let mut all = vec!["--redis-url", &urls, "--redis-mode", mode];
        all.extend(["--namespace", &config.namespace, "--shards", &shards]);
        all.extend(args);
        check(std::env::temp_dir().as_path(), &all)
    }

    /// Asserts that a check finds `lines` and repairs them, finds nothing afterwards, and prints no token.
    pub(super) async fn assert_repairs(&mut self, lines: &[&str], tokens: &[String]) {
        for _ in 0..2 {
            let found = self.check(&[]);
            finds(&found, 1, lines, false);
            let contains_token = |token: &String| found.stdout.contains(token.as_str());
            assert!(
                !tokens.iter().any(contains_token),
                "the output contains a token: {found:?}"
            );
        }
        finds(&self.check(&["--repair"]), 0, lines, true);
        finds(&self.check(&[]), 0, &[], false);
        finds(&self.check(&["--repair"]), 0, &[], false);
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.await.expect("no panic");
        }
        assert_eq!(self.server.metric("rest_sessions_unreadable_records_total").await, 0);
    }
}

/// Creates, changes and kills sessions until `stop`. A concurrent check must not affect any answer.
async fn client(app: App, n: usize, stop: Arc<AtomicBool>) {
    let mut rounds = 0;
    let kept = app.create_with(&format!("kept:{n}"), "", r#"{"a":1}"#).await;
    // At least three rounds, so that a slow machine puts load on the namespace too.
    while rounds < 3 || !stop.load(Ordering::Relaxed) {
        rounds += 1;
        let id = format!("user:{n}:{}", rounds % 3);
        let token = app.create(&id).await;
        let set = app
            .set(&token, format!(r#"{{"rounds":{rounds}}}"#))
            .await
            .expect("alive");
        assert_eq!((set.w, set.d()), (2, format!(r#"{{"rounds":{rounds}}}"#).as_str()));
        assert!(app.get(&kept).await.is_some() && app.get(&token).await.is_some());
        assert_eq!(app.soid(&id).await.len(), 1);
        assert_eq!(app.kill(&token).await, 1);
    }
}
