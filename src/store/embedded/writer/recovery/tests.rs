//! Recovery from a data folder that was moved away, after a panic and without one.

use std::{fs, sync::Arc};

use tempfile::TempDir;

use super::*;
use crate::{
    observability::metrics::Metrics,
    store::embedded::{
        activity::Trackers,
        engine::{DataDir, EngineHandle},
    },
};

fn cache() -> (Cache, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let claimed = DataDir::claim(&folder.path().join("data")).unwrap();
    let disk = EngineHandle::open(claimed, 1 << 20, Arc::new(Metrics::new())).unwrap();
    (Cache::new(Arc::new(disk), 1 << 20, Trackers::new(1 << 20)), folder)
}

#[test]
fn recovery_after_a_panic_is_given_up_in_time() {
    let (cache, folder) = cache();
    fs::rename(folder.path().join("data"), folder.path().join("away")).unwrap();
    let now = Instant::now();
    assert!(Recovery::after_panic(&cache, now).poll(&cache));
    let long_ago = now.checked_sub(PANIC_LIMIT).unwrap();
    assert!(!Recovery::after_panic(&cache, long_ago).poll(&cache));
    // An attempt that succeeds counts, even after the limit.
    fs::rename(folder.path().join("away"), folder.path().join("data")).unwrap();
    let mut recovery = Recovery::after_panic(&cache, long_ago);
    assert!(recovery.poll(&cache));
    assert!(recovery.batch(&cache).is_ok_and(|batch| batch.commit().is_ok()));
}

#[test]
fn recovery_waits_without_limit_for_a_folder_that_was_moved() {
    let (cache, folder) = cache();
    let mut recovery = Recovery::default();
    fs::rename(folder.path().join("data"), folder.path().join("away")).unwrap();
    assert!(recovery.poll(&cache));
    assert!(cache.disk.gone() && recovery.batch(&cache).is_err());
    assert!(recovery.give_up_at.is_none());
}
