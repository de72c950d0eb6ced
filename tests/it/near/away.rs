//! Without somebody who listens nothing is answered from memory.

use std::time::Duration;

use super::{BYPASSED, for_an_hour, warm};
use crate::support::{Server, Store, eventually, redis_server, redis_server::Redis};

/// How long a sign of life is good for, and more.
const LEASE: Duration = Duration::from_millis(1500);

async fn start() -> (Redis, Server) {
    let redis = redis_server::start(&[]).unwrap_or_else(|why| panic!("{why}"));
    let server = Server::start_with(Store::Redis, |config| {
        for_an_hour(config);
        config.redis_url = Some(redis.url());
        config.timeout.0 = Duration::from_secs(2);
    })
    .await;
    (redis, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_subscription_is_bypassed_and_made_again() {
    let (redis, server) = start().await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    let key = format!("{}:forum:{token}", server.config.namespace);
    for round in 0..5 {
        warm(&server, &app, &token).await;
        let ip = format!("10.0.0.{round}");
        let _: u64 = redis.ask(&format!("HSET {key} ip {ip}"));
        let cut: u64 = redis.ask("CLIENT KILL TYPE pubsub");
        assert_eq!(cut, 1);
        // Nobody has said so, but somebody could have.
        eventually("it is read anew", async || {
            app.get(&token).await.expect("alive").ip == ip
        })
        .await;
    }
    assert!(server.metric(BYPASSED).await > 0);
}

/// While one who may not listen is away, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_listen_asks_redis() {
    let (redis, server) = start().await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    warm(&server, &app, &token).await;
    let () = redis.ask("ACL SETUSER default -subscribe");
    let _: u64 = redis.ask("CLIENT KILL TYPE pubsub");
    tokio::time::sleep(LEASE).await;
    let _: u64 = redis.ask(&format!("HSET {}:forum:{token} ip 10.0.0.1", server.config.namespace));
    for _ in 0..20 {
        assert_eq!(app.get(&token).await.expect("alive").ip, "10.0.0.1");
        let _: u64 = redis.ask(&format!("HSET {}:forum:{token} ip 10.0.0.1", server.config.namespace));
    }
    let () = redis.ask("ACL SETUSER default +subscribe");
    warm(&server, &app, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_leaves_nothing_to_answer() {
    let (redis, server) = start().await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    warm(&server, &app, &token).await;
    redis.freeze();
    tokio::time::sleep(LEASE).await;
    for _ in 0..3 {
        let answer = server
            .client()
            .get(server.url(&format!("/forum/get/{token}")))
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status(), 503);
    }
    redis.thaw();
    eventually("it is back", async || {
        let answer = server
            .client()
            .get(server.url(&format!("/forum/get/{token}")))
            .send()
            .await;
        answer.expect("an answer").status() == 200
    })
    .await;
    warm(&server, &app, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_restarted_is_believed() {
    let (mut redis, server) = start().await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    warm(&server, &app, &token).await;
    // It keeps nothing.
    redis.kill();
    redis.start_again().unwrap_or_else(|why| panic!("{why}"));
    eventually("it is back", async || {
        let answer = server.client().get(server.url("/readyz")).send().await;
        answer.expect("an answer").status() == 200
    })
    .await;
    for _ in 0..50 {
        assert!(app.get(&token).await.is_none());
    }
}
