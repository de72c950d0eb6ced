//! A writer that panics, and one that a disk keeps waiting.

use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Moment, Order};
use crate::{
    config::{LogFormat, LogLevel},
    observability::logging,
    observability::metrics::Metrics,
    session::{App, Changes, Ip, Record, Session, Token, UserId},
    store::Error,
    store::{Backend, ListQuery, Store, embedded::Embedded},
};

const NOW: u64 = 1_800_000_000;
/// For what ought to happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store in a folder of its own, and why it would have ended the process.
struct World {
    store: Arc<Store>,
    ends: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl World {
    fn new(deadline: Duration) -> Self {
        let (folder, ends) = (tempfile::tempdir().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let (metrics, noted) = (Arc::new(Metrics::new()), ends.clone());
        let end = Box::new(move |why: &str| noted.lock().unwrap().push(why.to_owned()));
        let embedded = Embedded::open_or(folder.path(), 1 << 20, deadline, metrics.clone(), end).unwrap();
        Self {
            store: Arc::new(Store::new(Backend::Embedded(embedded), deadline, metrics)),
            ends,
            _folder: folder,
        }
    }

    /// Lets something happen in the writer.
    fn happens(&self, moment: Moment, what: impl FnOnce() + Send + 'static) {
        let writer = &embedded(&self.store).writer;
        writer.waiting.enter(0);
        writer.orders.send(Order::Test(moment, Box::new(what))).unwrap();
    }

    /// Keeps the writer, as a disk that does not answer, until the sender is dropped.
    async fn freeze(&self) -> Sender<()> {
        let ((thaw, thawed), (frozen, is_frozen)) = (channel(), tokio::sync::oneshot::channel());
        self.happens(Moment::InTurn, move || {
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

    /// Waits until changes are taken.
    async fn ready(&self) {
        let start = Instant::now();
        while self.store.ping().await.is_err() {
            assert!(start.elapsed() < PATIENCE, "it takes no changes again");
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

/// What was sent comes to the writer in this order.
async fn in_order() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_panic_costs_its_own_group_and_nothing_that_was_answered() {
    let world = Arc::new(World::new(PATIENCE));
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    assert_eq!(world.reads(ann).await, Some(1));
    let thaw = world.freeze().await;
    let waits = |id: &'static str| {
        let world = world.clone();
        tokio::spawn(async move { world.create(id).await })
    };
    let before = waits("ben");
    in_order().await;
    world.happens(Moment::InTurn, || panic!("for this test"));
    let after = waits("carl");
    in_order().await;
    drop(thaw);
    let (ben, refused) = before.await.unwrap();
    assert_eq!(refused, Err(Error::Unavailable));
    // It was still waiting, so it is refused while the engine is closed or done afterwards.
    let (carl, answered) = after.await.unwrap();
    world.ready().await;
    assert_eq!(world.reads(ben).await, None);
    assert_eq!(world.reads(carl).await.is_some(), answered.is_ok());
    // The read that was not written yet is not lost either.
    assert_eq!(world.reads(ann).await, Some(2));
    let set = world.store.set(app(), ann, changes(r#"{"a":1}"#), NOW).await;
    assert_eq!(set.unwrap().unwrap().w, 2);
    assert_eq!(
        world.store.activity(app(), NOW).await,
        Ok(1 + u64::from(answered.is_ok()))
    );
    assert_eq!(world.ends(), [""; 0]);
    world.store.close().await.unwrap();
}

#[tokio::test]
async fn memory_agrees_with_the_disk_after_a_panic_between_them() {
    let world = Arc::new(World::new(PATIENCE));
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    let (ben, created) = world.create("ben").await;
    created.unwrap();
    assert_eq!(world.reads(ann).await, Some(1));
    let thaw = world.freeze().await;
    let kill = tokio::spawn({
        let world = world.clone();
        async move { world.store.kill(app(), ann, NOW).await }
    });
    let set = tokio::spawn({
        let world = world.clone();
        async move { world.store.set(app(), ben, changes(r#"{"a":1}"#), NOW).await }
    });
    in_order().await;
    world.happens(Moment::AfterCommit, || panic!("for this test"));
    drop(thaw);
    assert_eq!(kill.await.unwrap(), Err(Error::Unavailable));
    assert!(set.await.unwrap().is_err());
    world.ready().await;
    // Both are on disk, and so everywhere.
    assert_eq!(world.reads(ann).await, None);
    let set = world.store.set(app(), ben, changes(r#"{"b":2}"#), NOW).await;
    let session = set.unwrap().unwrap();
    assert_eq!((session.w, session.d.unwrap().as_str()), (3, r#"{"a":1,"b":2}"#));
    assert_eq!(world.ends(), [""; 0]);
}

#[tokio::test]
async fn a_second_panic_ends_the_process() {
    let world = World::new(PATIENCE);
    world.happens(Moment::InTurn, || panic!("for this test"));
    world.ready().await;
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    world.happens(Moment::AfterCommit, || panic!("for this test"));
    let start = Instant::now();
    while world.ends().is_empty() {
        assert!(start.elapsed() < PATIENCE, "it goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ends = world.ends();
    assert!(ends.len() == 1 && ends[0].contains("panicked twice"), "{ends:?}");
    // Until it has ended, it refuses at once and still reads.
    assert_eq!(world.store.ping().await, Err(Error::Unavailable));
    assert_eq!(world.reads(ann).await, Some(1));
}

/// The real end, of a process of its own.
#[test]
fn the_process_ends_with_a_line_and_a_failure() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "store::embedded::writer::tests::panics_twice",
        "--ignored",
        "--nocapture",
    ]);
    let output = child.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    // Not 101, with which a failed test ends.
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("panicked twice within ten minutes: the process ends"),
        "{log}"
    );
}

#[test]
#[ignore = "ends the process; the test before this one runs it in another"]
fn panics_twice() {
    logging::start(LogLevel::Error, LogFormat::Text);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (folder, metrics) = (tempfile::tempdir().unwrap(), Arc::new(Metrics::new()));
        let embedded = Embedded::open(folder.path(), 1 << 20, PATIENCE, metrics.clone()).unwrap();
        let world = World {
            store: Arc::new(Store::new(Backend::Embedded(embedded), PATIENCE, metrics)),
            ends: Arc::default(),
            _folder: folder,
        };
        for _ in 0..2 {
            world.happens(Moment::InTurn, || panic!("for this test"));
            world.ready().await;
        }
    });
}

#[tokio::test]
async fn what_no_request_waits_for_is_not_done_but_kills_are() {
    let world = World::new(Duration::from_millis(200));
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    let (ben, created) = world.create("ben").await;
    created.unwrap();
    let thaw = world.freeze().await;
    assert_eq!(world.create("late").await.1, Err(Error::Unavailable));
    let set = world.store.set(app(), ann, changes(r#"{"a":1}"#), NOW).await;
    assert_eq!(set.unwrap_err(), Error::Unavailable);
    assert_eq!(world.store.kill(app(), ben, NOW).await, Err(Error::Unavailable));
    drop(thaw);
    world.ready().await;
    assert_eq!(world.soid("late").await.len(), 0);
    assert_eq!(world.soid("ann").await[0].w, 1);
    assert_eq!(world.soid("ben").await.len(), 0);
}

#[tokio::test]
async fn what_waits_for_a_disk_that_does_not_answer_is_bounded() {
    let world = World::new(PATIENCE);
    let (ann, created) = world.create("ann").await;
    created.unwrap();
    let thaw = world.freeze().await;
    // All share the text, so that this test takes no such memory itself.
    let mut large = record("large");
    large.data = changes(&format!(r#"{{"a":"{}"}}"#, "x".repeat(50_000)))
        .apply(None)
        .unwrap();
    let mut refused = 0;
    for _ in 0..2000 {
        let create = world.store.create(app(), token(), large.clone());
        // Not waited for, unless it is refused at once.
        if let Ok(answer) = tokio::time::timeout(Duration::ZERO, create).await {
            assert_eq!(answer, Err(Error::Unavailable));
            refused += 1;
        }
    }
    assert!((500..1000).contains(&refused), "{refused}");
    let mut kill = std::pin::pin!(world.store.kill(app(), ann, NOW));
    let waits = tokio::time::timeout(Duration::from_millis(50), kill.as_mut()).await;
    assert!(waits.is_err(), "refused: {waits:?}");
    drop(thaw);
    assert_eq!(kill.await, Ok(true));
    assert_eq!(world.soid("large").await.len(), 0);
    world.create("later").await.1.unwrap();
}

#[tokio::test]
async fn the_end_is_bounded_on_a_disk_that_does_not_answer() {
    let world = World::new(Duration::from_millis(200));
    world.create("ann").await.1.unwrap();
    let thaw = world.freeze().await;
    let start = Instant::now();
    assert_eq!(world.store.close().await, Err(Error::Unavailable));
    assert!(start.elapsed() < PATIENCE);
    drop(thaw);
}
