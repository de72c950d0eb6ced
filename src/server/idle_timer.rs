//! One timer per connection, for the deadline of its next request and then for the checks of its client.
//!
//! hyper creates a wait for each request and drops it when the request arrives. With a tokio timer each, that would take the
//! lock of the timer wheel, which all threads share, twice per request. Here all waits of a connection share one tokio timer.
//! If it fires too early, because requests arrived since it was set, it is set again: about once a second on a busy
//! connection.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt;
use tokio::time;

/// The timer of one connection. It serves one wait at a time.
#[derive(Clone, Debug)]
pub(crate) struct IdleTimer(Arc<Mutex<Pin<Box<time::Sleep>>>>);

impl IdleTimer {
    pub(crate) fn new() -> Self {
        // The first wait sets the deadline.
        Self(Arc::new(Mutex::new(Box::pin(time::sleep(Duration::ZERO)))))
    }

    /// Waits until `until`. Invariant: no other wait of this timer is polled meanwhile.
    pub(crate) fn wait(&self, until: time::Instant) -> Wait {
        let timer = self.clone();
        Wait { timer, until }
    }
}

impl rt::Timer for IdleTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(self.wait(deadline.into()))
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

pub(crate) struct Wait {
    timer: IdleTimer,
    until: time::Instant,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut sleep = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sleep.deadline() > self.until {
            sleep.as_mut().reset(self.until);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() == self.until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.until);
        }
    }
}

impl rt::Sleep for Wait {}
