//! The background tasks of a store. A panic restarts a task; a second one within ten minutes ends the process.

use tokio::task::AbortHandle;

use crate::process::supervisor;

/// Tasks that end when this is dropped.
#[derive(Default)]
pub(crate) struct BackgroundTasks(Vec<AbortHandle>);

impl BackgroundTasks {
    /// Starts a task, whose name stands in the log if it panics.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn spawn<F>(&mut self, name: &'static str, task: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.push(supervisor::spawn(name, task).abort_handle());
    }
}

impl Drop for BackgroundTasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
