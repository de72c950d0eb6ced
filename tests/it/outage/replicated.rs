//! Clients of a service that answers when a replica has a change, and whether what they were told holds without the master.

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

/// What clients were told of their sessions.
#[derive(Default)]
pub(super) struct Told {
    created: Vec<String>,
    /// Token, and the number that the answered set has stored.
    set: Vec<(String, u64)>,
    killed: Vec<String>,
}

impl Told {
    /// All of it is so, as soon as somebody answers for it again.
    pub(super) async fn holds(&self, process: &Process) {
        for token in &self.created {
            assert_ne!(read(process, token).await, "{}", "its create was answered");
        }
        for (token, round) in &self.set {
            let session = read(process, token).await;
            assert_ne!(session, "{}", "its set was answered");
            assert_eq!(json(&session)["d"]["round"], *round);
        }
        for token in &self.killed {
            assert_eq!(read(process, token).await, "{}", "its kill was answered");
        }
    }
}

/// What a get answers, once it does.
async fn read(process: &Process, token: &str) -> String {
    let path = format!("/test-app/get/{token}");
    let start = Instant::now();
    loop {
        let answer = process.ask("GET", &path, "").await;
        if answer.status == 200 {
            return answer.body;
        }
        super::unavailable(&answer);
        assert!(start.elapsed() < PATIENCE, "not back: {}", process.log());
    }
}

/// Clients that create, set and kill, each until something is not answered.
pub(super) struct Clients {
    running: JoinSet<Told>,
    kills: Arc<AtomicU64>,
}

impl Clients {
    pub(super) fn start(process: &Arc<Process>) -> Self {
        let (mut running, kills) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        for number in 0..8 {
            running.spawn(until_it_fails(process.clone(), number, kills.clone()));
        }
        Self { running, kills }
    }

    /// Waits until they have been answered a good deal.
    pub(super) async fn are_at_work(&self) {
        eventually("clients are answered", async || {
            self.kills.load(Ordering::Relaxed) > 100
        })
        .await;
    }

    /// Waits until each has met a failure.
    pub(super) async fn end(mut self) -> Told {
        let mut all = Told::default();
        while let Some(told) = self.running.join_next().await {
            let told = told.expect("no panic");
            all.created.extend(told.created);
            all.set.extend(told.set);
            all.killed.extend(told.killed);
        }
        all
    }
}

async fn until_it_fails(process: Arc<Process>, number: usize, kills: Arc<AtomicU64>) -> Told {
    let mut told = Told::default();
    for round in 0.. {
        let path = format!("/test-app/create/user-{number}-{round}?ip=::1");
        let created = process.ask("PUT", &path, "").await;
        if created.status != 200 {
            break;
        }
        let token = json(&created.body)["token"].as_str().expect("a token").to_owned();
        told.created.push(token.clone());
        let (path, body) = (format!("/test-app/set/{token}"), format!(r#"{{"round":{round}}}"#));
        if process.ask("POST", &path, &body).await.status != 200 {
            break;
        }
        told.set.push((token.clone(), round));
        if round % 2 == 0 {
            // Unknown from here on, until it is answered.
            told.created.pop();
            told.set.pop();
            let path = format!("/test-app/kill/{token}");
            if process.ask("DELETE", &path, "").await.status != 200 {
                break;
            }
            told.killed.push(token);
            kills.fetch_add(1, Ordering::Relaxed);
        }
        // Reads of the others come in between.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    told
}

/// Says that a change was made, but is not safe.
pub(super) fn not_replicated(answer: &Answer) {
    answer.refused(
        503,
        "notReplicated",
        "The change was made, but too few replicas have it",
    );
    assert_eq!(answer.header("retry-after"), "1");
}
