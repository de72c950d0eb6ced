//! Tests of buffered reads on the embedded store: `r` and `la` reach the disk within a second, and at shutdown.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::process::Process;

#[tokio::test]
async fn a_read_is_flushed_within_a_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    let token = app.create("somebody").await;
    sleep(Duration::from_secs(3)).await;
    for r in 1..=3 {
        assert_eq!(app.get(&token).await.map(|session| session.r), Some(r));
    }
    let read = Instant::now();
    sleep(Duration::from_millis(1_500)).await;
    process.kill();
    let process = Process::start(folder.path(), &[]);
    // A list does not count as a read.
    let sessions = process.app().soid("somebody").await;
    let [session] = sessions.as_slice() else {
        panic!("{sessions:?}");
    };
    assert_eq!(session.r, 4);
    // `idle` is in whole seconds, rounded down at both ends. Counted from the creation, it would be at least 2 more.
    assert!(session.idle <= read.elapsed().as_secs() + 1, "{session:?}");
}

#[tokio::test]
async fn a_get_just_before_sigterm_is_flushed() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    let token = app.create("somebody").await;
    sleep(Duration::from_secs(3)).await;
    let read = Instant::now();
    assert_eq!(app.get(&token).await.map(|session| session.r), Some(1));
    process.stop();
    let process = Process::start(folder.path(), &[]);
    let sessions = process.app().soid("somebody").await;
    assert_eq!(sessions.iter().map(|session| session.r).collect::<Vec<_>>(), [2]);
    assert!(sessions[0].idle <= read.elapsed().as_secs() + 1, "{sessions:?}");
}
