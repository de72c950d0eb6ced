//! Tests on a full disk: changes are refused, reads go on, nothing is damaged, and the service recovers by
//! itself once there is space.

use std::sync::Arc;

use super::{
    small_disk::{MIB, SmallDisk},
    used_folder::noise,
};
use crate::{
    check::finds,
    process::Process,
    support::{Answer, eventually, json},
};

/// What a client knows from its answers.
#[derive(Default)]
struct Ledger {
    /// Token, value of `n`, and the value that was sent last, if that change was refused.
    sessions: Vec<(String, u64, Option<u64>)>,
    killed: Vec<String>,
}

impl Ledger {
    /// Creates a session with `bytes` bytes of data. Returns whether that was done.
    async fn create(&mut self, process: &Process, bytes: usize) -> bool {
        let n = self.sessions.len() as u64;
        let body = format!(r#"{{"n":{n},"noise":"{}"}}"#, noise(bytes));
        let answer = process.ask("PUT", "/test-app/create/ann?ip=::1", &body).await;
        let done = done(&answer);
        if done {
            let token = json(&answer.body)["token"].as_str().expect("a token").to_owned();
            self.sessions.push((token, n, None));
        }
        done
    }

    async fn set(&mut self, process: &Process, place: usize) -> bool {
        let (token, n, sent) = &mut self.sessions[place];
        let new = *n + 1_000_000;
        let body = format!(r#"{{"n":{new}}}"#);
        let answer = process.ask("POST", &format!("/test-app/set/{token}"), &body).await;
        let done = done(&answer);
        if done {
            *n = new;
        }
        *sent = (!done).then_some(new);
        done
    }

    async fn kill(&mut self, process: &Process, place: usize) -> bool {
        let (token, ..) = &self.sessions[place];
        let answer = process.ask("DELETE", &format!("/test-app/kill/{token}"), "").await;
        let done = done(&answer);
        // A refused kill may have been applied, so the session may exist or not.
        let (token, ..) = self.sessions.swap_remove(place);
        if done {
            self.killed.push(token);
        }
        done
    }

    fn and(mut self, other: Self) -> Self {
        self.sessions.extend(other.sessions);
        self.killed.extend(other.killed);
        self
    }

    /// Asserts that every answered change is there.
    async fn check(&self, process: &Process) {
        for (token, n, sent) in &self.sessions {
            let answer = process.ask("GET", &format!("/test-app/get/{token}"), "").await;
            let found = json(answer.ok())["d"]["n"].as_u64().expect("a session");
            assert!(found == *n || Some(found) == *sent, "{found} for {n} or {sent:?}");
        }
        for token in &self.killed {
            let answer = process.ask("GET", &format!("/test-app/get/{token}"), "").await;
            assert_eq!(answer.ok(), "{}");
        }
        let listed = process.app().soid("ann").await.len();
        // A refused create may have been applied.
        assert!(listed >= self.sessions.len(), "{listed}");
    }
}

/// Whether a change was done. Otherwise the answer must be the contract's 503.
pub(super) fn done(answer: &Answer) -> bool {
    if answer.status == 503 {
        answer.refused(503, "storeUnavailable", "The session store is not available");
        return false;
    }
    answer.ok();
    true
}

pub(super) async fn ready(process: &Process) -> bool {
    process.ask("GET", "/readyz", "").await.status == 200
}

/// Asserts that changes are refused and reads succeed.
async fn assert_refuses_changes(process: &Process, ledger: &mut Ledger) {
    assert!(!ready(process).await);
    assert!(!ledger.create(process, 10).await);
    assert!(!ledger.set(process, 0).await);
    assert!(!ledger.kill(process, 1).await);
    ledger.check(process).await;
}

/// Asserts that the service recovers by itself with every answered change, and that a restart finds them too.
async fn assert_recovers(disk: &SmallDisk, process: Process, mut ledger: Ledger) {
    eventually("the service is ready again", async || ready(&process).await).await;
    ledger.check(&process).await;
    assert!(ledger.create(&process, 1000).await);
    assert!(ledger.set(&process, 0).await);
    assert!(ledger.kill(&process, 1).await);
    ledger.check(&process).await;
    process.stop();
    finds(&disk.check(), 0, &[], false);
    let process = disk.serve();
    ledger.check(&process).await;
    process.stop();
}

#[tokio::test]
async fn the_service_refuses_changes_on_a_full_disk_and_recovers() {
    let disk = SmallDisk::new(100);
    let process = disk.serve();
    let mut ledger = Ledger::default();
    for _ in 0..30 {
        assert!(ledger.create(&process, 20_000).await);
    }
    for place in 0..10 {
        assert!(ledger.set(&process, place).await);
        assert!(ledger.kill(&process, 20).await || place > 8);
    }
    // Twice, since leftovers of the first time must not prevent a second recovery.
    for _ in 0..2 {
        disk.fill(0);
        eventually("the disk is full", async || !ledger.create(&process, 2_000).await).await;
        assert_refuses_changes(&process, &mut ledger).await;
        disk.free();
        eventually("the service is ready again", async || ready(&process).await).await;
        ledger.check(&process).await;
    }
    assert_recovers(&disk, process, ledger).await;
}

/// The disk has space for the journal, but not for the tables to which the engine flushes its memory. No client writes
/// any more, so the service has to notice by itself.
#[tokio::test]
async fn the_service_notices_that_the_engine_cannot_write_its_tables() {
    let disk = SmallDisk::new(120);
    let process = disk.serve();
    let mut ledger = Ledger::default();
    disk.fill(11);
    // Just as much as the engine buffers in memory.
    for _ in 0..=8 * MIB / 50_000 {
        assert!(ledger.create(&process, 50_000).await, "the journal had no space");
    }
    eventually("the service is not ready", async || !ready(&process).await).await;
    assert_refuses_changes(&process, &mut ledger).await;
    disk.free();
    assert_recovers(&disk, process, ledger).await;
}

#[tokio::test]
async fn check_does_not_report_a_full_disk_as_damage() {
    let disk = SmallDisk::new(100);
    let process = disk.serve();
    let mut ledger = Ledger::default();
    for _ in 0..10 {
        assert!(ledger.create(&process, 20_000).await);
    }
    process.stop();
    disk.fill(0);
    let found = disk.check();
    assert!(found.refusal(2).contains("No space left"), "{found:?}");
    disk.free();
    finds(&disk.check(), 0, &[], false);
    let process = disk.serve();
    ledger.check(&process).await;
    process.stop();
}

/// Creates, changes and kills until something is refused.
async fn load(process: Arc<Process>, mut ledger: Ledger) -> Ledger {
    while ledger.create(&process, 40_000).await {
        let place = ledger.sessions.len() - 1;
        if place.is_multiple_of(3) && !ledger.set(&process, place).await {
            break;
        }
        // Killed sessions free the space that tables need.
        if place > 5 && !ledger.kill(&process, place - 5).await {
            break;
        }
    }
    ledger
}

/// Under load the disk may fill in a write to the journal, in a write of a table or in a compaction. With eight
/// clients, one batch of changes waits while another is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_under_load_loses_no_answered_change() {
    let disk = SmallDisk::new(200);
    let mut process = Arc::new(disk.serve());
    let mut ledgers: Vec<_> = (0..8).map(|_| Ledger::default()).collect();
    for free_mib in [30, 5, 17] {
        disk.fill(free_mib);
        let clients = ledgers
            .drain(..)
            .map(|ledger| tokio::spawn(load(process.clone(), ledger)));
        for client in clients.collect::<Vec<_>>() {
            ledgers.push(client.await.expect("no panic"));
        }
        for ledger in &ledgers {
            ledger.check(&process).await;
        }
        if free_mib == 5 {
            Arc::into_inner(process).expect("the clients have ended").kill();
            disk.free();
            process = Arc::new(disk.serve());
        } else {
            disk.free();
        }
        eventually("the service is ready again", async || ready(&process).await).await;
        for ledger in &ledgers {
            ledger.check(&process).await;
        }
    }
    let process = Arc::into_inner(process).expect("the clients have ended");
    let ledger = ledgers.into_iter().reduce(Ledger::and).expect("there are eight");
    assert_recovers(&disk, process, ledger).await;
}
