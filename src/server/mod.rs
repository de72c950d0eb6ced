//! The accept loop.
//!
//! Why not `axum::serve`: it never ends a silent, half-sent or idle connection, and one of them blocks its shutdown. Here each
//! connection has a deadline for the head of its next request, their number is capped, and the shutdown has a deadline.

mod client_socket;
mod connection;
mod early_refusal;
mod idle_timer;
pub mod listeners;
mod peer;
mod unix_socket;

use std::{os::fd::AsFd, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tracing::{debug, info, warn};

use self::{
    client_socket::{ClientSocket, SocketFlags},
    listeners::{Accepted, Listeners},
    peer::Peer,
};
use crate::http::{AppState, middleware::Stack};

/// Maximum number of headers. Room for more than 100 costs two allocations a request. jemalloc serves them from its
/// per-thread cache while each is at most 14 KiB, which is 448 entries of 32 bytes.
const MAX_HEADERS: usize = 448;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for the head of the next request to arrive, and for a client to read a byte of its answer.
    pub idle: Duration,
    /// Maximum number of open connections. Further ones wait to be accepted.
    pub connections: u32,
    /// Time from the signal to the end of accepting. `/readyz` answers 503 meanwhile, so that load balancers turn away.
    pub drain_delay: Duration,
    /// Time for requests in flight to finish after that.
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
    let permits = Arc::new(Semaphore::new(limits.connections as usize));
    let (stop, stopped) = watch::channel(());
    let spawner = Spawner {
        http: http1(limits.idle),
        stack,
        write_limit: limits.idle,
        half_close_limit: state.body_timeout(),
    };
    let drain = async {
        shutdown.await;
        info!("shutting down: draining");
        state.drain();
        tokio::time::sleep(limits.drain_delay).await;
    };
    tokio::pin!(drain);
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listeners.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut drain => break,
        };
        match (permit, accepted) {
            (Ok(permit), Ok(Accepted::Tcp(stream))) => {
                // Answers are small. Nagle's algorithm would only delay them.
                if let Err(cause) = stream.set_nodelay(true) {
                    debug!(%cause, "cannot set TCP_NODELAY");
                }
                spawner.spawn(stream, stopped.clone(), permit);
            }
            (Ok(permit), Ok(Accepted::Unix(stream))) => spawner.spawn(stream, stopped.clone(), permit),
            (_, Err(cause)) => {
                // The client has disconnected already, or the process is out of file descriptors until some close.
                warn!(%cause, "cannot accept a connection: retrying in 20 ms");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listeners);
    drop(stopped);
    // No answer is lost: idle connections close, the others finish the request in flight.
    stop.send_replace(());
    if timeout(limits.drain_timeout, permits.acquire_many(limits.connections))
        .await
        .is_err()
    {
        warn!("the drain deadline has passed: requests in flight are aborted");
    }
}

fn http1(head_limit: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    // One read buffer takes a whole head with an escaped id of 255 characters many times over. An answer leaves in one
    // buffer as well: it is small, and copying costs less than a gathering system call.
    http.header_read_timeout(head_limit)
        .writev(false)
        .max_headers(MAX_HEADERS)
        .max_buf_size(64 * 1024)
        // RFC 9112, section 9.6: a client may close its sending side after the request, as `nc -N` does, and still wait for
        // the answer. [`peer`] bounds that wait.
        .half_close(true);
    http
}

/// Starts a task for each connection.
struct Spawner {
    http: http1::Builder,
    stack: Stack,
    write_limit: Duration,
    half_close_limit: Duration,
}

impl Spawner {
    fn spawn<S>(&self, stream: S, stopped: watch::Receiver<()>, permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + AsFd + SocketFlags + Send + Sync + Unpin + 'static,
    {
        let peer = Peer::default();
        let stream = ClientSocket::new(stream, peer.clone(), self.write_limit);
        let (http, stack, half_close_limit) = (self.http.clone(), self.stack.clone(), self.half_close_limit);
        tokio::spawn(connection::serve(
            http,
            stream,
            stack,
            peer,
            half_close_limit,
            stopped,
            permit,
        ));
    }
}
