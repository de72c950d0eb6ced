//! Waits for the signal to end, and bounds what follows.
//!
//! A frozen disk, a store that does not close or a log that is not read can block every thread of the runtime, and with
//! them its timers and signals. So this runs on a thread of its own: it hears the signal, and ends the process by force when
//! draining and closing take longer than they may. The store is then left as a kill leaves it, which its next start copes
//! with: creates, sets and kills that were answered are kept.

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

/// Exit code of an end by force.
pub const FORCED: i32 = 3;
/// How long the store may take to close once requests have drained.
pub const CLOSING: Duration = Duration::from_secs(5);
/// How long the last line may take to be written.
const SAYING: Duration = Duration::from_secs(1);

/// What the server needs to know of its end, and to tell of it.
#[derive(Debug)]
pub struct Shutdown {
    asked: oneshot::Receiver<()>,
    drained: Sender<()>,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT. After the first of them, requests may take `draining` and the store [`CLOSING`].
    pub fn on_signals(draining: Duration) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let signals = {
            let _runtime = runtime.enter();
            [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]
        };
        let (ask, asked) = oneshot::channel();
        let (drained, is_drained) = channel();
        thread::Builder::new().name("shutdown".into()).spawn(move || {
            runtime.block_on(any(signals));
            // The server may not have begun to listen for it yet, or have ended by itself.
            let _ = ask.send(());
            expire(draining, &is_drained);
            say();
            process::exit(FORCED);
        })?;
        Ok(Self { asked, drained })
    }

    /// Resolves with the first signal, and has what is to be called once requests have drained.
    pub fn parts(self) -> (impl Future<Output = ()>, impl FnOnce()) {
        let Self { asked, drained } = self;
        let asked = async {
            // The thread ends only with the process.
            let _ = asked.await;
        };
        (asked, move || drop(drained))
    }
}

async fn any([mut terminate, mut interrupt]: [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Returns when the process should have ended long ago.
fn expire(draining: Duration, drained: &Receiver<()>) {
    match drained.recv_timeout(draining + CLOSING) {
        Err(RecvTimeoutError::Timeout) => {}
        Ok(()) | Err(RecvTimeoutError::Disconnected) => thread::sleep(CLOSING),
    }
}

/// Says why, but does not wait for a log that is not read.
fn say() {
    let (said, done) = channel();
    let line = move || {
        error!("the shutdown exceeds its limit: the store does not close, or threads are stuck in the disk or the log");
        error!("exiting with code {FORCED}");
        let _ = said.send(());
    };
    if thread::Builder::new().spawn(line).is_ok() {
        let _ = done.recv_timeout(SAYING);
    }
}
