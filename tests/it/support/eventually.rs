//! Waiting for what happens at its own time, as the wiper does. Nothing is asserted about how long that takes.

use std::time::Duration;

/// Asks until the answer is yes. Only a defect makes it give up.
pub(crate) async fn eventually(what: &str, mut question: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !question().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = tokio::time::timeout(Duration::from_mins(1), asked).await;
    assert!(answered.is_ok(), "not within a minute: {what}");
}
