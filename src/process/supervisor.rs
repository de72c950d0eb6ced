//! Restarts background tasks after a panic. A second panic of the same task within [`WITHIN`] ends the process, so that the
//! operator's supervisor starts a fresh one.
//!
//! Why: a process without its writer or its wiper looks healthy from outside, and fails forever.

use std::{
    process,
    time::{Duration, Instant},
};

use tokio::task::{JoinHandle, JoinSet};
use tracing::error;

/// Two panics of one task within this time end the process.
pub(crate) const WITHIN: Duration = Duration::from_mins(10);
/// Exit code of a process that cannot go on.
const EXIT_FAILED: i32 = 1;

/// The panics of one background task.
#[derive(Debug, Default)]
pub(crate) struct Panics {
    last: Option<Instant>,
}

impl Panics {
    /// Records a panic at `now`. Returns true if the previous one is less than [`WITHIN`] ago.
    pub(crate) fn record(&mut self, now: Instant) -> bool {
        let before = self.last.replace(now);
        before.is_some_and(|before| now.saturating_duration_since(before) < WITHIN)
    }
}

/// Logs the reason and ends the process at once with exit code 1.
pub(crate) fn end_process(why: &str) -> ! {
    error!("{why}: the process exits with code {EXIT_FAILED} to be restarted");
    process::exit(EXIT_FAILED)
}

/// Spawns a supervised task. Aborting the handle aborts the task.
pub(crate) fn spawn<F>(name: &'static str, task: impl Fn() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(supervise(name, task, |why| end_process(why)))
}

async fn supervise<F>(name: &'static str, task: impl Fn() -> F, end: impl Fn(&str))
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut panics = Panics::default();
    loop {
        // Dropping a `JoinSet` aborts its task.
        let mut running = JoinSet::new();
        running.spawn(task());
        let panicked = matches!(running.join_next().await, Some(Err(failed)) if failed.is_panic());
        if !panicked {
            return;
        }
        if panics.record(Instant::now()) {
            return end(&format!("the {name} panicked twice within ten minutes"));
        }
        error!("the {name} panicked: restarting it");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use super::*;

    #[test]
    fn a_second_panic_counts_only_within_the_time() {
        let (start, mut panics) = (Instant::now(), Panics::default());
        assert!(!panics.record(start));
        assert!(!panics.record(start + WITHIN));
        assert!(panics.record(start + WITHIN + Duration::from_secs(1)));
    }

    /// Supervises a task that panics `panics` times. Returns the number of runs and the reasons to end the process.
    async fn run(panics: usize) -> (usize, Vec<String>) {
        let (runs, ends) = (Arc::new(AtomicUsize::new(0)), Mutex::new(Vec::new()));
        let task = || {
            let runs = runs.clone();
            async move {
                let run = runs.fetch_add(1, SeqCst);
                assert!(run >= panics, "a panic of this test");
            }
        };
        supervise("task", task, |why| ends.lock().unwrap().push(why.to_owned())).await;
        (runs.load(SeqCst), ends.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_task_survives_one_panic_and_the_second_ends_the_process() {
        assert_eq!(run(0).await, (1, vec![]));
        assert_eq!(run(1).await, (2, vec![]));
        let (runs, ends) = run(2).await;
        assert_eq!(runs, 2);
        assert!(ends.len() == 1 && ends[0].contains("task panicked twice"), "{ends:?}");
    }

    #[tokio::test]
    async fn aborting_the_handle_aborts_the_task() {
        let alive = Arc::new(());
        let held = alive.clone();
        let handle = spawn("task", move || {
            let held = held.clone();
            async move {
                std::future::pending::<()>().await;
                drop(held);
            }
        });
        tokio::task::yield_now().await;
        handle.abort();
        assert!(handle.await.unwrap_err().is_cancelled());
        for _ in 0..1000 {
            if Arc::strong_count(&alive) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the task still holds its argument");
    }
}
