//! A panic of the writer thread.

use std::process::Command;

use super::*;
use crate::{
    config::{LogFormat, LogLevel},
    observability::logging,
};

#[tokio::test]
async fn a_panic_costs_its_own_batch_and_no_answered_change() {
    let world = Arc::new(World::new(PATIENCE));
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    assert_eq!(world.reads(ann).await, Some(1));
    let thaw = world.freeze().await;
    let waits = |id: &'static str| {
        let world = world.clone();
        tokio::spawn(async move { world.create(id).await })
    };
    let before = waits("ben");
    in_order().await;
    world.in_writer(Moment::InTurn, || panic!("for this test"));
    let after = waits("carl");
    in_order().await;
    drop(thaw);
    let (ben, refused) = before.await.unwrap();
    assert_eq!(refused, Err(Error::Unavailable));
    // It was still queued, so it is refused while the engine is closed, or applied afterwards.
    let (carl, answered) = after.await.unwrap();
    world.ready().await;
    assert_eq!(world.reads(ben).await, None);
    assert_eq!(world.reads(carl).await.is_some(), answered.is_ok());
    // The buffered read is not lost either.
    assert_eq!(world.reads(ann).await, Some(2));
    let set = world.store.set(app(), ann, changes(r#"{"a":1}"#), NOW).await;
    assert_eq!(set.unwrap().unwrap().w, 2);
    assert_eq!(
        world.store.activity(app(), NOW).await,
        Ok(1 + u64::from(answered.is_ok()))
    );
    assert_eq!(world.ends(), [""; 0]);
    world.store.close().await.unwrap();
}

#[tokio::test]
async fn the_cache_agrees_with_the_disk_after_a_panic_between_commit_and_cache() {
    let world = Arc::new(World::new(PATIENCE));
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    let (ben, created) = world.create("ben").await;
    created.unwrap();
    assert_eq!(world.reads(ann).await, Some(1));
    let thaw = world.freeze().await;
    let kill = tokio::spawn({
        let world = world.clone();
        async move { world.store.kill(app(), ann, NOW).await }
    });
    let set = tokio::spawn({
        let world = world.clone();
        async move { world.store.set(app(), ben, changes(r#"{"a":1}"#), NOW).await }
    });
    in_order().await;
    world.in_writer(Moment::AfterCommit, || panic!("for this test"));
    drop(thaw);
    assert_eq!(kill.await.unwrap(), Err(Error::Unavailable));
    assert!(set.await.unwrap().is_err());
    world.ready().await;
    // Both changes are on disk, so both are visible.
    assert_eq!(world.reads(ann).await, None);
    let set = world.store.set(app(), ben, changes(r#"{"b":2}"#), NOW).await;
    let session = set.unwrap().unwrap();
    assert_eq!((session.w, session.d.unwrap().as_str()), (3, r#"{"a":1,"b":2}"#));
    assert_eq!(world.ends(), [""; 0]);
}

#[tokio::test]
async fn a_second_panic_ends_the_process() {
    let world = World::new(PATIENCE);
    world.in_writer(Moment::InTurn, || panic!("for this test"));
    world.ready().await;
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    world.in_writer(Moment::AfterCommit, || panic!("for this test"));
    let start = Instant::now();
    while world.ends().is_empty() {
        assert!(start.elapsed() < PATIENCE, "the process goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ends = world.ends();
    assert!(ends.len() == 1 && ends[0].contains("panicked twice"), "{ends:?}");
    // Until the process has ended, changes are refused at once and reads continue.
    assert_eq!(world.store.ping().await, Err(Error::Unavailable));
    assert_eq!(world.reads(ann).await, Some(1));
}

/// Ends a real process, started for this test.
#[test]
fn the_process_ends_with_a_line_and_a_failure() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "store::embedded::writer::tests::panics::panics_twice",
        "--ignored",
        "--nocapture",
    ]);
    let output = child.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    // Not 101, with which a failed test ends.
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("panicked twice within ten minutes: the process exits"),
        "{log}"
    );
}

#[test]
#[ignore = "ends the process; runs in a process of its own, started by the test before"]
fn panics_twice() {
    logging::start(LogLevel::Error, LogFormat::Text);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (folder, metrics) = (tempfile::tempdir().unwrap(), Arc::new(Metrics::new()));
        let embedded = Embedded::open(folder.path(), 1 << 20, PATIENCE, metrics.clone()).unwrap();
        let world = World {
            store: Arc::new(Store::new(Backend::Embedded(embedded), PATIENCE, metrics)),
            ends: Arc::default(),
            _folder: folder,
        };
        for _ in 0..2 {
            world.in_writer(Moment::InTurn, || panic!("for this test"));
            world.ready().await;
        }
    });
}
