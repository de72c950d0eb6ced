//! Serves one connection until its client leaves, its time is up, or the server shuts down.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Poll, Waker},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, watch},
    task::unconstrained,
};
use tracing::debug;

use super::{early_refusal::EarlyRefusal, idle_timer::IdleTimer, peer::Peer};
use crate::http::middleware::Stack;

/// Serves a connection. `half_close_limit` bounds the wait of a client that has closed its sending side.
pub(super) async fn serve(
    mut http: http1::Builder,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    stack: Stack,
    peer: Peer,
    half_close_limit: Duration,
    mut shutdown: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
) {
    // Invariant: one wait at a time. hyper waits for a head, the service for an answer.
    let timer = IdleTimer::new();
    let service = {
        let timer = timer.clone();
        service_fn(move |request| {
            let (peer, timer, answer) = (peer.clone(), timer.clone(), stack.answer(request));
            async move { peer.attend(&timer, half_close_limit, answer).await }
        })
    };
    let serving = http
        .timer(timer)
        .serve_connection(TokioIo::new(EarlyRefusal::new(stream)), service);
    let mut serving = pin!(serving);
    // Unconstrained: the future is polled once, and must register its waker then.
    let (signal, mut shutdown) = (shutdown.clone(), pin!(unconstrained(shutdown.changed())));
    // Why: waiting for the shutdown takes a lock, so the task registers once and not with each request. tokio wakes a task with
    // the same waker for its whole life.
    let mut registered = Waker::noop().clone();
    let outcome = poll_fn(|context| {
        if let Poll::Ready(outcome) = serving.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        if registered.will_wake(context.waker()) {
            let shutting_down = signal.has_changed().unwrap_or(true);
            return if shutting_down {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        }
        registered.clone_from(context.waker());
        shutdown.as_mut().poll(context).map(|_| None)
    });
    let outcome = if let Some(outcome) = outcome.await {
        outcome
    } else {
        serving.as_mut().graceful_shutdown();
        serving.await
    };
    if let Err(cause) = outcome {
        // Nearly always caused by the client. hyper's error names the kind of fault and quotes no bytes of the request.
        debug!(%cause, "a connection ended early");
    }
}
