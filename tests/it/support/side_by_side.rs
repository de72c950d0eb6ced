//! Concurrent requests with a limit.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinSet};

/// Runs each future as a task, at most `at_once` at a time, and returns their results in the order of completion.
pub(crate) async fn side_by_side<F>(at_once: usize, work: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let permits = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for work in work {
        let permits = permits.clone();
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            work.await
        });
    }
    tasks.join_all().await
}
