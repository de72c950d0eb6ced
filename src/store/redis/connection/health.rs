//! Whether a connection may take further commands. Shared by its handles, its task and the replies that came on it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The health of one connection.
#[derive(Default)]
pub(super) struct ConnectionHealth {
    broken: AtomicBool,
    given_up: Notify,
}

impl ConnectionHealth {
    /// Keeps further commands off the connection. Commands in flight may still get their replies.
    pub(super) fn give_up(&self) {
        self.mark_broken();
        self.given_up.notify_one();
    }

    /// The same for the task of the connection, which needs no notification.
    pub(super) fn mark_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Whether the connection has ended or was given up.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Waits until the connection is given up.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }
}
