//! Counting while gets move the entries that are being counted.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;
use crate::store::{
    Key,
    embedded::codec::{Fields, Stored},
};

const IDS: usize = 10_000;
/// Sessions in a commit.
const COMMIT: usize = 2000;

/// Creates one session for each id, all active at [`START`].
fn fill(store: &Embedded) -> Vec<Token> {
    let tokens: Vec<_> = (0..IDS)
        .map(|n| Token::parse(&format!("{:016x}{n:048}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).unwrap())
        .collect();
    for commit in (0..IDS).step_by(COMMIT) {
        let mut batch = store.cache.disk.batch().unwrap();
        for (n, token) in tokens.iter().enumerate().skip(commit).take(COMMIT) {
            let key = Key {
                app: app(0),
                token: *token,
            };
            let record = Record {
                ttl: 1_000_000,
                no_resave: false,
                ..record(n, START)
            };
            batch.insert(
                &key,
                &Stored {
                    active: START,
                    record,
                    fields: Fields::default(),
                },
            );
        }
        batch.commit().unwrap();
    }
    tokens
}

/// Counts while every session is read again and again, each time later by more than an entry may lag, so that all entries
/// move all the time.
async fn count_while_all_are_read(memory: u64, tracked: bool) {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open(&folder, memory));
    let tokens = fill(&store);
    let done = Arc::new(AtomicBool::new(false));
    let reading = tokio::task::spawn_blocking({
        let (store, done) = (store.clone(), done.clone());
        move || {
            for round in 1.. {
                for token in &tokens {
                    if done.load(Relaxed) {
                        return;
                    }
                    let key = Key {
                        app: app(0),
                        token: *token,
                    };
                    store.cache.get(key, START + round * 20).unwrap().unwrap();
                }
            }
        }
    });
    // Records decide about all entries, about none, and about all again.
    for since in [START, START - 30, START] {
        store.cache.trackers.forget_all();
        let counted = store.activity(app(0), since).await;
        if counted != Ok(IDS as u64) {
            done.store(true, Relaxed);
        }
        assert_eq!(counted, Ok(IDS as u64), "since {since}");
        assert_eq!(is_tracked(&store, app(0)), tracked);
    }
    done.store(true, Relaxed);
    reading.await.unwrap();
    // The flush of all reads may exceed the time limit of a close. The counts are what this test is about.
    drop(store.close().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_without_a_tracker_is_exact_while_entries_move() {
    count_while_all_are_read(1 << 16, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_with_a_tracker_is_exact_while_entries_move() {
    count_while_all_are_read(64 << 20, true).await;
}
