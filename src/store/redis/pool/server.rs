//! One server, and the task that sends what has to reach its replicas.

use std::sync::Arc;

use deadpool_redis::redis::{Cmd, Value};
use tokio::task::AbortHandle;

use crate::store::redis::{
    connection::resp::RawReply,
    error::CommandError,
    pool::connections::{Pool, ServerRequest},
};

/// One server, and the task that sends what has to reach its replicas.
pub(crate) struct Server {
    pub(crate) pool: Arc<Pool>,
    task: AbortHandle,
}

impl Server {
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn start(pool: Pool) -> Self {
        let pool = Arc::new(pool);
        let task = tokio::spawn(pool.clone().serve_changes()).abort_handle();
        Self { pool, task }
    }

    /// The reply of the only server.
    pub(crate) async fn answer(&self, request: ServerRequest<'_>) -> Result<RawReply, CommandError> {
        let reply = self.pool.answer(request, false).await;
        reply.map_err(|failure| self.pool.misled(failure))
    }

    pub(crate) async fn ping(&self) -> Result<(), CommandError> {
        let mut cmd = Cmd::with_capacity(1, 4);
        cmd.arg("PING");
        let pong = self.pool.answer(ServerRequest::Command(&cmd), false).await?;
        match pong.value() {
            Ok(Value::SimpleString(text)) if text == "PONG" => Ok(()),
            _ => Err(self.pool.nonsense()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
