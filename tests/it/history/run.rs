//! Clients that do anything to the same few sessions at once, and write down what came of it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use reqwest::Client;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::record::{Answer, Call, Changes, Operation, Outcome, Seen};
use crate::{
    process::PATIENCE,
    support::{Session, json},
};

const CLIENTS: usize = 6;
/// Users whose sessions are in use at a time.
const USERS: usize = 3;
/// Operations until a user is left for another one, so that each history is short.
const LIFE: usize = 120;
/// Of a user's tokens the last ones are used, whether the session is there or not.
const TOKENS: usize = 4;
/// One request in so many is broken off by its client.
const BROKEN_OFF: u32 = 40;
/// How long all may take. Only a defect makes it longer.
const LIMIT: Duration = Duration::from_mins(3);

/// Where a service is, and which of those that were there one after the other.
#[derive(Clone)]
struct Target {
    address: String,
    life: usize,
}

struct User {
    number: usize,
    used: usize,
    /// The numbers of sessions and their tokens.
    tokens: Vec<(usize, String)>,
}

#[derive(Default)]
struct Shared {
    users: Vec<User>,
    /// Those that are left.
    former: Vec<User>,
    sessions: usize,
    history: Vec<Operation>,
    /// Which life each operation was sent to.
    lives: Vec<usize>,
    /// When lives ended.
    ends: Vec<(usize, u64)>,
}

/// What clients and those who disturb them share.
pub(super) struct World {
    client: Client,
    targets: RwLock<Vec<Target>>,
    clock: AtomicU64,
    lives: AtomicU64,
    shared: Mutex<Shared>,
    steps: usize,
    stopped: AtomicBool,
    start: Instant,
}

/// What came of a request.
enum Reply {
    /// It was never sent.
    Refused,
    Lost,
    Status(u16, String),
}

impl World {
    pub(super) fn new(steps: usize) -> Arc<Self> {
        // A connection for each request: a client that finds an old one broken would send the request again.
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build();
        Arc::new(Self {
            client: client.expect("a client"),
            targets: RwLock::default(),
            clock: AtomicU64::new(1),
            lives: AtomicU64::new(0),
            shared: Mutex::default(),
            steps,
            stopped: AtomicBool::new(false),
            start: Instant::now(),
        })
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panics with it")
    }

    /// Operations so far.
    pub(super) fn done(&self) -> usize {
        self.shared().history.len()
    }

    /// Whether that is enough.
    pub(super) fn over(&self) -> bool {
        assert!(
            self.start.elapsed() < LIMIT,
            "only {} operations in {LIMIT:?}",
            self.done()
        );
        self.stopped.load(Ordering::Relaxed) || self.done() >= self.steps
    }

    /// Makes it enough, however many there are.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// A service is at this place now.
    pub(super) fn publish(&self, place: usize, address: &str) {
        let life = usize::try_from(self.lives.fetch_add(1, Ordering::SeqCst)).expect("few");
        let target = Target {
            address: address.to_owned(),
            life,
        };
        let mut targets = self.targets.write().expect("nobody panics with it");
        if place < targets.len() {
            targets[place] = target;
        } else {
            targets.push(target);
        }
    }

    /// The service at this place has ended, and nothing that it was asked can happen any more.
    pub(super) fn died(&self, place: usize) {
        let life = self.targets.read().expect("nobody panics with it")[place].life;
        let moment = self.tick();
        self.shared().ends.push((life, moment));
    }

    /// Runs clients until there are enough operations.
    pub(super) async fn clients(self: &Arc<Self>, rng: &mut Rng) {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (world, mut rng) = (self.clone(), rng.fork());
            clients.spawn(async move {
                while !world.over() {
                    let (user, call) = world.choose(&mut rng);
                    let broken_off = rng.u32(..BROKEN_OFF) == 0;
                    let limit = broken_off.then(|| Duration::from_micros(rng.u64(..4000)));
                    let place = rng.usize(..);
                    world.perform(user, call, place, limit).await;
                }
            });
        }
        clients.join_all().await;
    }

    /// Reads everything once more, which must work, and answers the history.
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
                    .ask_about(user.number, call.clone(), Some(token.clone()), 0, None)
                    .await
                {}
            }
        }
        let mut shared = self.shared();
        let mut history = std::mem::take(&mut shared.history);
        for (operation, life) in history.iter_mut().zip(&shared.lives) {
            if operation.unknown() {
                let end = shared.ends.iter().find(|(dead, _)| dead == life);
                operation.ended = end.map_or(u64::MAX, |(_, moment)| *moment);
            }
        }
        history.sort_by_key(|operation| operation.began);
        history
    }

    /// What to do next, and to whose sessions.
    fn choose(&self, rng: &mut Rng) -> (usize, Call) {
        let mut shared = self.shared();
        let place = rng.usize(..USERS);
        if shared.users.len() < USERS || shared.users[place].used >= LIFE {
            let new = User {
                number: shared.users.len() + shared.former.len(),
                used: 0,
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
        shared.users[place].used += 1;
        let user = &shared.users[place];
        let number = user.number;
        let newest = &user.tokens[user.tokens.len().saturating_sub(TOKENS)..];
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

    /// Does it; false if the outcome is unknown.
    async fn perform(&self, user: usize, call: Call, place: usize, limit: Option<Duration>) -> bool {
        let token = match call {
            Call::Create { .. } => None,
            ref call => call.session().and_then(|session| self.token(user, session)),
        };
        self.ask_about(user, call, token, place, limit).await
    }

    fn token(&self, user: usize, session: usize) -> Option<String> {
        let shared = self.shared();
        let mut users = shared.users.iter().chain(&shared.former);
        let user = users.find(|one| one.number == user)?;
        let token = user.tokens.iter().find(|(number, _)| *number == session);
        token.map(|(_, token)| token.clone())
    }

    async fn ask_about(
        &self,
        user: usize,
        call: Call,
        token: Option<String>,
        place: usize,
        limit: Option<Duration>,
    ) -> bool {
        let target = {
            let targets = self.targets.read().expect("nobody panics with it");
            targets[place % targets.len()].clone()
        };
        let began = self.tick();
        let sent = self.send(&target, user, &call, token.as_deref().unwrap_or_default());
        let sent = tokio::time::timeout(limit.unwrap_or(PATIENCE), sent).await;
        assert!(
            sent.is_ok() || limit.is_some(),
            "no answer within {PATIENCE:?} to {call:?}"
        );
        let reply = sent.unwrap_or(Reply::Lost);
        let ended = self.tick();
        let outcome = match reply {
            Reply::Refused => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                return false;
            }
            Reply::Status(200, body) => Outcome::Answered(self.answer(user, &call, &body)),
            Reply::Status(503, _) | Reply::Lost => Outcome::Unknown,
            Reply::Status(status, body) => panic!("{status} {body} to {call:?}"),
        };
        let known = outcome != Outcome::Unknown;
        {
            let mut shared = self.shared();
            shared.history.push(Operation {
                user,
                call,
                began,
                ended,
                outcome,
            });
            shared.lives.push(target.life);
        }
        if !known && limit.is_none() {
            self.until_ready(place).await;
        }
        known
    }

    /// Waits for the end of an outage: a request in it says nothing.
    async fn until_ready(&self, place: usize) {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let address = {
                let targets = self.targets.read().expect("nobody panics with it");
                targets[place % targets.len()].address.clone()
            };
            let asked = self
                .client
                .get(format!("http://{address}/readyz"))
                .timeout(PATIENCE)
                .send()
                .await;
            if self.over() || asked.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
        }
    }

    async fn send(&self, target: &Target, user: usize, call: &Call, token: &str) -> Reply {
        let url = |path: &str| format!("http://{}/history{path}", target.address);
        let http = &self.client;
        let request = match call {
            Call::Create { data, .. } => {
                let body = object(data.iter().map(|(key, value)| (key, Some(*value))));
                http.put(url(&format!("/create/user-{user}?ip=10.0.0.1"))).body(body)
            }
            Call::Get { .. } => http.get(url(&format!("/get/{token}"))),
            Call::Set { changes, .. } => {
                let body = object(changes.iter().map(|(key, value)| (key, *value)));
                http.post(url(&format!("/set/{token}"))).body(body)
            }
            Call::Kill { .. } => http.delete(url(&format!("/kill/{token}"))),
            Call::KillUser => http.delete(url(&format!("/killsoid/user-{user}"))),
            Call::List => http.get(url(&format!("/soid/user-{user}"))),
        };
        match request.send().await {
            Err(error) if error.is_connect() => Reply::Refused,
            Err(_) => Reply::Lost,
            Ok(response) => {
                let status = response.status().as_u16();
                response
                    .text()
                    .await
                    .map_or(Reply::Lost, |body| Reply::Status(status, body))
            }
        }
    }

    /// Reads an answer; keeps a new token.
    fn answer(&self, user: usize, call: &Call, body: &str) -> Answer {
        match call {
            Call::Create { session, .. } => {
                let token = json(body)["token"].as_str().expect("a token").to_owned();
                let mut shared = self.shared();
                let shared = &mut *shared;
                let mut users = shared.users.iter_mut().chain(&mut shared.former);
                let user = users.find(|one| one.number == user).expect("it is known");
                user.tokens.push((*session, token));
                Answer::Created
            }
            Call::Get { .. } | Call::Set { .. } => {
                let session = Session::parse(body);
                Answer::Session(session.map(|session| seen(user, &session)))
            }
            Call::Kill { .. } | Call::KillUser => {
                let killed = json(body)["kill"].as_u64().expect("a count");
                Answer::Killed(usize::try_from(killed).expect("few"))
            }
            Call::List => {
                let list: List = serde_json::from_str(body).expect("a list");
                Answer::List(list.sessions.iter().map(|session| seen(user, session)).collect())
            }
        }
    }
}

/// The answer of a soid.
#[derive(Deserialize)]
struct List {
    sessions: Vec<Session>,
}

/// A body by hand, for the order of its keys.
fn object<'a>(pairs: impl Iterator<Item = (&'a String, Option<u64>)>) -> String {
    let pairs = pairs.map(|(key, value)| match value {
        Some(value) => format!(r#""{key}":{value}"#),
        None => format!(r#""{key}":null"#),
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// One or two keys to store or to remove.
fn changes(rng: &mut Rng, value: u64) -> Changes {
    let mut keys = ["a", "b", "c", "d"];
    rng.shuffle(&mut keys);
    let count = rng.usize(1..=2);
    let change = |key: &&str| ((*key).to_owned(), (rng.u32(..4) > 0).then_some(value));
    keys[..count].iter().map(change).collect()
}

/// What is compared of a session. What never changes must be right.
fn seen(user: usize, session: &Session) -> Seen {
    assert_eq!(
        (session.id.clone(), session.ttl, session.ip.as_str()),
        (format!("user-{user}"), 7200, "10.0.0.1")
    );
    let text = session.d();
    let inside = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .expect("no session is without data");
    let data: Vec<_> = inside
        .split(',')
        .map(|pair| {
            let (key, value) = pair.split_once(':').expect("a pair");
            (key.trim_matches('"').to_owned(), value.parse().expect("a number"))
        })
        .collect();
    let (first, number) = &data[0];
    assert_eq!(first, "n", "the first key moved: {text}");
    Seen {
        session: usize::try_from(*number).expect("few"),
        reads: session.r,
        writes: session.w,
        data,
    }
}
