//! Clients of a service with `--redis-wait`: they record acknowledged changes, which must survive the loss of the
//! master.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    process::{PATIENCE, Process},
    support::{Answer, eventually, json},
};

/// The changes that clients got acknowledged.
#[derive(Default)]
pub(super) struct Acknowledged {
    created: Vec<String>,
    /// Token, and the number that the acknowledged set has stored.
    set: Vec<(String, u64)>,
    killed: Vec<String>,
}

impl Acknowledged {
    /// Asserts that none of the changes is lost. Retries reads until the store is available.
    pub(super) async fn assert_kept(&self, process: &Process) {
        for token in &self.created {
            assert_ne!(read(process, token).await, "{}", "its create was acknowledged");
        }
        for (token, round) in &self.set {
            let session = read(process, token).await;
            assert_ne!(session, "{}", "its set was acknowledged");
            assert_eq!(json(&session)["d"]["round"], *round);
        }
        for token in &self.killed {
            assert_eq!(read(process, token).await, "{}", "its kill was acknowledged");
        }
    }
}

/// The answer to a get, once the store is available.
async fn read(process: &Process, token: &str) -> String {
    let path = format!("/test-app/get/{token}");
    let start = Instant::now();
    loop {
        let answer = process.ask("GET", &path, "").await;
        if answer.status == 200 {
            return answer.body;
        }
        super::assert_unavailable(&answer);
        assert!(start.elapsed() < PATIENCE, "not recovered: {}", process.log());
    }
}

/// Clients that create, set and kill sessions, each until its first failed request.
pub(super) struct Clients {
    running: JoinSet<Acknowledged>,
    kills: Arc<AtomicU64>,
}

impl Clients {
    pub(super) fn start(process: &Arc<Process>) -> Self {
        let (mut running, kills) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        for number in 0..8 {
            running.spawn(run_until_failure(process.clone(), number, kills.clone()));
        }
        Self { running, kills }
    }

    /// Waits until the clients have received many answers.
    pub(super) async fn await_load(&self) {
        eventually("100 kills are answered", async || {
            self.kills.load(Ordering::Relaxed) > 100
        })
        .await;
    }

    /// Waits until each client has met a failure; returns all acknowledged changes.
    pub(super) async fn await_failures(mut self) -> Acknowledged {
        let mut all = Acknowledged::default();
        while let Some(one) = self.running.join_next().await {
            let one = one.expect("no panic");
            all.created.extend(one.created);
            all.set.extend(one.set);
            all.killed.extend(one.killed);
        }
        all
    }
}

async fn run_until_failure(process: Arc<Process>, number: usize, kills: Arc<AtomicU64>) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for round in 0.. {
        let path = format!("/test-app/create/user-{number}-{round}?ip=::1");
        let created = process.ask("PUT", &path, "").await;
        if created.status != 200 {
            break;
        }
        let token = json(&created.body)["token"].as_str().expect("a token").to_owned();
        acknowledged.created.push(token.clone());
        let (path, body) = (format!("/test-app/set/{token}"), format!(r#"{{"round":{round}}}"#));
        if process.ask("POST", &path, &body).await.status != 200 {
            break;
        }
        acknowledged.set.push((token.clone(), round));
        if round % 2 == 0 {
            // Until the kill is answered, the session may or may not exist.
            acknowledged.created.pop();
            acknowledged.set.pop();
            let path = format!("/test-app/kill/{token}");
            if process.ask("DELETE", &path, "").await.status != 200 {
                break;
            }
            acknowledged.killed.push(token);
            kills.fetch_add(1, Ordering::Relaxed);
        }
        // Let requests of other clients come in between.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    acknowledged
}

pub(super) fn assert_not_replicated(answer: &Answer) {
    answer.refused(
        503,
        "notReplicated",
        "The change was made, but too few replicas have it",
    );
    assert_eq!(answer.header("retry-after"), "1");
}
