//! Changes and ends of sessions are invalidated in the cache of every instance.

use std::time::Duration;

use deadpool_redis::redis::{Connection, cmd};

use super::{HIT, assert_gone, enable_cache, for_every_redis, start, warm};
use crate::support::{App, Server, Store, eventually, redis_cluster, redis_server};

for_every_redis![
    own_changes_are_visible_at_once,
    changes_of_another_instance_become_visible,
    the_wiper_invalidates_cached_sessions,
    an_ended_session_never_comes_back,
];

async fn start_two(store: Store) -> (Server, Server) {
    let one = start(store).await;
    let other = Server::start_peer(&one).await;
    (one, other)
}

async fn own_changes_are_visible_at_once(store: Store) {
    let server = start(store).await;
    let app = server.app("forum");
    for n in 0..20 {
        let token = app.create("ann").await;
        let others = [app.create("ann").await, app.create("bob").await];
        for token in [&token, &others[0], &others[1]] {
            warm(&server, &app, token).await;
        }
        let data = format!(r#"{{"n":{n}}}"#);
        app.set(&token, data.as_str()).await.expect("alive");
        assert_eq!(app.get(&token).await.expect("alive").d(), data);
        app.kill(&token).await;
        assert!(app.get(&token).await.is_none());
        assert_eq!(app.killsoid("ann").await, 1);
        assert!(app.get(&others[0]).await.is_none());
        assert!(app.get(&others[1]).await.is_some());
        assert_eq!(app.killall().await, 1);
        assert!(app.get(&others[1]).await.is_none());
    }
}

async fn changes_of_another_instance_become_visible(store: Store) {
    let (one, other) = start_two(store).await;
    let (app, others) = (one.app("forum"), other.app("forum"));
    let mut tokens = Vec::new();
    for id in ["ann", "bob", "carl", "carl", "dora"] {
        let token = others.create(id).await;
        warm(&one, &app, &token).await;
        tokens.push(token);
    }
    others.set(&tokens[0], r#"{"a":1}"#).await.expect("alive");
    eventually("the change is visible", async || {
        app.get(&tokens[0]).await.expect("alive").d() == r#"{"a":1}"#
    })
    .await;
    assert_eq!(others.kill(&tokens[1]).await, 1);
    assert_gone(&app, &tokens[1]).await;
    assert_eq!(others.killsoid("carl").await, 2);
    assert_gone(&app, &tokens[2]).await;
    assert_gone(&app, &tokens[3]).await;
    assert_eq!(others.killall().await, 2);
    assert_gone(&app, &tokens[0]).await;
    assert_gone(&app, &tokens[4]).await;
}

/// The wiping instance's clock is ahead. With equal clocks the entry would have expired by itself.
async fn the_wiper_invalidates_cached_sessions(store: Store) {
    let one = start(store).await;
    let app = one.app("forum");
    let token = app.create_with("ann", "ttl=10000", "").await;
    warm(&one, &app, &token).await;
    let other = Server::start_ahead(&one, 20_000, |config| config.wipe = 1).await;
    other.until_metric("rest_sessions_expired_total", 1).await;
    assert_gone(&app, &token).await;
}

/// Subscribes to the invalidation messages.
fn subscribe(server: &Server, store: Store) -> Connection {
    let mut connection = match store {
        Store::Cluster => redis_cluster::shared().nodes[0].connect(),
        _ => redis_server::connection(),
    };
    // Only a missing message takes this long.
    let timeout = Some(Duration::from_secs(30));
    connection.set_read_timeout(timeout).expect("a timeout");
    let mut subscribe = cmd("SUBSCRIBE");
    subscribe.arg(format!("{}:cache", server.config.namespace));
    let () = subscribe.query(&mut connection).expect("a subscription");
    connection
}

async fn kill_and_await_invalidation(killer: &App, token: &str, connection: &mut Connection) {
    assert_eq!(killer.kill(token).await, 1);
    tokio::task::block_in_place(|| {
        loop {
            let message = connection.recv_response().expect("a message");
            if format!("{message:?}").contains(token) {
                return;
            }
        }
    });
}

async fn an_ended_session_never_comes_back(store: Store) {
    let (one, other) = start_two(store).await;
    let mut connection = subscribe(&one, store);
    let (killer, app) = (one.app("forum"), other.app("forum"));
    for _ in 0..30 {
        let token = killer.create("ann").await;
        warm(&other, &app, &token).await;
        // Reads race with the kill: one may have been sent to Redis just before it.
        let readers = (0..8).map(|_| {
            let (app, token) = (other.app("forum"), token.clone());
            tokio::spawn(async move {
                let mut missed = false;
                for _ in 0..150 {
                    let found = app.get(&token).await.is_some();
                    assert!(!(found && missed), "the session came back");
                    missed |= !found;
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        kill_and_await_invalidation(&killer, &token, &mut connection).await;
        assert_gone(&app, &token).await;
        for reader in readers {
            reader.await.expect("the session never came back");
        }
    }
    assert!(other.metric(HIT).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_drops_only_its_own_session() {
    let server = Server::start_with(Store::Redis, enable_cache).await;
    let app = server.app("forum");
    let tokens = [app.create("ann").await, app.create("ann").await];
    for token in &tokens {
        warm(&server, &app, token).await;
        super::set_ip(&server, token, "10.0.0.1");
    }
    let channel = format!("{}:cache", server.config.namespace);
    // Peers may publish anything on the channel.
    for message in ["", ":", "forum:", "forum:short", &format!("blog:{}", tokens[1])] {
        let receivers: u64 = cmd("PUBLISH")
            .arg(&channel)
            .arg(message)
            .query(&mut redis_server::connection())
            .expect("published");
        assert_eq!(receivers, 1);
    }
    let _: u64 = redis_server::ask(&format!("PUBLISH {channel} forum:{}", tokens[0]));
    eventually("the session is read from Redis", async || {
        app.get(&tokens[0]).await.expect("alive").ip == "10.0.0.1"
    })
    .await;
    assert_eq!(app.get(&tokens[1]).await.expect("alive").ip, "127.0.0.1");
}
