//! The task of a connection: sends what is in the queue and delivers replies until the connection ends.
//!
//! Firewalls and load balancers drop idle connections silently, so an idle connection is pinged every few seconds.
//! Commands that come meanwhile wait for the pong. Without one they are known not to have been sent, and go to another
//! connection.

use std::{io, pin::pin, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    select,
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::store::redis::connection::{in_flight::InFlight, queue::ConnectionQueue, retry::NoReply};

/// Size of the read buffer at first, in bytes, and the least space for a further read.
const READ_BUFFER: usize = 64 * 1024;
const MIN_READ: usize = 8 * 1024;

/// A connection is pinged after one to two of these without traffic.
const IDLE: Duration = Duration::from_secs(2);
/// The longest wait for a pong; a quarter of the timeout for other replies if that is shorter.
const PONG: Duration = Duration::from_secs(1);

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// Sends and receives until the connection ends, and then fails all commands. `exact`: bytes that a failed write did
/// not accept were not sent, which TLS cannot tell.
pub(super) async fn serve(queue: Arc<ConnectionQueue>, stream: impl AsyncRead + AsyncWrite, exact: bool) {
    let mut traffic = Traffic::new();
    let error = traffic.run(&queue, stream).await;
    queue.health.mark_broken();
    for unsent in queue.end() {
        // A caller that gave up has dropped its receiver.
        let _ = unsent.caller.send(Err(NoReply::NotSent));
    }
    let written = exact.then_some(traffic.written);
    traffic.in_flight.fail_all(written, &error);
}

/// What is on its way to the server and back.
struct Traffic {
    unsent: Bytes,
    /// Whether a layer below may still buffer sent bytes, as TLS does.
    unflushed: bool,
    received: BytesMut,
    in_flight: InFlight,
    /// Whether there was traffic since the last look.
    active: bool,
    /// Whether a ping is in flight. Nothing else is then, and nothing is taken from the queue.
    pinging: bool,
    /// How many bytes the system has accepted.
    written: u64,
}

impl Traffic {
    fn new() -> Self {
        Self {
            unsent: Bytes::new(),
            unflushed: false,
            received: BytesMut::with_capacity(READ_BUFFER),
            in_flight: InFlight::default(),
            active: false,
            pinging: false,
            written: 0,
        }
    }

    /// Runs until the connection ends; returns why.
    async fn run(&mut self, queue: &ConnectionQueue, stream: impl AsyncRead + AsyncWrite) -> io::Error {
        let (reader, writer) = tokio::io::split(stream);
        let (mut reader, mut writer) = (pin!(reader), pin!(writer));
        let mut late = pin!(sleep_until(Instant::now()));
        let mut idle = pin!(sleep_until(Instant::now() + IDLE));
        loop {
            self.received.reserve(MIN_READ);
            select! {
                biased;
                // First: if the connection has ended since its last use, nothing is sent and nothing is lost.
                read = reader.read_buf(&mut self.received) => match read {
                    Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                    Ok(_) => if let Err(error) = self.deliver() {
                        return error;
                    },
                    Err(error) => return error,
                },
                sent = send(&mut writer, &self.unsent), if !self.unsent.is_empty() || self.unflushed => match sent {
                    Ok(count) => {
                        self.written += count as u64;
                        self.unsent.advance(count);
                        self.unflushed = count > 0;
                    }
                    Err(error) => return error,
                },
                // Before the queue: a command that comes after a long silence waits for the pong.
                () = &mut idle => {
                    let now = Instant::now();
                    // After a suspension of the machine the length of the silence is unknown.
                    let overslept = now - idle.deadline() > IDLE;
                    if self.in_flight.is_empty() && self.unsent.is_empty() && (overslept || !self.active) {
                        late.as_mut().reset(self.ping(queue, now));
                    }
                    self.active = false;
                    idle.as_mut().reset(now + IDLE);
                }
                () = queue.filled(), if self.unsent.is_empty() && !self.pinging => {
                    // Why: other tasks that are ready add their commands to this batch, and a connection that has ended
                    // is noticed before it is written to.
                    yield_now().await;
                    let (bytes, commands) = queue.take();
                    self.in_flight.add(commands, queue.timeout);
                    self.unsent = bytes.into();
                }
                () = queue.health.given_up() => self.in_flight.fail_yielding(),
                () = &mut late, if !self.in_flight.is_empty() => {
                    match self.in_flight.fail_late(|| queue.health.give_up()) {
                        Some(next) => late.as_mut().reset(next),
                        None => return io::ErrorKind::TimedOut.into(),
                    }
                }
            }
        }
    }

    /// Sends a ping; returns when its reply is due.
    fn ping(&mut self, queue: &ConnectionQueue, now: Instant) -> Instant {
        let due_at = now + PONG.min(queue.timeout / 4);
        self.in_flight.add_ping(PING.len(), due_at);
        self.unsent = Bytes::from_static(PING);
        self.pinging = true;
        due_at
    }

    fn deliver(&mut self) -> io::Result<()> {
        // A pong alone is no traffic.
        self.active |= !self.pinging;
        if self.in_flight.deliver(&mut self.received)? {
            self.pinging = false;
        }
        Ok(())
    }
}

/// Sends some bytes. With none left it flushes, and returns 0.
async fn send(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    match writer.write(bytes).await {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        sent => sent,
    }
}
