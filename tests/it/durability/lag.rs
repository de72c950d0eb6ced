//! Reads and last activity may be a second behind on disk, and no more.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::process::Process;

#[tokio::test]
async fn a_read_is_on_disk_a_second_later() {
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
    // A list counts as no read and shows the session as it is.
    let sessions = process.app().soid("somebody").await;
    let [session] = sessions.as_slice() else {
        panic!("{sessions:?}");
    };
    assert_eq!(session.r, 4);
    // Whole seconds, rounded down at both ends. From the creation on, it would be 2 more at least.
    assert!(session.idle <= read.elapsed().as_secs() + 1, "{session:?}");
}

#[tokio::test]
async fn a_get_just_before_sigterm_is_kept() {
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
