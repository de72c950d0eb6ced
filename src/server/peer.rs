//! Drops a request whose client has disconnected.
//!
//! A client may close its sending side and still read the answer (RFC 9112, section 9.6), so hyper keeps such a connection. On
//! TCP, a client that closed its whole socket looks the same until something is sent to it. Both get their answer if it starts
//! soon. A long search for a client that is gone ends early, and stops competing with other requests.
//!
//! Requests that last longer than [`CHECK_INTERVAL`] check the flags of their socket from time to time, without reading from
//! it. hyper owns the socket, but flushes it after each poll of a handler, and [`super::client_socket`] checks the flags then. A
//! quick request costs one relaxed load for each flush.
//!
//! Limit: if the client pipelined more requests than fit into the buffers of the socket, its end is noticed only after hyper
//! has read them.

use std::{
    fmt,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::idle_timer::IdleTimer;

/// Time from the start of a request to the first check of its client, and between two checks.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The client has disconnected, so its request was dropped.
#[derive(Debug)]
pub(super) struct Disconnected;

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client disconnected before its answer began")
    }
}

impl std::error::Error for Disconnected {}

/// The state of the client of a connection: one of the constants below.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer(Arc<AtomicU8>);

/// The client is connected, as far as is known.
pub(super) const CONNECTED: u8 = 0;
/// The next flush checks the socket.
pub(super) const CHECK_REQUESTED: u8 = 1;
/// The client has closed its sending side, and perhaps its whole socket.
pub(super) const HALF_CLOSED: u8 = 2;
/// The client has closed its socket.
pub(super) const CLOSED: u8 = 3;

impl Peer {
    /// Whether the next flush should check the socket.
    pub(super) fn check_requested(&self) -> bool {
        self.0.load(Relaxed) == CHECK_REQUESTED
    }

    /// Stores the outcome of a check.
    pub(super) fn record(&self, state: u8) {
        self.0.store(state, Relaxed);
    }

    /// Waits for an answer. Fails once the client has closed its socket, or if the answer takes longer than `half_close_limit`
    /// after the client has closed its sending side.
    pub(super) async fn attend<T>(
        &self,
        timer: &IdleTimer,
        half_close_limit: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, Disconnected> {
        let mut answer = pin!(answer);
        let (mut wait, mut checking, mut half_closed) = (None, false, false);
        std::future::poll_fn(move |context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Ok(answer));
            }
            if checking {
                match self.0.load(Relaxed) {
                    CLOSED => return Poll::Ready(Err(Disconnected)),
                    HALF_CLOSED => {
                        (checking, half_closed) = (false, true);
                        wait = Some(timer.wait(Instant::now() + half_close_limit));
                    }
                    _ => {}
                }
            }
            let waiting = wait.get_or_insert_with(|| timer.wait(Instant::now() + CHECK_INTERVAL));
            ready!(Pin::new(waiting).poll(context));
            if half_closed {
                return Poll::Ready(Err(Disconnected));
            }
            self.0.store(CHECK_REQUESTED, Relaxed);
            checking = true;
            wait = None;
            // The flush comes before the next poll, which sees the outcome and sets the timer.
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests;
