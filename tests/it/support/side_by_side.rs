//! Requests that run at the same time.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinSet};

/// Runs all of `work`, so many at once, each as a task of its own, and returns what came of it in no order.
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
