//! Service and peer invalidate each other's caches over a channel in Redis.

use std::time::Duration;

use rest_sessions::config::DurationArg;
use serde_json::json;

use super::{New, Pair, Version, for_every_peer};
use crate::support::{eventually, redis_server};

for_every_peer![
    changes_by_the_service_invalidate_the_cache_of_the_peer,
    changes_by_the_peer_invalidate_the_cache_of_the_service,
];

fn with_data(id: &str) -> New<'_> {
    New {
        d: r#"{"a":1}"#,
        ..New::of(id)
    }
}

/// Waits until the channel has this many subscribers.
async fn await_subscribers(pair: &Pair, count: u64) {
    let subscribers = format!("PUBSUB NUMSUB {}", pair.key("cache"));
    eventually("all have subscribed", async || {
        redis_server::ask::<(String, u64)>(&subscribers).1 == count
    })
    .await;
}

async fn changes_by_the_service_invalidate_the_cache_of_the_peer(version: Version) {
    let pair = Pair::start_with(version, |_| {}, json!({ "cachetime": 3600 })).await;
    let Pair { service, peer, .. } = &pair;
    await_subscribers(&pair, 1).await;
    let mut tokens = Vec::new();
    for id in ["ann", "bob", "carl", "dora"] {
        let token = service.create(with_data(id)).await;
        peer.get(&token).await.expect("alive");
        // A change without an invalidation: while the peer does not see it, the peer answers from its cache.
        let _: u64 = redis_server::ask(&format!("HSET {} ip 10.0.0.1", pair.key(&format!("forum:{token}"))));
        tokens.push(token);
    }
    for token in &tokens {
        assert_eq!(peer.get(token).await.expect("alive").ip, "127.0.0.1");
    }

    service.set(&tokens[0], r#"{"a":2}"#).await.expect("alive");
    eventually("the peer reads from Redis", async || {
        let session = peer.get(&tokens[0]).await.expect("alive");
        (session.d(), session.ip.as_str()) == (r#"{"a":2}"#, "10.0.0.1")
    })
    .await;
    let gone = async |token: &String| {
        eventually("the peer finds no session", async || peer.get(token).await.is_none()).await;
    };
    assert_eq!(service.kill(&tokens[1]).await, 1);
    gone(&tokens[1]).await;
    assert_eq!(service.killsoid("carl").await, 1);
    gone(&tokens[2]).await;
    assert_eq!(service.killall().await, 2);
    gone(&tokens[3]).await;
    gone(&tokens[0]).await;
    pair.assert_no_keys_left();
}

async fn changes_by_the_peer_invalidate_the_cache_of_the_service(version: Version) {
    let cachetime =
        |config: &mut rest_sessions::config::Config| config.cachetime = DurationArg(Duration::from_hours(1));
    // A peer publishes invalidations only with a cache of its own.
    let pair = Pair::start_with(version, cachetime, json!({ "cachetime": 3600 })).await;
    let Pair { service, peer, .. } = &pair;
    await_subscribers(&pair, 2).await;
    let mut tokens = Vec::new();
    for id in ["ann", "bob", "carl", "dora"] {
        let token = service.create(with_data(id)).await;
        let key = pair.key(&format!("forum:{token}"));
        // A change without an invalidation: while the service does not see it, the service answers from its cache.
        eventually("the service answers from its cache", async || {
            let _: u64 = redis_server::ask(&format!("HSET {key} ip 127.0.0.1"));
            let before = service.get(&token).await.expect("alive").ip;
            let _: u64 = redis_server::ask(&format!("HSET {key} ip 10.0.0.1"));
            let after = service.get(&token).await.expect("alive").ip;
            before == "127.0.0.1" && after == before
        })
        .await;
        tokens.push(token);
    }

    peer.set(&tokens[0], r#"{"a":2}"#).await.expect("alive");
    eventually("the service reads from Redis", async || {
        let session = service.get(&tokens[0]).await.expect("alive");
        (session.d(), session.ip.as_str()) == (r#"{"a":2}"#, "10.0.0.1")
    })
    .await;
    let gone = async |token: &String| {
        eventually("the service finds no session", async || {
            service.get(token).await.is_none()
        })
        .await;
        for _ in 0..100 {
            assert!(service.get(token).await.is_none(), "the session came back");
        }
    };
    assert_eq!(peer.kill(&tokens[1]).await, 1);
    gone(&tokens[1]).await;
    peer.killsoid("carl").await;
    gone(&tokens[2]).await;
    peer.killall().await;
    gone(&tokens[3]).await;
    gone(&tokens[0]).await;
}
