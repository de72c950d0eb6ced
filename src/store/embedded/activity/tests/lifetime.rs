//! When trackers are given up: without questions, and without memory.

use super::{
    super::{memory_budget::ID_BYTES, tracker::TRACKER_COST},
    *,
};

#[tokio::test]
async fn a_tracker_is_given_up_after_two_periods_without_a_question() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, MEMORY);
    create(&store, app(0), 1, START).await;
    for _ in 0..3 {
        assert_eq!(store.activity(app(0), START).await.unwrap(), 1);
        store.cache.trackers.end_period();
        assert!(is_tracked(&store, app(0)));
    }
    store.cache.trackers.end_period();
    store.cache.trackers.end_period();
    assert!(!store.cache.trackers.any());
    create(&store, app(0), 2, START).await;
    assert_eq!(store.activity(app(0), START).await.unwrap(), 2);
    store.close().await.unwrap();
}

/// The memory budget has places for 136 ids.
#[tokio::test]
async fn an_app_with_more_ids_than_fit_is_scanned() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, ID_BYTES * (TRACKER_COST as u64 + 136));
    for user in 0..136 {
        create(&store, app(0), user, START).await;
    }
    assert_eq!(store.activity(app(0), START).await.unwrap(), 136);
    assert!(is_tracked(&store, app(0)));
    create(&store, app(0), 136, START).await;
    assert!(!is_tracked(&store, app(0)));
    assert_eq!(store.activity(app(0), START).await.unwrap(), 137);
    // A full tracker leaves no memory for another one. A tracker that is given up gives all of its memory back.
    store.cache.trackers.end_period();
    assert_eq!(store.activity(app(1), START).await.unwrap(), 0);
    assert!(is_tracked(&store, app(1)));
    for user in 0..136 {
        create(&store, app(1), user, START).await;
    }
    assert_eq!(store.activity(app(0), START).await.unwrap(), 137);
    assert!(is_tracked(&store, app(1)) && !is_tracked(&store, app(0)));
    store.close().await.unwrap();
}
