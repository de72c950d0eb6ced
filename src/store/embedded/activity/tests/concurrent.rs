//! Counts while sessions are created, read, changed and removed at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Trackers are created and filled while sessions are created, read and removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tracker_created_amid_changes_misses_none() {
    const USERS: usize = 40;
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open(&folder, MEMORY));
    let now = Arc::new(AtomicU64::new(START));
    for round in 0..60 {
        store.cache.trackers.forget_all();
        let mut tasks = Vec::new();
        for user in 0..USERS {
            let (store, now) = (store.clone(), now.clone());
            tasks.push(tokio::spawn(async move {
                let time = || now.load(Ordering::SeqCst);
                let token = create(&store, app(0), user, time()).await;
                for _ in 0..4 {
                    store.get(app(0), token, time()).await.unwrap();
                    tokio::task::yield_now().await;
                }
                match (user + round) % 4 {
                    0 => drop(store.killsoid(app(0), id(user)).await.unwrap()),
                    1 => drop(store.kill(app(0), token, time()).await.unwrap()),
                    2 => set(&store, app(0), token, time()).await,
                    _ => {}
                }
            }));
        }
        for dt in [0, 3, 20, 40] {
            let (store, now) = (store.clone(), now.clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..3 {
                    let since = now.fetch_add(1, Ordering::SeqCst) - dt;
                    assert!(store.activity(app(0), since).await.unwrap() <= USERS as u64);
                    tokio::task::yield_now().await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let now = now.load(Ordering::SeqCst);
        assert!(is_tracked(&store, app(0)));
        for dt in 0..60 {
            let counted = store.activity(app(0), now - dt).await.unwrap();
            assert_eq!(
                counted,
                count_by_scan(&store, app(0), now - dt).await,
                "round {round}, dt={dt}"
            );
        }
    }
    store.close().await.unwrap();
}

/// A client whose create was answered finds the id counted, whatever other clients ask or create.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_count_includes_every_create_answered_before() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open(&folder, MEMORY));
    let created = Arc::new(AtomicU64::new(0));
    let tasks = (0..8).map(|task| {
        let (store, created) = (store.clone(), created.clone());
        tokio::spawn(async move {
            for n in 0..25 {
                create(&store, app(0), task * 1000 + n, START).await;
                let least = created.fetch_add(1, Ordering::SeqCst) + 1;
                if n % 10 == task {
                    store.cache.trackers.forget_all();
                }
                assert!(store.activity(app(0), START - 5).await.unwrap() >= least);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    store.close().await.unwrap();
}
