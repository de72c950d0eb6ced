//! A disk that is full, a small one in memory: changes are refused, reads go on, nothing is damaged, and it serves again
//! by itself once there is room.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use super::used::noise;
use crate::{
    check::finds,
    process::{Finished, Process, finish, program},
    support::{Answer, eventually, json},
};

const MIB: usize = 1 << 20;

/// A small file system of its own, in a mount namespace that others do not see. It is gone with its keeper, which ends when
/// its input does: with this process at the latest.
pub(super) struct SmallDisk {
    keeper: Child,
    folder: tempfile::TempDir,
}

impl SmallDisk {
    pub(super) fn new(mib: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut keeper = Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg(r#"mount -t tmpfs -o "size=$1m" tmpfs "$0" && echo mounted && exec cat"#)
            .arg(folder.path())
            .arg(mib.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is there");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("a text");
        assert_eq!(line, "mounted\n", "this test mounts a disk, so it needs root");
        Self { keeper, folder }
    }

    /// The program, with its data on this disk.
    fn program(&self, args: &[&str]) -> Command {
        let program = program(self.folder.path(), &[]);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id()))
            .arg("--")
            .arg(program.get_program())
            .args(["--data-dir".as_ref(), self.folder.path().join("data").as_os_str()])
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The service, with next to no cache, so that gets come from the disk.
    pub(super) fn serve(&self) -> Process {
        Process::spawn(self.program(&["--cache-size", "1", "--port", "0", "--drain-delay", "0"]))
    }

    /// Runs a command of the shell in the folder that the disk is mounted on, as its programs see it.
    pub(super) fn shell(&self, line: &str) {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id()))
            .args(["--", "sh", "-ec"]);
        command.arg(format!("cd '{}'; {line}", self.folder.path().display()));
        assert!(command.status().expect("nsenter is there").success(), "{line}");
    }

    /// The program's own check of everything.
    fn check(&self) -> Finished {
        finish(self.program(&["check"]))
    }

    /// A path on this disk, as others find it.
    fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        let folder = self.folder.path().strip_prefix("/").expect("it is absolute");
        root.join(folder).join(name)
    }

    /// Takes all room but so much.
    pub(super) fn fill(&self, but_mib: usize) {
        let path = self.path("filler");
        let mut filler = File::create(&path).expect("a file");
        let block = vec![1; MIB / 16];
        while filler.write_all(&block).is_ok() {}
        let size = filler.metadata().expect("it is there").len();
        filler
            .set_len(size.saturating_sub((but_mib * MIB) as u64))
            .expect("it gets shorter");
    }

    pub(super) fn free(&self) {
        fs::remove_file(self.path("filler")).expect("the filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// What a client was told.
#[derive(Default)]
struct Ledger {
    /// Tokens, with the value of `n` and another that was sent last, if that was refused.
    sessions: Vec<(String, u64, Option<u64>)>,
    killed: Vec<String>,
}

impl Ledger {
    /// Creates a session with so much data, unless that is refused.
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
        // Killed with an error for an answer, it may be there or not.
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

    /// Everything that was answered is there.
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
        // Creates that were refused may have been done.
        assert!(listed >= self.sessions.len(), "{listed}");
    }
}

/// Whether a change was done. If not, it has to be refused properly.
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

/// No change is taken, every read is.
async fn refuses(process: &Process, ledger: &mut Ledger) {
    assert!(!ready(process).await);
    assert!(!ledger.create(process, 10).await);
    assert!(!ledger.set(process, 0).await);
    assert!(!ledger.kill(process, 1).await);
    ledger.check(process).await;
}

/// It serves again by itself, and after a restart too, with all that was answered.
async fn recovers(disk: &SmallDisk, process: Process, mut ledger: Ledger) {
    eventually("service again", async || ready(&process).await).await;
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
async fn a_full_disk_refuses_changes_and_serves_again_once_there_is_room() {
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
    // More than once: what one time leaves behind must not be in the way of the next.
    for _ in 0..2 {
        disk.fill(0);
        eventually("no room", async || !ledger.create(&process, 2_000).await).await;
        refuses(&process, &mut ledger).await;
        disk.free();
        eventually("service again", async || ready(&process).await).await;
        ledger.check(&process).await;
    }
    recovers(&disk, process, ledger).await;
}

/// The journal still finds room, but not the tables that the engine makes of what stands there. Nobody writes any more, so
/// nobody but the service itself can notice.
#[tokio::test]
async fn a_disk_that_is_full_for_the_engines_own_work_is_noticed() {
    let disk = SmallDisk::new(120);
    let process = disk.serve();
    let mut ledger = Ledger::default();
    disk.fill(11);
    // Just as much as the engine keeps in memory.
    for _ in 0..=8 * MIB / 50_000 {
        assert!(ledger.create(&process, 50_000).await, "the journal found no room");
    }
    eventually("it is noticed", async || !ready(&process).await).await;
    refuses(&process, &mut ledger).await;
    disk.free();
    recovers(&disk, process, ledger).await;
}

#[tokio::test]
async fn a_full_disk_is_not_taken_for_damage() {
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
        // Room for tables comes from what is no longer there.
        if place > 5 && !ledger.kill(&process, place - 5).await {
            break;
        }
    }
    ledger
}

/// Under load the disk fills wherever it happens to: in the journal, in a table, in a merge of tables. Eight clients
/// have a group of changes wait while another is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_under_load_does_no_harm() {
    let disk = SmallDisk::new(200);
    let mut process = Arc::new(disk.serve());
    let mut ledgers: Vec<_> = (0..8).map(|_| Ledger::default()).collect();
    for room in [30, 5, 17] {
        disk.fill(room);
        let clients = ledgers
            .drain(..)
            .map(|ledger| tokio::spawn(load(process.clone(), ledger)));
        for client in clients.collect::<Vec<_>>() {
            ledgers.push(client.await.expect("no panic"));
        }
        for ledger in &ledgers {
            ledger.check(&process).await;
        }
        if room == 5 {
            Arc::into_inner(process).expect("nobody else has it").kill();
            disk.free();
            process = Arc::new(disk.serve());
        } else {
            disk.free();
        }
        eventually("service again", async || ready(&process).await).await;
        for ledger in &ledgers {
            ledger.check(&process).await;
        }
    }
    let process = Arc::into_inner(process).expect("nobody else has it");
    let ledger = ledgers.into_iter().reduce(Ledger::and).expect("eight of them");
    recovers(&disk, process, ledger).await;
}

#[test]
fn the_disk_is_where_we_think_it_is() {
    let disk = SmallDisk::new(20);
    let process = disk.serve();
    assert!(disk.path("data/rest-sessions").is_file());
    assert!(!Path::new(disk.folder.path()).join("data").exists());
    process.stop();
}
