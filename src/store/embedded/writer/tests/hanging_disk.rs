//! A disk that does not respond: the queue and the time to close are bounded.

use super::*;

#[tokio::test]
async fn abandoned_changes_are_skipped_but_kills_are_applied() {
    let world = World::new(Duration::from_millis(200));
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    let (ben, created) = world.create("ben").await;
    created.unwrap();
    let thaw = world.freeze().await;
    assert_eq!(world.create("late").await.1, Err(Error::Unavailable));
    let set = world.store.set(app(), ann, changes(r#"{"a":1}"#), NOW).await;
    assert_eq!(set.unwrap_err(), Error::Unavailable);
    assert_eq!(world.store.kill(app(), ben, NOW).await, Err(Error::Unavailable));
    drop(thaw);
    world.ready().await;
    assert_eq!(world.soid("late").await.len(), 0);
    assert_eq!(world.soid("ann").await[0].w, 1);
    assert_eq!(world.soid("ben").await.len(), 0);
}

#[tokio::test]
async fn the_queue_before_a_hanging_disk_is_bounded() {
    let world = World::new(PATIENCE);
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    let thaw = world.freeze().await;
    // All records share the text, so that the test itself does not take that memory.
    let mut large = record("large");
    large.data = changes(&format!(r#"{{"a":"{}"}}"#, "x".repeat(50_000)))
        .apply(None)
        .unwrap();
    let mut refused = 0;
    for _ in 0..2000 {
        let create = world.store.create(app(), token(), large.clone());
        // Polled once: only a refusal is ready at once.
        if let Ok(answer) = tokio::time::timeout(Duration::ZERO, create).await {
            assert_eq!(answer, Err(Error::Unavailable));
            refused += 1;
        }
    }
    assert!((500..1000).contains(&refused), "{refused}");
    let mut kill = std::pin::pin!(world.store.kill(app(), ann, NOW));
    let waits = tokio::time::timeout(Duration::from_millis(50), kill.as_mut()).await;
    assert!(waits.is_err(), "refused: {waits:?}");
    drop(thaw);
    assert_eq!(kill.await, Ok(true));
    assert_eq!(world.soid("large").await.len(), 0);
    world.create("later").await.1.unwrap();
}

#[tokio::test]
async fn close_is_bounded_on_a_hanging_disk() {
    let world = World::new(Duration::from_millis(200));
    world.create("ann").await.1.unwrap();
    let thaw = world.freeze().await;
    let start = Instant::now();
    assert_eq!(world.store.close().await, Err(Error::Unavailable));
    assert!(start.elapsed() < PATIENCE);
    drop(thaw);
}
