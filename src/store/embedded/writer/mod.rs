//! The one thread that changes the disk. Requests that arrive while it waits for the disk form the next group, and share
//! one fsync: durable writes cost little when there are many, and wait for nobody when there are few.
//!
//! A panic in it costs the group that it was at work on: those requests get a 503, the engine is opened again, and the
//! thread goes on with what waits. A second panic soon after ends the process, see [`crate::process::supervisor`].

mod batch;
mod recovery;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tracing::error;

use self::{batch::CommitBatch, recovery::Recovery};
use crate::{
    process::supervisor::Panics,
    session::{App, Changes, Record, Seconds, Session, Token, UserId},
    store::{Error, Key, embedded::cache::Cache},
};

/// How far the disk may be behind in reads and last activity.
const FLUSH: Duration = Duration::from_secs(1);
/// In how many parts that is written, evenly spread: gets would have to wait for all of it at once.
const PARTS: u32 = 32;
/// Changes in a group: enough to share an fsync, few enough not to keep the first one waiting.
const GROUP: usize = 512;
/// Flushed sessions in a group, which ride along.
const FLUSHED: usize = 1024;
/// Changes that wait for the writer. Beyond this the disk does not keep up, and requests had better hear of it.
const QUEUE: usize = 65_536;
/// Bytes of data that wait with them: on a disk that does not answer, requests give up and come again, and what they left
/// behind stays until the writer can pass it over.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the writer is asked to do.
pub(crate) enum Order {
    Create(Key, Record, Reply<()>),
    Set(Key, Changes, Seconds, Reply<Option<Session>>),
    Kill(Key, Seconds, Reply<bool>),
    /// Removes sessions of an id after one of them, at most so many; says how many, and the last one if any may be left.
    Killsoid(App, UserId, Option<Token>, usize, Reply<(u64, Option<Token>)>),
    /// Removes those that are there and, if a second is given, have expired by then.
    Remove(Vec<Key>, Option<Seconds>, Reply<u64>),
    /// Writes something, and says whether that can be done.
    Ping(Reply<()>),
    /// Brings the disk up to what gets have done until now.
    Flush(Reply<()>),
    /// The same, and ends the thread.
    Close(Reply<()>),
    /// Whatever a test wants to happen in the writer: a panic, or a disk that does not answer.
    #[cfg(test)]
    Test(Moment, Box<dyn FnOnce() + Send>),
}

/// When [`Order::Test`] happens.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// When its turn comes, amid the orders of its group.
    InTurn,
    /// Once the group is on disk, before memory knows of it.
    AfterCommit,
}

/// Ends the process, for a reason.
pub(crate) type End = Box<dyn Fn(&str) + Send>;

impl Order {
    /// The data that it holds, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Create(_, record, _) => record.data.as_ref().map_or(1, |data| data.as_str().len()),
            Self::Set(_, changes, ..) => changes.bytes(),
            _ => 0,
        }
    }

    /// Whether no request waits for it any more, and it may be left undone.
    fn abandoned(&self) -> bool {
        match self {
            Self::Create(_, _, reply) | Self::Ping(reply) | Self::Flush(reply) => reply.is_closed(),
            Self::Set(_, _, _, reply) => reply.is_closed(),
            // The wiper comes back to what has expired.
            Self::Remove(_, Some(_), reply) => reply.is_closed(),
            Self::Remove(_, None, _) | Self::Kill(..) | Self::Killsoid(..) | Self::Close(_) => false,
            #[cfg(test)]
            Self::Test(..) => false,
        }
    }
}

/// The way to the writer.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: Sender<Order>,
    waiting: Arc<Waiting>,
}

/// What waits in the channel. A bounded one would go through all of its memory in turn, and no cache would have it.
#[derive(Debug, Default)]
struct Waiting {
    orders: AtomicUsize,
    /// Of their data.
    bytes: AtomicUsize,
}

impl Waiting {
    /// Counts an order, and says whether there is room for it.
    fn enter(&self, bytes: usize) -> bool {
        let orders = self.orders.fetch_add(1, Relaxed);
        let before = self.bytes.fetch_add(bytes, Relaxed);
        // What ends sessions has no data, and is let in.
        orders < QUEUE && (bytes == 0 || before < QUEUE_BYTES)
    }

    fn leave(&self, bytes: usize) {
        self.orders.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Writer {
    /// Starts the thread. It ends after [`Order::Close`], when the last sender is gone, or with `end`. What is returned
    /// besides resolves when it has ended and let go of the engine.
    pub(crate) fn spawn(cache: Arc<Cache>, end: End) -> std::io::Result<(Self, oneshot::Receiver<()>)> {
        let (orders, inbox) = channel();
        let waiting = Arc::new(Waiting::default());
        let taken = waiting.clone();
        let (alive, ended) = oneshot::channel();
        std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            let _alive = alive;
            supervise(&cache, &taken, &inbox, &end);
        })?;
        Ok((Self { orders, waiting }, ended))
    }

    /// Hands an order over and waits for what comes of it.
    pub(crate) async fn ask<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let refuse = |why| {
            error!(why, "the embedded store refuses a change");
            Error::Unavailable
        };
        let order = order(reply);
        let bytes = order.bytes();
        if !self.waiting.enter(bytes) {
            self.waiting.leave(bytes);
            return Err(refuse("the disk does not keep up"));
        }
        self.orders.send(order).map_err(|_| {
            self.waiting.leave(bytes);
            refuse("its writer has ended")
        })?;
        answer.await.unwrap_or(Err(Error::Unavailable))
    }
}

/// Writes until it is told to close, whatever panics meanwhile: once, that is.
fn supervise(cache: &Cache, waiting: &Waiting, inbox: &Receiver<Order>, end: &End) {
    let mut panics = Panics::default();
    let mut recovery = Recovery::default();
    loop {
        // What a panic leaves behind is not looked at any more: replies that are dropped are 503, and the engine and the
        // cache come back from the disk.
        let work = Work::new(cache, waiting, recovery);
        let now = match catch_unwind(AssertUnwindSafe(|| work.run(inbox))) {
            Ok(Done::Closed) => return cache.disk.shut(),
            Ok(Done::GivenUp) => {
                return end("the embedded store could not be opened again after a panic of its writer");
            }
            Err(_) => Instant::now(),
        };
        if panics.again(now) {
            return end("the writer of the embedded store panicked twice within ten minutes");
        }
        error!("the writer of the embedded store panicked: its changes are refused, and the store is opened again");
        recovery = Recovery::after_panic(cache, now);
    }
}

/// Why the writer has ended.
enum Done {
    Closed,
    GivenUp,
}

/// An answer that waits for the commit, and is told how that went.
type Answer = Box<dyn FnOnce(Result<(), Error>)>;

struct Work<'a> {
    cache: &'a Cache,
    waiting: &'a Waiting,
    /// Dirty sessions on their way to disk, in the order in which they were asked for.
    dirty: VecDeque<Key>,
    /// How many ever left that queue, so that a flush knows when its own have.
    left: usize,
    flushes: VecDeque<(usize, Reply<()>)>,
    /// When the next part is written, and which one that is.
    next_flush: Instant,
    part: u32,
    recovery: Recovery,
    closing: bool,
}

impl<'a> Work<'a> {
    fn new(cache: &'a Cache, waiting: &'a Waiting, recovery: Recovery) -> Self {
        Self {
            cache,
            waiting,
            dirty: VecDeque::new(),
            left: 0,
            flushes: VecDeque::new(),
            next_flush: Instant::now() + FLUSH / PARTS,
            part: 0,
            recovery,
            closing: false,
        }
    }

    fn run(mut self, inbox: &Receiver<Order>) -> Done {
        let taken = |order: &Order| self.waiting.leave(order.bytes());
        // After a panic, there is something to do at once.
        self.recovery.look(self.cache);
        while !(self.closing && self.dirty.is_empty()) {
            let idle = self.dirty.is_empty() && self.flushes.is_empty();
            let wait = self.next_flush.saturating_duration_since(Instant::now());
            let first = match inbox.recv_timeout(if idle { wait } else { Duration::ZERO }) {
                Ok(order) => Some(order).inspect(taken),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    self.close();
                    None
                }
            };
            let now = Instant::now();
            // A group may have taken longer than there is between two parts, but never does one wait for more than a round.
            self.next_flush = self.next_flush.max(now.checked_sub(FLUSH).unwrap_or(now));
            while self.next_flush <= now {
                self.next_flush += FLUSH / PARTS;
                self.collect(self.part, PARTS);
                self.part = (self.part + 1) % PARTS;
                if self.part == 0 {
                    if !self.recovery.look(self.cache) {
                        return Done::GivenUp;
                    }
                    self.cache.trackers.expire_idle();
                }
            }
            let orders = first.into_iter().chain(inbox.try_iter().inspect(taken)).take(GROUP);
            self.group(orders);
        }
        Done::Closed
    }

    fn close(&mut self) {
        self.closing = true;
        self.collect(0, 1);
    }

    /// Takes on the n-th of some even parts of what gets have changed.
    fn collect(&mut self, part: u32, parts: u32) {
        let mut dirty = self.cache.dirty(part, parts);
        // In the order of the disk: what is looked at for one is at hand for the next.
        dirty.sort_unstable_by_key(|key| key.token);
        self.dirty.extend(dirty);
    }

    fn group(&mut self, mut orders: impl Iterator<Item = Order>) {
        let mut answers = Vec::new();
        let (outcome, flushed) = match self.recovery.group(self.cache) {
            Ok(mut group) => {
                while !group.full()
                    && let Some(order) = orders.next()
                {
                    self.order(&mut group, order, &mut answers);
                }
                let mut flushed = 0;
                // Some of them always, or they would wait for as long as there are many changes.
                while flushed < FLUSHED
                    && (flushed < 16 || !group.full())
                    && let Some(key) = self.dirty.pop_front()
                {
                    group.flush(key);
                    flushed += 1;
                }
                (group.commit(), flushed)
            }
            Err(refused) => {
                for order in orders {
                    self.refuse(order, &refused);
                }
                (Err(refused), self.dirty.drain(..).count())
            }
        };
        if outcome.is_err() {
            self.recovery.begin(self.cache);
        }
        self.left += flushed;
        for answer in answers {
            answer(outcome.clone());
        }
        while self.flushes.front().is_some_and(|(until, _)| *until <= self.left) {
            if let Some((_, reply)) = self.flushes.pop_front() {
                // Whoever asked may have gone; so for every reply.
                let _ = reply.send(outcome.clone());
            }
        }
    }

    /// Answers an order while there are no changes.
    fn refuse(&mut self, order: Order, why: &Error) {
        let why = why.clone();
        match order {
            Order::Create(_, _, reply) | Order::Ping(reply) | Order::Flush(reply) => drop(reply.send(Err(why))),
            Order::Set(_, _, _, reply) => drop(reply.send(Err(why))),
            Order::Kill(_, _, reply) => drop(reply.send(Err(why))),
            Order::Killsoid(.., reply) => drop(reply.send(Err(why))),
            Order::Remove(_, _, reply) => drop(reply.send(Err(why))),
            Order::Close(reply) => {
                self.close();
                self.flushes.push_back((self.left + self.dirty.len(), reply));
            }
            #[cfg(test)]
            Order::Test(_, happens) => happens(),
        }
    }

    fn order(&mut self, group: &mut CommitBatch<'_>, order: Order, answers: &mut Vec<Answer>) {
        match order {
            // Work that no request waits for any more is not done: with a slow disk it would keep the others waiting, and a
            // create would leave a session whose token nobody has. What ends sessions is done all the same.
            order if order.abandoned() => {}
            Order::Create(key, record, reply) => {
                group.create(key, record);
                answers.push(after_commit(reply, Ok(())));
            }
            Order::Set(key, changes, now, reply) => answers.push(after_commit(reply, group.set(key, changes, now))),
            Order::Kill(key, now, reply) => answers.push(after_commit(reply, group.kill(key, now))),
            Order::Killsoid(app, id, after, most, reply) => {
                answers.push(after_commit(reply, group.killsoid(app, &id, after, most)));
            }
            Order::Remove(keys, expired_at, reply) => {
                answers.push(after_commit(reply, group.remove_all(keys, expired_at)));
            }
            Order::Ping(reply) => {
                group.mark();
                answers.push(after_commit(reply, Ok(())));
            }
            Order::Flush(reply) => {
                self.collect(0, 1);
                self.flushes.push_back((self.left + self.dirty.len(), reply));
            }
            Order::Close(reply) => {
                self.close();
                self.flushes.push_back((self.left + self.dirty.len(), reply));
            }
            #[cfg(test)]
            Order::Test(Moment::InTurn, happens) => happens(),
            #[cfg(test)]
            Order::Test(Moment::AfterCommit, happens) => group.after_commit = Some(happens),
        }
    }
}

fn after_commit<T: 'static>(reply: Reply<T>, result: Result<T, Error>) -> Answer {
    Box::new(move |outcome| {
        let _ = reply.send(outcome.and(result));
    })
}
