//! Receives the signal to shut down, and bounds the time of the shutdown.
//!
//! A frozen disk, a store that does not close or a full log pipe can block every thread of the runtime, and with them its
//! timers and signals. So a thread of its own receives the signal, and ends the process when draining and closing exceed
//! their limits. The store is then left as after a kill: the next start recovers every create, set and kill that was answered.

use std::{
    io, process,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing::error;

/// Exit code of a shutdown that exceeded its limits.
pub const EXIT_FORCED: i32 = 3;
/// Time for the store to close once requests have drained.
pub const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Time for the last log lines to be written.
const LOG_LIMIT: Duration = Duration::from_secs(1);

/// The signal to shut down, and the way to report that requests have drained.
#[derive(Debug)]
pub struct Shutdown {
    signal: oneshot::Receiver<()>,
    drained: Sender<()>,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT. After the first of them, requests have `draining` and the store has [`CLOSE_LIMIT`].
    pub fn on_signals(draining: Duration) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let signals = {
            let _runtime = runtime.enter();
            [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]
        };
        let (notify, signalled) = oneshot::channel();
        let (drained, is_drained) = channel();
        thread::Builder::new().name("shutdown".into()).spawn(move || {
            runtime.block_on(first_of(signals));
            // Fails if the server has ended by itself.
            let _ = notify.send(());
            wait_for_limits(draining, &is_drained);
            log_reason();
            process::exit(EXIT_FORCED);
        })?;
        Ok(Self {
            signal: signalled,
            drained,
        })
    }

    /// A future that resolves with the first signal, and a callback for the moment when requests have drained.
    pub fn parts(self) -> (impl Future<Output = ()>, impl FnOnce()) {
        let Self { signal, drained } = self;
        let signalled = async {
            // Invariant: the thread lives as long as the process.
            let _ = signal.await;
        };
        (signalled, move || drop(drained))
    }
}

async fn first_of([mut terminate, mut interrupt]: [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Returns when the shutdown has exceeded its limits.
fn wait_for_limits(draining: Duration, drained: &Receiver<()>) {
    match drained.recv_timeout(draining + CLOSE_LIMIT) {
        Err(RecvTimeoutError::Timeout) => {}
        Ok(()) | Err(RecvTimeoutError::Disconnected) => thread::sleep(CLOSE_LIMIT),
    }
}

/// Logs the reason, without waiting for a log that blocks.
fn log_reason() {
    let (logged, done) = channel();
    let line = move || {
        error!("the shutdown exceeds its limit: the store does not close, or threads are stuck in the disk or the log");
        error!("exiting with code {EXIT_FORCED}");
        let _ = logged.send(());
    };
    if thread::Builder::new().spawn(line).is_ok() {
        let _ = done.recv_timeout(LOG_LIMIT);
    }
}
