//! The writer thread when it panics, and when the disk does not respond.

mod hanging_disk;
mod panics;

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{batch::CommitBatch, change::QueuedChange, queue::Order};
use crate::{
    observability::metrics::Metrics,
    session::{App, Changes, Ip, Record, Session, Token, UserId},
    store::{Backend, Error, ListQuery, Store, embedded::Embedded},
};

const NOW: u64 = 1_800_000_000;
/// A generous limit for what should happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// When a [`Hook`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// In turn, among the changes of its batch.
    InTurn,
    /// Once the batch is on disk, before the cache has its changes.
    AfterCommit,
}

/// Runs code in the writer thread, such as a panic or a wait.
struct Hook {
    moment: Moment,
    run: Option<Box<dyn FnOnce() + Send>>,
}

impl QueuedChange for Hook {
    fn data_bytes(&self) -> usize {
        0
    }

    fn abandoned(&self) -> bool {
        false
    }

    fn apply(&mut self, batch: &mut CommitBatch<'_>) {
        match self.moment {
            Moment::InTurn => self.run.take().into_iter().for_each(|run| run()),
            Moment::AfterCommit => batch.after_commit = self.run.take(),
        }
    }

    fn answer(self: Box<Self>, _: Result<(), Error>) {
        // A writer that takes no changes runs it too.
        self.run.into_iter().for_each(|run| run());
    }
}

/// A store in a folder of its own, and the reasons for which it would have ended the process.
struct World {
    store: Arc<Store>,
    ends: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl World {
    fn new(deadline: Duration) -> Self {
        let (folder, ends) = (tempfile::tempdir().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let (metrics, recorded) = (Arc::new(Metrics::new()), ends.clone());
        let end = Box::new(move |why: &str| recorded.lock().unwrap().push(why.to_owned()));
        let embedded = Embedded::open_with(folder.path(), 1 << 20, deadline, metrics.clone(), end).unwrap();
        Self {
            store: Arc::new(Store::new(Backend::Embedded(embedded), deadline, metrics)),
            ends,
            _folder: folder,
        }
    }

    /// Runs code in the writer thread.
    fn in_writer(&self, moment: Moment, run: impl FnOnce() + Send + 'static) {
        let run: Option<Box<dyn FnOnce() + Send>> = Some(Box::new(run));
        let order = Order::Change(Box::new(Hook { moment, run }));
        assert!(embedded(&self.store).writer.queue.send(order).is_ok());
    }

    /// Blocks the writer, as a hanging disk does, until the sender is dropped.
    async fn freeze(&self) -> Sender<()> {
        let ((thaw, thawed), (frozen, is_frozen)) = (channel(), tokio::sync::oneshot::channel());
        self.in_writer(Moment::InTurn, move || {
            frozen.send(()).unwrap();
            let _ = thawed.recv();
        });
        is_frozen.await.unwrap();
        thaw
    }

    async fn create(&self, id: &str) -> (Token, Result<Token, Error>) {
        let token = token();
        (token, self.store.create(app(), token, record(id)).await)
    }

    /// Waits until the store takes changes.
    async fn ready(&self) {
        let start = Instant::now();
        while self.store.ping().await.is_err() {
            assert!(start.elapsed() < PATIENCE, "it still takes no changes");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The sessions of an id.
    async fn soid(&self, id: &str) -> Vec<Session> {
        let query = ListQuery {
            since: 0,
            after: None,
            now: NOW,
        };
        let mut listing = self.store.soid(app(), UserId::stored(id), query, usize::MAX);
        let mut sessions = Vec::new();
        loop {
            let (rest, part) = self.store.next_part(listing).await.unwrap();
            let Some(part) = part else {
                return sessions;
            };
            sessions.extend(part.into_iter().map(|listed| listed.session));
            listing = rest;
        }
    }

    async fn reads(&self, token: Token) -> Option<u64> {
        self.store
            .get(app(), token, NOW)
            .await
            .unwrap()
            .map(|session| session.r)
    }

    fn ends(&self) -> Vec<String> {
        self.ends.lock().unwrap().clone()
    }
}

fn embedded(store: &Store) -> &Embedded {
    match &store.backend {
        Backend::Embedded(embedded) => embedded,
        Backend::Redis(_) => unreachable!("it is embedded"),
    }
}

fn app() -> App {
    App::parse("test-app").unwrap()
}

fn token() -> Token {
    Token::generate(|bytes| getrandom::fill(bytes).is_ok()).unwrap()
}

fn record(id: &str) -> Record {
    Record {
        id: UserId::stored(id),
        ip: Ip::stored("::1"),
        reads: 1,
        writes: 1,
        ttl: 7200,
        last_active: NOW,
        no_resave: false,
        data: None,
    }
}

fn changes(body: &str) -> Changes {
    Changes::for_create(body.as_bytes()).unwrap()
}

/// Gives the order that was sent last the time to reach the queue, so that the next one comes after it.
async fn in_order() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
