//! The timer that a connection waits with for its next request, and then for its client to leave while it is answered.
//!
//! hyper makes a new wait for each request and drops it when the request is there. With tokio's timers that would take the
//! lock of all timers twice for each request, which all threads want. Here a connection has one of them for all of its
//! waits: where it rings too early, because requests have come since it was set, it is set anew. A busy connection sets it
//! about once a second.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt;
use tokio::time;

/// The timer of one connection, which waits for one thing at a time.
#[derive(Clone, Debug)]
pub(crate) struct IdleTimer(Arc<Mutex<Pin<Box<time::Sleep>>>>);

impl IdleTimer {
    pub(crate) fn new() -> Self {
        // Whoever waits first sets it.
        Self(Arc::new(Mutex::new(Box::pin(time::sleep(Duration::ZERO)))))
    }

    /// Waits until then. Invariant: no other wait of this timer is polled meanwhile.
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
        let mut alarm = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        if alarm.deadline() > self.until {
            alarm.as_mut().reset(self.until);
        }
        loop {
            ready!(alarm.as_mut().poll(context));
            if alarm.deadline() == self.until {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(self.until);
        }
    }
}

impl rt::Sleep for Wait {}
