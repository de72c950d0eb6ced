//! The workload: concurrent clients that send random calls on a few sessions, and the record of their operations.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use reqwest::Client;
use tokio::task::JoinSet;

use super::record::{Call, Changes, Operation};

const CLIENTS: usize = 6;
/// Users whose sessions are in use at the same time.
const USERS: usize = 3;
/// Operations on a user before a new user replaces it. Short histories keep the search small.
const OPERATIONS_PER_USER: usize = 120;
/// Clients use this many of the newest tokens of a user, also those of killed sessions.
const RECENT_TOKENS: usize = 4;
/// One of this many requests is cancelled by its client.
const CANCEL_PERIOD: u32 = 40;
/// Time limit of the workload; only a defect exceeds it.
const LIMIT: Duration = Duration::from_mins(3);

/// The address of an instance. Each process has an incarnation number of its own.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: String,
    pub(super) incarnation: usize,
}

pub(super) struct User {
    pub(super) number: usize,
    operations: usize,
    /// Numbers of sessions with their tokens.
    pub(super) tokens: Vec<(usize, String)>,
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) users: Vec<User>,
    /// Users that new ones have replaced.
    pub(super) former: Vec<User>,
    sessions: usize,
    pub(super) history: Vec<Operation>,
    /// The incarnation that each operation was sent to.
    pub(super) incarnations: Vec<usize>,
    /// Incarnations that have ended, with the tick of their end.
    ended: Vec<(usize, u64)>,
}

/// State shared by the clients and the fault injector.
pub(super) struct Workload {
    pub(super) client: Client,
    targets: RwLock<Vec<Target>>,
    clock: AtomicU64,
    incarnations: AtomicU64,
    shared: Mutex<Shared>,
    steps: usize,
    stopped: AtomicBool,
    start: Instant,
}

impl Workload {
    pub(super) fn new(steps: usize) -> Arc<Self> {
        // One connection per request: on a broken pooled connection the HTTP client would resend the request.
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build();
        Arc::new(Self {
            client: client.expect("a client"),
            targets: RwLock::default(),
            clock: AtomicU64::new(1),
            incarnations: AtomicU64::new(0),
            shared: Mutex::default(),
            steps,
            stopped: AtomicBool::new(false),
            start: Instant::now(),
        })
    }

    pub(super) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("the lock is not poisoned")
    }

    /// Number of recorded operations.
    pub(super) fn operations(&self) -> usize {
        self.shared().history.len()
    }

    /// Whether enough operations are recorded or the test has stopped.
    pub(super) fn is_done(&self) -> bool {
        assert!(
            self.start.elapsed() < LIMIT,
            "only {} operations in {LIMIT:?}",
            self.operations()
        );
        self.stopped.load(Ordering::Relaxed) || self.operations() >= self.steps
    }

    /// Stops the clients, however many operations are recorded.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Directs the clients of this slot to a new instance.
    pub(super) fn publish(&self, slot: usize, address: &str) {
        let number = self.incarnations.fetch_add(1, Ordering::SeqCst);
        let target = Target {
            address: address.to_owned(),
            incarnation: usize::try_from(number).expect("few instances"),
        };
        let mut targets = self.targets.write().expect("the lock is not poisoned");
        if slot < targets.len() {
            targets[slot] = target;
        } else {
            targets.push(target);
        }
    }

    /// Records that the slot's process has ended: calls sent to it can no longer take effect.
    pub(super) fn instance_ended(&self, slot: usize) {
        let incarnation = self.target(slot).incarnation;
        let tick = self.tick();
        self.shared().ended.push((incarnation, tick));
    }

    /// The current instance of a slot; a slot beyond the last one wraps around.
    pub(super) fn target(&self, slot: usize) -> Target {
        let targets = self.targets.read().expect("the lock is not poisoned");
        targets[slot % targets.len()].clone()
    }

    /// Runs the clients until the workload is done.
    pub(super) async fn run_clients(self: &Arc<Self>, rng: &mut Rng) {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (workload, mut rng) = (self.clone(), rng.fork());
            clients.spawn(async move {
                while !workload.is_done() {
                    let (user, call) = workload.choose(&mut rng);
                    let cancelled = rng.u32(..CANCEL_PERIOD) == 0;
                    let limit = cancelled.then(|| Duration::from_micros(rng.u64(..4000)));
                    let slot = rng.usize(..);
                    workload.perform(user, call, slot, limit).await;
                }
            });
        }
        clients.join_all().await;
    }

    /// Reads every session once more, retrying until each read has an answer; returns the history.
    pub(super) async fn finish(&self) -> Vec<Operation> {
        let users = {
            let mut shared = self.shared();
            let mut users = std::mem::take(&mut shared.former);
            users.append(&mut shared.users);
            users
        };
        for user in users {
            while !self.perform(user.number, Call::List, 0, None).await {}
            for (session, token) in user.tokens {
                let call = Call::Get { session };
                while !self
                    .request(user.number, call.clone(), Some(token.clone()), 0, None)
                    .await
                {}
            }
        }
        let mut shared = self.shared();
        let mut history = std::mem::take(&mut shared.history);
        for (operation, incarnation) in history.iter_mut().zip(&shared.incarnations) {
            if operation.unknown() {
                let end = shared.ended.iter().find(|(ended, _)| ended == incarnation);
                operation.ended = end.map_or(u64::MAX, |(_, tick)| *tick);
            }
        }
        history.sort_by_key(|operation| operation.began);
        history
    }

    /// Chooses a user and a call at random.
    fn choose(&self, rng: &mut Rng) -> (usize, Call) {
        let mut shared = self.shared();
        let place = rng.usize(..USERS);
        if shared.users.len() < USERS || shared.users[place].operations >= OPERATIONS_PER_USER {
            let new = User {
                number: shared.users.len() + shared.former.len(),
                operations: 0,
                tokens: Vec::new(),
            };
            if shared.users.len() < USERS {
                shared.users.push(new);
            } else {
                let old = std::mem::replace(&mut shared.users[place], new);
                shared.former.push(old);
            }
        }
        let place = place.min(shared.users.len() - 1);
        shared.users[place].operations += 1;
        let user = &shared.users[place];
        let number = user.number;
        let newest = &user.tokens[user.tokens.len().saturating_sub(RECENT_TOKENS)..];
        let session = rng.choice(newest).map(|(session, _)| *session);
        let call = match (rng.u32(..100), session) {
            (0..35, Some(session)) => Call::Get { session },
            (35..72, Some(session)) => Call::Set {
                session,
                changes: changes(rng, self.tick()),
            },
            (72..77, Some(session)) => Call::Kill { session },
            (77..80, _) => Call::KillUser,
            (80..91, _) => Call::List,
            _ => {
                let session = shared.sessions;
                shared.sessions += 1;
                let mut data = vec![("n".to_owned(), session as u64)];
                if rng.bool() {
                    data.push(("a".to_owned(), self.tick()));
                }
                Call::Create { session, data }
            }
        };
        (number, call)
    }
}

/// One or two keys to store or to remove.
fn changes(rng: &mut Rng, value: u64) -> Changes {
    let mut keys = ["a", "b", "c", "d"];
    rng.shuffle(&mut keys);
    let count = rng.usize(1..=2);
    let change = |key: &&str| ((*key).to_owned(), (rng.u32(..4) > 0).then_some(value));
    keys[..count].iter().map(change).collect()
}
