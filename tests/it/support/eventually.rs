//! Polling for asynchronous effects, such as those of the wiper, without asserting how long they take.

use std::time::Duration;

/// Polls a condition until it holds; panics after a minute, which only a defect takes.
pub(crate) async fn eventually(expectation: &str, mut condition: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let finished = tokio::time::timeout(Duration::from_mins(1), polling).await;
    assert!(finished.is_ok(), "not within a minute: {expectation}");
}
