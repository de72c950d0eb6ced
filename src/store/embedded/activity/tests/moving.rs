//! Counting while gets move the entries that are being counted.

use super::*;
use crate::store::{Key, embedded::codec::Stored};

const IDS: u64 = 200_000;
/// Sessions in a commit.
const COMMIT: u64 = 5000;

/// Creates one session for each id, all active at [`START`].
fn fill(store: &Embedded) -> Vec<Token> {
    let tokens: Vec<_> = (0..IDS)
        .map(|n| Token::parse(&format!("{:016x}{n:048}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).unwrap())
        .collect();
    for commit in (0..IDS).step_by(COMMIT as usize) {
        let mut batch = store.cache.disk.batch().unwrap();
        for n in commit..commit + COMMIT {
            let key = Key {
                app: app(0),
                token: tokens[n as usize],
            };
            let record = Record {
                ttl: 7200,
                no_resave: false,
                ..record(n as usize, START)
            };
            batch.insert(&key, &Stored { active: START, record });
        }
        batch.commit().unwrap();
    }
    tokens
}

/// Counts again and again while every session is read, each a step later than it was, so that its entry moves.
async fn count_while_all_are_read(memory: u64, tracked: bool) {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open(&folder, memory));
    let tokens = fill(&store);
    let reader = store.clone();
    let reading = tokio::task::spawn_blocking(move || {
        for round in 1..=2 {
            for token in &tokens {
                let key = Key {
                    app: app(0),
                    token: *token,
                };
                reader.cache.get(key, START + round * 20).unwrap().unwrap();
            }
        }
    });
    let mut counts = 0;
    while !reading.is_finished() || counts < 3 {
        store.cache.trackers.forget_all();
        // From the band in which records decide, and from before it.
        for since in [START, START - 30] {
            let started = std::time::Instant::now();
            assert_eq!(
                store.activity(app(0), since).await.unwrap(),
                IDS,
                "since {since}, count {counts}"
            );
            eprintln!("count {counts} took {:?}", started.elapsed());
            counts += 1;
        }
        assert_eq!(is_tracked(&store, app(0)), tracked);
    }
    reading.await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_by_reading_is_exact_while_entries_move() {
    count_while_all_are_read(1 << 20, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracked_count_is_exact_while_entries_move() {
    count_while_all_are_read(64 << 20, true).await;
}
