//! Instances with a wrong clock use the clock of Redis, report the skew, and wipe nothing beyond a stated skew.

use crate::support::{Server, Store, eventually, redis_server};

const SKEW: &str = "rest_sessions_clock_skew_seconds";

/// The clock skew in a server's metrics, once it is measured.
async fn skew(server: &Server) -> f64 {
    let reported = async || {
        let metrics = server.metrics().await;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(SKEW)?.strip_prefix(' '));
        line.expect("a clock skew").parse::<f64>().expect("a number")
    };
    eventually("the skew is measured", async || !reported().await.is_nan()).await;
    reported().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_ends_no_session() {
    let world = Server::start(Store::Redis).await;
    let right = world.start_off(0, |_| {}).await;
    for off in [7200, 30, -7200] {
        let wrong = world.start_off(off, |_| {}).await;
        let (a, b) = (right.app("forum"), wrong.app("forum"));
        // Already the first request of an instance uses the clock of Redis.
        let token = a.create_with("ann", "&ttl=20", "").await;
        let session = b
            .get(&token)
            .await
            .unwrap_or_else(|| panic!("ended by a clock {off} s off"));
        assert!(session.idle < 10, "{off}: {session:?}");
        assert_eq!(b.set(&token, r#"{"a":1}"#).await.expect("alive").w, 2);
        let other = b.create_with("ann", "&ttl=20", "").await;
        let session = a.get(&other).await.expect("alive");
        assert!(session.idle < 10, "{off}: {session:?}");
        assert_eq!((a.soid("ann").await.len(), b.soid("ann").await.len()), (2, 2));
        assert_eq!((b.soapp(600).await.len(), b.activity(600).await), (2, 1));
        assert_eq!((b.kill(&token).await, a.kill(&other).await), (1, 1));
        let (reported, actual) = (skew(&wrong).await, f64::from(i32::try_from(off).expect("small")));
        assert!((reported - actual).abs() < 3.0, "{off}: {reported}");
    }
    assert!(skew(&right).await.abs() < 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_with_a_large_skew_does_not_wipe() {
    let world = Server::start(Store::Redis).await;
    let ahead = world.start_off(60, |config| config.wipe = 1).await;
    let token = ahead.app("forum").create("ann").await;
    // Make the session look long expired.
    let key = format!("{}:forum:{token}", world.config.namespace);
    let ends = format!("{}:SESSIONS", world.config.namespace);
    let _: u64 = redis_server::ask(&format!("HSET {key} la 1000000000"));
    let _: u64 = redis_server::ask(&format!("ZADD {ends} 1000007200 forum:{token}:ann"));
    ahead
        .until_metric(r#"rest_sessions_store_operations_total{operation="wipe"}"#, 3)
        .await;
    assert_eq!(redis_server::ask::<u64>(&format!("EXISTS {key}")), 1);
    let right = world.start_off(0, |config| config.wipe = 1).await;
    right.until_metric("rest_sessions_expired_total", 1).await;
    assert_eq!(redis_server::ask::<u64>(&format!("EXISTS {key}")), 0);
}
