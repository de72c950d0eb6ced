//! Tests that the sessions of one app spread evenly over the masters of a cluster.

use crate::support::{Server, Store, redis_cluster, side_by_side};

const SESSIONS: usize = 3000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_app_spreads_evenly_over_three_masters() {
    // The default number of shards.
    let server = Server::start_with(Store::Cluster, |config| config.shards = 256).await;
    let app = server.app("forum");
    let creates = (0..SESSIONS).map(|n| {
        let app = app.clone();
        async move { app.create(&format!("user-{n}")).await }
    });
    side_by_side(64, creates).await;
    let record = format!("{{{}:*}}:forum:{}", server.config.namespace, "?".repeat(64));
    let masters = redis_cluster::shared().nodes.iter();
    let held: Vec<usize> = masters
        .map(|master| master.ask::<Vec<String>>(&format!("KEYS {record}")).len())
        .collect();
    assert_eq!(held.iter().sum::<usize>(), SESSIONS, "{held:?}");
    assert!(held.iter().all(|held| *held <= SESSIONS * 2 / 5), "{held:?}");
}
