//! A disk that answers nothing for a while, as a storage network that has lost its server: a frozen file system in an image
//! of its own. Reads go on, changes cost the deadline, and neither the end of the service nor what follows waits for it.

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

/// The disk, in a mount namespace that others do not see. Its keeper ends with this process at the latest, and thaws it then:
/// nothing could end the processes that wait for it.
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

    /// Freezes it until that is dropped, before the process that waits for it.
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
        // It thaws the disk and ends, with the end of its input.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

async fn refused(process: &Process, method: &str, path: &str, body: &str) {
    let answer = process.ask(method, path, body).await;
    answer.refused(503, "storeUnavailable", "The session store is not available");
}

#[tokio::test]
async fn what_timed_out_on_a_frozen_disk_is_not_done_later_but_kills_are() {
    let disk = Disk::new();
    let process = disk.serve();
    let app = process.app();
    let ann = app.create_with("ann", "", r#"{"a":1}"#).await;
    let ben = app.create("ben").await;
    let frozen = disk.freeze();
    // This is what the writer waits with; the rest waits for the writer.
    refused(&process, "GET", "/readyz", "").await;
    for _ in 0..3 {
        refused(&process, "PUT", "/test-app/create/late?ip=::1", "").await;
    }
    refused(&process, "POST", &format!("/test-app/set/{ann}"), r#"{"b":2}"#).await;
    refused(&process, "DELETE", &format!("/test-app/kill/{ben}"), "").await;
    assert_eq!(app.get(&ann).await.expect("alive").d(), r#"{"a":1}"#);
    drop(frozen);
    eventually("service again", async || {
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

/// What of the process waits in the system for the disk can only be ended by the system; all else of it has.
#[tokio::test]
async fn a_frozen_disk_does_not_hold_the_end_back() {
    let disk = Disk::new();
    let process = disk.serve();
    let app = process.app();
    let token = app.create("ann").await;
    app.get(&token).await.expect("alive");
    let frozen = disk.freeze();
    refused(&process, "GET", "/readyz", "").await;
    process.signal("TERM");
    let status = format!("/proc/{}/status", process.id());
    eventually("the end", async || {
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
