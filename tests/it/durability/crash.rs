//! Tests with `kill -9` at random moments under load: every answered change is there afterwards, and killed sessions
//! stay away.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::Value;

use super::used_folder::noise;
use crate::{
    process::Process,
    support::{Session, eventually, json},
};

/// Concurrent clients. Each has sessions of its own, so that it knows the order of its changes.
const CLIENTS: usize = 8;

/// What a client knows of one of its sessions.
struct Known {
    id: String,
    /// Number of answered sets.
    sets: u64,
    /// The value of `n` that was answered last.
    n: u64,
    /// The value of `n` that was sent last, if its answer never came.
    sent: Option<u64>,
    kill: Kill,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kill {
    None,
    /// Sent, but not answered.
    Sent,
    Answered,
}

/// Sessions by their tokens.
type Ledger = HashMap<String, Known>;

/// One client: creates, sets and kills until the server is gone.
async fn client(process: Arc<Process>, id: String, size: usize) -> Ledger {
    let mut ledger = Ledger::new();
    let body = |n: u64| format!(r#"{{"n":{n},"id":"{id}","noise":"{}"}}"#, noise(size));
    for round in 0.. {
        let path = format!("/test-app/create/{id}?ip=10.0.0.1");
        let Some(answer) = ask(&process, "PUT", &path, &body(round)).await else {
            return ledger;
        };
        let token = answer["token"].as_str().expect("a token").to_owned();
        ledger.insert(
            token.clone(),
            Known {
                id: id.clone(),
                sets: 0,
                n: round,
                sent: None,
                kill: Kill::None,
            },
        );
        let known = ledger.get_mut(&token).expect("it was inserted");
        for n in [round + 1000, round + 2000] {
            known.sent = Some(n);
            let Some(answer) = ask(&process, "POST", &format!("/test-app/set/{token}"), &body(n)).await else {
                return ledger;
            };
            assert_eq!(answer["d"]["n"], n);
            known.sets += 1;
            known.n = n;
            known.sent = None;
        }
        if round % 3 == 2 {
            known.kill = Kill::Sent;
            let Some(answer) = ask(&process, "DELETE", &format!("/test-app/kill/{token}"), "").await else {
                return ledger;
            };
            assert_eq!(answer["kill"], 1);
            known.kill = Kill::Answered;
        }
    }
    ledger
}

/// The answer, or `None` if the server is gone.
async fn ask(process: &Process, method: &str, path: &str, body: &str) -> Option<Value> {
    let answer = process.try_ask(method, path, body).await.ok()?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Some(json(&answer.body))
}

async fn check(process: &Process, ledger: &Ledger) {
    let mut alive: HashMap<&str, (usize, usize)> = HashMap::new();
    for (token, known) in ledger {
        let answer = process.ask("GET", &format!("/test-app/get/{token}"), "").await;
        let session = Session::parse(answer.ok());
        let (certain, possible) = alive.entry(&known.id).or_default();
        match (&session, known.kill) {
            (None, Kill::None) => panic!("an answered create is gone"),
            (Some(_), Kill::Answered) => panic!("an answered kill is undone"),
            (None, _) => continue,
            (Some(_), Kill::None) => *certain += 1,
            (Some(_), Kill::Sent) => *possible += 1,
        }
        let session = session.expect("alive");
        let data = json(session.d());
        let n = data["n"].as_u64();
        assert!(
            n == Some(known.n) || (n.is_some() && n == known.sent),
            "{n:?} for {} or {:?}",
            known.n,
            known.sent
        );
        assert_eq!(
            (session.id.as_str(), data["id"].as_str()),
            (known.id.as_str(), Some(known.id.as_str()))
        );
        let unanswered = u64::from(n != Some(known.n));
        assert_eq!(session.w, 1 + known.sets + unanswered);
    }
    for (id, (certain, possible)) in alive {
        let listed = process.app().soid(id).await.len();
        // A create without an answer may have been applied: each client has at most one.
        assert!(
            (certain..=certain + possible + 1).contains(&listed),
            "{id}: {listed} for {certain} and {possible}"
        );
    }
}

/// The number of sessions that the service has created.
async fn created(process: &Process) -> usize {
    let metrics = process.ask("GET", "/metrics", "").await.body;
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix("rest_sessions_created_total "));
    count.map_or(0, |count| count.parse().expect("a count"))
}

async fn crash_under_load(size: usize, crash_under_load: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = Ledger::new();
    for round in 0..crash_under_load {
        let process = Arc::new(Process::start(folder.path(), &[]));
        let clients = (0..CLIENTS).map(|n| tokio::spawn(client(process.clone(), format!("user-{round}-{n}"), size)));
        let clients: Vec<_> = clients.collect();
        let moment = 150 + u64::from(getrandom::u32().expect("the system has randomness") % 300);
        // Then at least one client has created four sessions and killed the third, also on a slow machine.
        eventually("the clients have put load on the service", async || {
            created(&process).await > 3 * CLIENTS
        })
        .await;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        process.signal("KILL");
        for client in clients {
            ledger.extend(client.await.expect("no panic"));
        }
        let process = Process::start(folder.path(), &[]);
        check(&process, &ledger).await;
        process.kill();
    }
    assert!(ledger.values().any(|known| known.kill == Kill::Answered));
    assert!(ledger.values().any(|known| known.sets == 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answered_changes_survive_kill_9() {
    crash_under_load(10, 4).await;
}

/// With this much data, the engine writes tables during the load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answered_changes_of_large_sessions_survive_kill_9() {
    crash_under_load(20_000, 2).await;
}
