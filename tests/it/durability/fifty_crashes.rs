//! Test with one data folder and fifty times `kill -9` at a random moment under load: during a start, a write or a
//! compaction. In the end every answer still holds, and `check` finds that records and indexes agree.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::used_folder::noise;
use crate::{
    process::{Process, finish, program},
    support::{json, side_by_side},
};

const ROUNDS: u64 = 50;
/// Concurrent clients. Each has sessions of its own, so that it knows the order of its changes.
const CLIENTS: u64 = 8;
/// Longest time from a start to its kill, in milliseconds. A slow machine handles fewer requests in it, which is fine.
const LONGEST_RUN: u64 = 400;

/// A `SplitMix64` generator, which yields the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("a place")
    }
}

/// What a client knows of a session that it has not killed.
#[derive(Clone)]
struct Known {
    token: String,
    id: String,
    /// The value of `n` that was answered last.
    n: u64,
    /// The values of `n` that were sent since, without an answer.
    sent: Vec<u64>,
    /// Lower bound of `w`. Each value in `sent` may have added one.
    w: u64,
}

/// What one client knows from the answers of all rounds.
#[derive(Default)]
struct Client {
    alive: Vec<Known>,
    killed: Vec<String>,
    /// Number of kills and creates without an answer, by id. Each may have left a session.
    possible: HashMap<String, usize>,
    answers: u64,
}

impl Client {
    /// Creates, changes and kills until the server is gone.
    async fn run(mut self, process: Arc<Process>, id: String, mut random: Random) -> Self {
        let mut n = random.below(1 << 40);
        loop {
            n += 1;
            let place = random.place(self.alive.len().max(1));
            let done = match random.below(10) {
                5..=7 if !self.alive.is_empty() => self.set(&process, place, n, &mut random).await,
                8 if self.alive.len() > 20 => self.kill(&process, place).await,
                9 if !self.alive.is_empty() => self.get(&process, place).await,
                _ => self.create(&process, &id, n, &mut random).await,
            };
            if done.is_none() {
                return self;
            }
            self.answers += 1;
        }
    }

    async fn create(&mut self, process: &Process, id: &str, n: u64, random: &mut Random) -> Option<()> {
        let path = format!("/test-app/create/{id}?ip=10.0.0.1");
        let Some(answer) = ask(process, "PUT", &path, &body(n, random)).await else {
            *self.possible.entry(id.to_owned()).or_default() += 1;
            return None;
        };
        self.alive.push(Known {
            token: answer["token"].as_str().expect("a token").to_owned(),
            id: id.to_owned(),
            n,
            sent: Vec::new(),
            w: 1,
        });
        Some(())
    }

    async fn set(&mut self, process: &Process, place: usize, n: u64, random: &mut Random) -> Option<()> {
        let known = &mut self.alive[place];
        let path = format!("/test-app/set/{}", known.token);
        let Some(answer) = ask(process, "POST", &path, &body(n, random)).await else {
            known.sent.push(n);
            return None;
        };
        assert_eq!(answer["d"]["n"], n, "an answered create is gone, or a set");
        let w = answer["w"].as_u64().expect("a count");
        assert!(
            (known.w + 1..=known.w + 1 + known.sent.len() as u64).contains(&w),
            "{w}"
        );
        (known.n, known.w) = (n, w);
        known.sent.clear();
        Some(())
    }

    async fn kill(&mut self, process: &Process, place: usize) -> Option<()> {
        let known = self.alive.swap_remove(place);
        let Some(answer) = ask(process, "DELETE", &format!("/test-app/kill/{}", known.token), "").await else {
            *self.possible.entry(known.id).or_default() += 1;
            return None;
        };
        assert_eq!(answer["kill"], 1, "an answered create is gone");
        self.killed.push(known.token);
        Some(())
    }

    async fn get(&self, process: &Process, place: usize) -> Option<()> {
        let known = &self.alive[place];
        let answer = ask(process, "GET", &format!("/test-app/get/{}", known.token), "").await?;
        known.check(&answer);
        Some(())
    }

    /// Asserts that every answer still holds.
    async fn check(&self, process: Arc<Process>) {
        let mut certain: HashMap<&str, usize> = HashMap::new();
        let gets = self.alive.iter().map(|known| {
            *certain.entry(&known.id).or_default() += 1;
            let (known, process) = (known.clone(), process.clone());
            async move {
                let answer = ask(&process, "GET", &format!("/test-app/get/{}", known.token), "").await;
                known.check(&answer.expect("an answer"));
            }
        });
        side_by_side(8, gets.collect::<Vec<_>>()).await;
        let gets = self.killed.iter().map(|token| {
            let (path, process) = (format!("/test-app/get/{token}"), process.clone());
            async move {
                let answer = ask(&process, "GET", &path, "").await.expect("an answer");
                assert_eq!(answer, serde_json::json!({}), "an answered kill is undone");
            }
        });
        side_by_side(8, gets.collect::<Vec<_>>()).await;
        for (id, certain) in certain {
            let possible = self.possible.get(id).copied().unwrap_or_default();
            let listed = process.app().soid(id).await.len();
            assert!(
                (certain..=certain + possible).contains(&listed),
                "{id}: {listed} for {certain} and possibly {possible} more"
            );
        }
    }
}

impl Known {
    fn check(&self, answer: &Value) {
        let n = answer["d"]["n"].as_u64().expect("an answered create is gone");
        assert!(n == self.n || self.sent.contains(&n), "an answered set is gone");
        let w = answer["w"].as_u64().expect("a count");
        assert!(
            (self.w..=self.w + self.sent.len() as u64).contains(&w),
            "{w} for {}",
            self.w
        );
        assert_eq!(answer["id"], *self.id);
    }
}

/// Mostly small, but one in eight so large that the engine writes and compacts tables.
fn body(n: u64, random: &mut Random) -> String {
    let size = if random.below(8) == 0 { 30_000 } else { 300 };
    format!(r#"{{"n":{n},"noise":"{}"}}"#, noise(random.place(size)))
}

/// The answer, or `None` if the server is gone.
async fn ask(process: &Process, method: &str, path: &str, body: &str) -> Option<Value> {
    let answer = process.try_ask(method, path, body).await.ok()?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Some(json(&answer.body))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_still_holds_after_fifty_crashes() {
    let seed = std::env::var("SEED").map_or_else(
        |_| getrandom::u64().expect("the system has randomness"),
        |seed| seed.parse().expect("SEED is a number"),
    );
    println!("SEED={seed}");
    let mut random = Random(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::default()).collect();
    let start = Instant::now();
    for round in 0..ROUNDS {
        if random.below(10) == 0 {
            // Sometimes kill it before it serves, too.
            let process = Process::spawn_unseen(Process::command(folder.path(), &[]), "");
            tokio::time::sleep(Duration::from_millis(random.below(100))).await;
            process.kill();
        }
        let process = Arc::new(Process::start(folder.path(), &["--cache-size", "4"]));
        let running = (0..).zip(clients.drain(..)).map(|(n, client): (u64, Client)| {
            let random = Random(random.below(u64::MAX));
            tokio::spawn(client.run(process.clone(), format!("user-{n}-{round}"), random))
        });
        let running: Vec<_> = running.collect();
        tokio::time::sleep(Duration::from_millis(random.below(LONGEST_RUN))).await;
        process.signal("KILL");
        for client in running {
            clients.push(client.await.expect("no panic"));
        }
    }
    let answers: u64 = clients.iter().map(|client| client.answers).sum();
    let killed: usize = clients.iter().map(|client| client.killed.len()).sum();
    println!("{answers} answers, {killed} of them kills, in {:?}", start.elapsed());
    assert!(answers > 1000 && killed > 10, "too little load");

    let checked = finish(program(folder.path(), &["check"]));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked.stdout.ends_with("; 0 disagreements, 0 of them mended\n"),
        "{checked:?}"
    );
    let process = Arc::new(Process::start(folder.path(), &[]));
    for client in &clients {
        client.check(process.clone()).await;
    }
}
