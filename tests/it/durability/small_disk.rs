//! A small disk in memory, which a test can fill, free and mount over.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::process::{Finished, Process, finish, program};

pub(super) const MIB: usize = 1 << 20;

/// A tmpfs in a private mount namespace. A keeper process holds the namespace and ends at the end of its input, so with
/// this process at the latest.
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

    /// The program with its data folder on this disk.
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

    /// Starts the service with the smallest cache, so that gets read from the disk.
    pub(super) fn serve(&self) -> Process {
        Process::spawn(self.program(&["--cache-size", "1", "--port", "0", "--drain-delay", "0"]))
    }

    /// Runs a shell command in the mount point, inside the namespace.
    pub(super) fn shell(&self, line: &str) {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id()))
            .args(["--", "sh", "-ec"]);
        command.arg(format!("cd '{}'; {line}", self.folder.path().display()));
        assert!(command.status().expect("nsenter is there").success(), "{line}");
    }

    /// Runs `rest-sessions check`.
    pub(super) fn check(&self) -> Finished {
        finish(self.program(&["check"]))
    }

    /// A path on this disk, as seen from outside the namespace.
    fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        let folder = self.folder.path().strip_prefix("/").expect("it is absolute");
        root.join(folder).join(name)
    }

    /// Fills the disk, except for `free_mib` MiB.
    pub(super) fn fill(&self, free_mib: usize) {
        let path = self.path("filler");
        let mut filler = File::create(&path).expect("a file");
        let block = vec![1; MIB / 16];
        while filler.write_all(&block).is_ok() {}
        let size = filler.metadata().expect("metadata").len();
        filler
            .set_len(size.saturating_sub((free_mib * MIB) as u64))
            .expect("a shorter file");
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

#[test]
fn the_service_keeps_its_data_on_the_small_disk() {
    let disk = SmallDisk::new(20);
    let process = disk.serve();
    assert!(disk.path("data/rest-sessions").is_file());
    assert!(!Path::new(disk.folder.path()).join("data").exists());
    process.stop();
}
