//! Tests on a disk that does not answer for a while, as network storage without its server: a frozen file system in an
//! image. Reads go on, changes fail at their deadline, and neither shutdown nor later requests wait for the disk.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::{
    process::{Process, program},
    support::eventually,
};

/// The disk, mounted in a private mount namespace. A keeper process holds the namespace. It ends with this process at
/// the latest and then thaws the disk, since a process that waits for a frozen disk cannot be killed.
struct Disk {
    keeper: Child,
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        const KEEPER: &str = r#"
            cd "$0" && truncate -s 200M image && mkfs.ext4 -qF image && mkdir disk && mount -o loop image disk || exit
            echo mounted
            cat
            fsfreeze -u disk
        "#;
        let folder = tempfile::tempdir().expect("a folder");
        let mut keeper = Command::new("unshare")
            .args(["--mount", "sh", "-c", KEEPER])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare is there");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("a text");
        assert_eq!(
            line, "mounted\n",
            "this test mounts an image, so it needs root and loop devices"
        );
        Self { keeper, folder }
    }

    fn inside(&self, command: &str) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id()));
        inside.args(["--", command]);
        inside
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("disk").join(name)
    }

    fn serve(&self) -> Process {
        let program = program(self.folder.path(), &[]);
        let mut command = self.inside(program.get_program().to_str().expect("a plain path"));
        command
            .args(["--port", "0", "--drain-delay", "0", "--timeout", "1", "--data-dir"])
            .arg(self.path("data"))
            .env_clear()
            .stderr(Stdio::piped());
        Process::spawn(command)
    }

    /// Freezes the disk until the result is dropped. Drop it before the process that waits for the disk.
    fn freeze(&self) -> Frozen<'_> {
        self.set("-f");
        Frozen(self)
    }

    fn set(&self, option: &str) {
        let status = self.inside("fsfreeze").arg(option).arg(self.path("")).status();
        assert!(status.expect("fsfreeze is there").success(), "{option}");
    }
}

struct Frozen<'a>(&'a Disk);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.set("-u");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // At the end of its input, the keeper thaws the disk and ends.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

async fn assert_unavailable(process: &Process, method: &str, path: &str, body: &str) {
    let answer = process.ask(method, path, body).await;
    answer.refused(503, "storeUnavailable", "The session store is not available");
}

#[tokio::test]
async fn changes_that_timed_out_on_a_frozen_disk_are_dropped_but_kills_are_applied() {
    let disk = Disk::new();
    let process = disk.serve();
    let app = process.app();
    let ann = app.create_with("ann", "", r#"{"a":1}"#).await;
    let ben = app.create("ben").await;
    let frozen = disk.freeze();
    // The writer blocks on this probe, and the requests after it wait for the writer.
    assert_unavailable(&process, "GET", "/readyz", "").await;
    for _ in 0..3 {
        assert_unavailable(&process, "PUT", "/test-app/create/late?ip=::1", "").await;
    }
    assert_unavailable(&process, "POST", &format!("/test-app/set/{ann}"), r#"{"b":2}"#).await;
    assert_unavailable(&process, "DELETE", &format!("/test-app/kill/{ben}"), "").await;
    assert_eq!(app.get(&ann).await.expect("alive").d(), r#"{"a":1}"#);
    drop(frozen);
    eventually("the service is ready again", async || {
        process.ask("GET", "/readyz", "").await.status == 200
    })
    .await;
    assert_eq!(app.soid("late").await.len(), 0);
    assert!(app.get(&ben).await.is_none());
    let session = app.get(&ann).await.expect("alive");
    assert_eq!((session.d(), session.w), (r#"{"a":1}"#, 1));
    app.create("later").await;
    process.stop();
}

/// The threads that wait for the disk inside the kernel end only when it thaws. Everything else of the process must
/// end.
#[tokio::test]
async fn a_frozen_disk_does_not_delay_shutdown() {
    let disk = Disk::new();
    let process = disk.serve();
    let app = process.app();
    let token = app.create("ann").await;
    app.get(&token).await.expect("alive");
    let frozen = disk.freeze();
    assert_unavailable(&process, "GET", "/readyz", "").await;
    process.signal("TERM");
    let status = format!("/proc/{}/status", process.id());
    eventually("the process ends", async || {
        fs::read_to_string(&status).is_ok_and(|status| status.contains("State:\tZ"))
    })
    .await;
    drop(frozen);
    let (code, log) = process.wait();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the disk does not respond"), "{log}");
    let process = disk.serve();
    assert!(process.app().get(&token).await.is_some());
    process.stop();
}
