//! The queue of orders before the writer, bounded by a count and by the bytes of session data in it.
//!
//! The channel itself is unbounded. Why: a bounded one cycles through all of its slots, which no CPU cache holds.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
    mpsc::{Receiver, RecvTimeoutError, Sender, channel},
};
use std::time::Duration;

use super::change::{QueuedChange, Reply};

/// Most orders in the queue. Beyond it the disk does not keep up, and a request learns that at once.
const MAX_ORDERS: usize = 65_536;
/// Most bytes of session data in the queue. Why: while the disk hangs, requests time out and retry, and each attempt
/// stays in the queue until the writer can skip it.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What the writer is told to do.
pub(super) enum Order {
    /// Applies a change.
    Change(Box<dyn QueuedChange>),
    /// Writes every read that has been counted so far.
    Flush(Reply<()>),
    /// Does the same, then ends the thread.
    Close(Reply<()>),
}

impl Order {
    fn data_bytes(&self) -> usize {
        match self {
            Self::Change(change) => change.data_bytes(),
            Self::Flush(_) | Self::Close(_) => 0,
        }
    }
}

/// Why an order was not queued.
pub(super) enum Rejected {
    /// The queue is full.
    Full,
    /// The writer has ended.
    Ended,
}

/// The sending end.
#[derive(Debug)]
pub(super) struct Queue {
    orders: Sender<Order>,
    load: Arc<Load>,
}

/// The receiving end.
pub(super) struct Inbox {
    orders: Receiver<Order>,
    load: Arc<Load>,
}

/// What is in the queue now.
#[derive(Debug, Default)]
struct Load {
    orders: AtomicUsize,
    bytes: AtomicUsize,
}

impl Load {
    /// Counts an order. False if the queue is full.
    fn enter(&self, bytes: usize) -> bool {
        let orders = self.orders.fetch_add(1, Relaxed);
        let before = self.bytes.fetch_add(bytes, Relaxed);
        // An order without data, such as a kill, passes the limit of bytes.
        orders < MAX_ORDERS && (bytes == 0 || before < MAX_BYTES)
    }

    fn leave(&self, bytes: usize) {
        self.orders.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// A new queue.
pub(super) fn queue() -> (Queue, Inbox) {
    let (orders, received) = channel();
    let load = Arc::new(Load::default());
    let inbox = Inbox {
        orders: received,
        load: load.clone(),
    };
    (Queue { orders, load }, inbox)
}

impl Queue {
    pub(super) fn send(&self, order: Order) -> Result<(), Rejected> {
        let bytes = order.data_bytes();
        if !self.load.enter(bytes) {
            self.load.leave(bytes);
            return Err(Rejected::Full);
        }
        self.orders.send(order).map_err(|_| {
            self.load.leave(bytes);
            Rejected::Ended
        })
    }
}

impl Inbox {
    /// Waits for the next order.
    pub(super) fn next(&self, timeout: Duration) -> Result<Order, RecvTimeoutError> {
        self.orders.recv_timeout(timeout).inspect(|order| self.taken(order))
    }

    /// The orders that are there now.
    pub(super) fn ready(&self) -> impl Iterator<Item = Order> {
        self.orders.try_iter().inspect(|order| self.taken(order))
    }

    fn taken(&self, order: &Order) {
        self.load.leave(order.data_bytes());
    }
}
