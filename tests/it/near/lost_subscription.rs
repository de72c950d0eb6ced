//! Without a live invalidation subscription the cache answers nothing.

use std::time::Duration;

use super::{BYPASSED, assert_gone, enable_cache, warm};
use crate::support::{
    App, Server, Store, eventually,
    lossy_proxy::LossyProxy,
    redis_cluster::Cluster,
    redis_server::{self, Redis},
};

/// Longer than the lease that a heartbeat on the subscription grants.
const LEASE: Duration = Duration::from_millis(1500);

async fn start() -> (Redis, Server) {
    let redis = redis_server::start(&[]).unwrap_or_else(|why| panic!("{why}"));
    let server = Server::start_with(Store::Redis, |config| {
        enable_cache(config);
        config.redis_url = Some(redis.url());
        config.timeout.0 = Duration::from_secs(2);
    })
    .await;
    (redis, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_is_bypassed_until_a_cut_subscription_is_restored() {
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
        // No invalidation was published, but one could have been lost with the connection.
        eventually("the session is read from Redis", async || {
            app.get(&token).await.expect("alive").ip == ip
        })
        .await;
    }
    assert!(server.metric(BYPASSED).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_without_the_right_to_subscribe_reads_from_redis() {
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
async fn a_frozen_redis_ends_the_lease_of_the_cache() {
    let (redis, server) = start().await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    warm(&server, &app, &token).await;
    redis.freeze();
    tokio::time::sleep(LEASE).await;
    for _ in 0..3 {
        assert_eq!(app.try_get(&token).await.status, 503);
    }
    redis.thaw();
    eventually("the service has recovered", async || {
        app.try_get(&token).await.status == 200
    })
    .await;
    warm(&server, &app, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_redis_empties_the_cache() {
    let (mut redis, server) = start().await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    warm(&server, &app, &token).await;
    // Without persistence it restarts empty.
    redis.kill();
    redis.start_again().unwrap_or_else(|why| panic!("{why}"));
    eventually("the service is ready", async || {
        let answer = server.client().get(server.url("/readyz")).send().await;
        answer.expect("an answer").status() == 200
    })
    .await;
    for _ in 0..50 {
        assert!(app.get(&token).await.is_none());
    }
}

/// The network delivers requests and loses replies, so invalidations from other instances do not arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_killed_while_replies_are_lost_is_not_answered() {
    let redis = redis_server::start(&[]).unwrap_or_else(|why| panic!("{why}"));
    let proxy = LossyProxy::to(redis.port).await;
    let server = Server::start_with(Store::Redis, |config| {
        enable_cache(config);
        config.redis_url = Some(format!("redis://{}", proxy.address()));
        config.timeout.0 = Duration::from_secs(2);
    })
    .await;
    let other = server
        .start_elsewhere(|config| config.redis_url = Some(redis.url()))
        .await;
    let app = server.app("forum");
    for _ in 0..2 {
        let token = app.create("ann").await;
        warm(&server, &app, &token).await;
        proxy.lose_replies();
        assert_eq!(other.app("forum").kill(&token).await, 1);
        tokio::time::sleep(LEASE).await;
        for _ in 0..2 {
            assert_eq!(app.try_get(&token).await.status, 503);
        }
        proxy.cut();
        eventually("the service has recovered", async || {
            app.try_get(&token).await.body == "{}"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalidations_arrive_after_a_failover_and_after_a_slot_migration() {
    let mut cluster = Cluster::start(3, 1).expect("a cluster");
    let server = Server::start_with(Store::Cluster, |config| {
        enable_cache(config);
        config.redis_url = Some(cluster.urls());
        config.timeout.0 = Duration::from_secs(2);
    })
    .await;
    let other = server.start_peer().await;
    let (app, others) = (server.app("forum"), other.app("forum"));
    let mut tokens = Vec::new();
    for n in 0..40 {
        let token = others.create(&format!("user-{n}")).await;
        warm(&server, &app, &token).await;
        tokens.push(token);
    }
    // A slot with sessions moves to another master.
    let namespace = &server.config.namespace;
    let slot_of =
        |token: &str| -> u16 { cluster.nodes[1].ask(&format!("CLUSTER KEYSLOT {{{namespace}:{}}}", &token[..2])) };
    let slot = tokens.iter().map(|token| slot_of(token)).find(|slot| *slot < 16384 / 3);
    let slot = slot.expect("a session on the first master");
    cluster.open_slot(slot, 0, 1);
    while cluster.move_keys(slot, 0, 1) {}
    cluster.close_slot(slot, 0, 1);
    let (moved, rest): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| slot_of(token) == slot);
    for token in moved {
        warm(&server, &app, token).await;
        assert_eq!(others.kill(token).await, 1);
        assert_gone(&app, token).await;
    }
    for node in &cluster.nodes[..3] {
        eventually("the replica is in sync", async || node.ask::<u64>("WAIT 1 100") == 1).await;
    }
    let lost: Vec<_> = rest.iter().filter(|token| slot_of(token) < 16384 / 3).collect();
    assert!(!lost.is_empty(), "no session on the master to kill");
    cluster.nodes[0].kill();
    for token in &lost {
        let is_served = async |app: &App| app.try_get(token).await.status == 200;
        eventually("the replica serves", async || {
            is_served(&app).await && is_served(&others).await
        })
        .await;
        warm(&server, &app, token).await;
        assert_eq!(others.kill(token).await, 1);
        assert_gone(&app, token).await;
    }
}
