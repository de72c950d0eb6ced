//! The accept loop.
//!
//! `axum::serve` never ends a connection that is silent, half-sent or idle, and one of them keeps it from ending itself.
//! Here each connection has a timer for the head of its next request, there is a cap on their number, and the end of the
//! server has a deadline.

mod early_refusal;
mod idle_timer;
pub mod listeners;
mod peer;
mod write_timeout;

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::unconstrained,
    time::timeout,
};
use tracing::{debug, info, warn};

use self::{
    early_refusal::EarlyRefusal,
    idle_timer::IdleTimer,
    listeners::{Accepted, Listeners},
    peer::{Observed, Peer},
    write_timeout::WriteTimeout,
};
use crate::http::{AppState, middleware::Stack};

/// Most headers of a request. Room for more than 100 costs two allocations a request, which jemalloc serves from a cache
/// of the thread as long as each stays within 14 KiB: 448 entries of 32 bytes do.
const MAX_HEADERS: usize = 448;

/// Bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a connection may wait for the head of a request, the first or the next, and for its client to read on.
    pub idle: Duration,
    /// Connections at once; further ones wait to be accepted.
    pub connections: u32,
    /// From the signal to the end of accepting; `/readyz` answers 503 meanwhile, so that whoever balances looks elsewhere.
    pub drain_delay: Duration,
    /// How long requests under way then have to finish.
    pub drain_timeout: Duration,
}

/// Serves until `shutdown` resolves, then drains.
pub async fn serve(
    listeners: Listeners,
    stack: Stack,
    state: &AppState,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Arc::new(Semaphore::new(limits.connections as usize));
    let (end, ending) = watch::channel(());
    let patience = state.body_timeout();
    let mut http = http1::Builder::new();
    // A head is read into one buffer: room for an id of 255 characters, escaped, many times over. An answer leaves in one
    // buffer, too: it is small, and copying it costs less than a system call that gathers.
    http.header_read_timeout(limits.idle)
        .writev(false)
        .max_headers(MAX_HEADERS)
        .max_buf_size(64 * 1024)
        // RFC 9112, 9.6: a client may close its sending side after the request, as `nc -N` does, and still wants its answer.
        // [`crate::server::peer`] bounds how long it may wait.
        .half_close(true);

    let until = async {
        shutdown.await;
        info!("ending: not ready any more");
        state.drain();
        tokio::time::sleep(limits.drain_delay).await;
    };
    tokio::pin!(until);
    loop {
        let accepted = async {
            let permit = connections.clone().acquire_owned().await;
            (permit, listeners.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut until => break,
        };
        match (permit, accepted) {
            (Ok(permit), Ok(accepted)) => {
                let (http, stack, ending) = (http.clone(), stack.clone(), ending.clone());
                let peer = Peer::default();
                match accepted {
                    Accepted::Tcp(stream) => {
                        // Answers are small and leave at once; waiting to fill a packet would only add to their time.
                        if let Err(cause) = stream.set_nodelay(true) {
                            debug!(%cause, "no TCP_NODELAY");
                        }
                        let stream = WriteTimeout::new(Observed::new(stream, peer.clone()), limits.idle);
                        tokio::spawn(connection(http, stream, stack, peer, patience, ending, permit));
                    }
                    Accepted::Socket(stream) => {
                        let stream = WriteTimeout::new(Observed::new(stream, peer.clone()), limits.idle);
                        tokio::spawn(connection(http, stream, stack, peer, patience, ending, permit));
                    }
                }
            }
            (_, Err(cause)) => {
                // The connection was gone already, or there are no file descriptors left: some will come back.
                warn!(%cause, "cannot accept");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listeners);
    drop(ending);
    // No answer is lost by this: idle connections close, the others answer what they have begun.
    end.send_replace(());
    if timeout(limits.drain_timeout, connections.acquire_many(limits.connections))
        .await
        .is_err()
    {
        warn!("ending with requests under way: they had their time");
    }
}

async fn connection(
    mut http: http1::Builder,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    stack: Stack,
    peer: Peer,
    patience: Duration,
    mut ending: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
) {
    // hyper waits for a head, the service for an answer: never both at once.
    let timer = IdleTimer::new();
    let service = {
        let timer = timer.clone();
        service_fn(move |request| {
            let (peer, timer, answer) = (peer.clone(), timer.clone(), stack.answer(request));
            async move { peer.attend(&timer, patience, answer).await }
        })
    };
    let serving = http
        .timer(timer)
        .serve_connection(TokioIo::new(EarlyRefusal::new(stream)), service);
    let mut serving = pin!(serving);
    // Unconstrained: it is asked once, and has to have been heard.
    let (glance, mut end) = (ending.clone(), pin!(unconstrained(ending.changed())));
    // To wait for the end takes a lock. So that is done once, and not with each request: tokio wakes a task with the same
    // waker all its life.
    let mut waiting = Waker::noop().clone();
    let outcome = poll_fn(|context| {
        if let Poll::Ready(outcome) = serving.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        if waiting.will_wake(context.waker()) {
            let ends = glance.has_changed().unwrap_or(true);
            return if ends { Poll::Ready(None) } else { Poll::Pending };
        }
        waiting.clone_from(context.waker());
        end.as_mut().poll(context).map(|_| None)
    });
    let outcome = if let Some(outcome) = outcome.await {
        outcome
    } else {
        serving.as_mut().graceful_shutdown();
        serving.await
    };
    if let Err(cause) = outcome {
        // A client's doing in all but odd cases, and no secret: hyper names the kind of fault, not its bytes.
        debug!(%cause, "a connection ended early");
    }
}
