//! The Unix socket: with and without TCP, its mode, and which existing files it replaces.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use tempfile::TempDir;

use crate::process::{Process, eventually, finish, program};

/// Starts the service on a Unix socket without TCP and waits until the socket answers.
fn start(folder: &Path, args: &[&str]) -> Process {
    let mut command = Process::command(folder, &["--host", "none", "--socket", "http.sock"]);
    command.args(args);
    let process = Process::spawn_unseen(command, "");
    eventually("the socket answers", || ask(&folder.join("http.sock"), "/ping"));
    process
}

/// The answer to a GET; `None` if no process listens.
fn ask(socket: &Path, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// The line by which another start on the same socket is refused.
fn refusal(folder: &Path) -> String {
    let flags = ["--host", "none", "--socket", "http.sock", "--data-dir", "other"];
    let finished = finish(Process::command(folder, &flags));
    let line = finished.refusal(1).to_owned();
    assert!(line.contains("http.sock"), "{line}");
    line
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn the_service_listens_on_a_socket_instead_of_tcp() {
    let folder = folder();
    let process = start(folder.path(), &[]);
    let socket = folder.path().join("http.sock");
    assert!(ask(&socket, "/ping").expect("an answer").ends_with("PONG"));
    let listening = format!("/proc/{}/net/tcp", process.id());
    let inodes = sockets_of(process.id());
    let table = fs::read_to_string(listening).expect("a readable /proc");
    let tcp = table
        .lines()
        .any(|line| inodes.iter().any(|inode| line.split_whitespace().nth(9) == Some(inode)));
    assert!(!tcp, "the process has a TCP socket");
    assert!(process.stop().contains("http.sock"), "the log does not name the socket");
    assert!(!socket.exists(), "the socket file still exists");
}

/// The inodes of a process's sockets.
fn sockets_of(process: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).expect("a readable /proc");
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let inodes = links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()));
    inodes.collect()
}

#[tokio::test]
async fn the_service_listens_on_a_socket_and_tcp() {
    let folder = folder();
    let process = Process::start(folder.path(), &["--socket", "http.sock"]);
    let token = process.app().create("ann").await;
    let path = format!("/test-app/get/{token}");
    let answer = eventually("the socket answers", || ask(&folder.path().join("http.sock"), &path));
    assert!(answer.contains(r#""id":"ann""#), "{answer}");
    process.stop();
}

#[test]
fn the_socket_has_the_configured_mode() {
    for (args, mode) in [
        (&[][..], 0o660),
        (&["--socket-mode", "0600"], 0o600),
        (&["--socket-mode", "666"], 0o666),
    ] {
        let folder = folder();
        let process = start(folder.path(), args);
        let file = fs::metadata(folder.path().join("http.sock")).expect("a socket file");
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o7777, mode);
        assert_eq!(process.stop().contains("every user"), mode == 0o666);
    }
}

#[test]
fn the_socket_of_a_killed_process_is_replaced() {
    let folder = folder();
    start(folder.path(), &[]).kill();
    assert!(folder.path().join("http.sock").exists(), "no stale socket file");
    start(folder.path(), &[]).stop();
}

#[test]
fn the_socket_of_a_running_service_is_kept() {
    let folder = folder();
    let process = start(folder.path(), &[]);
    let line = refusal(folder.path());
    assert!(line.contains("another process"), "{line}");
    assert!(
        ask(&folder.path().join("http.sock"), "/ping").is_some(),
        "the first service lost its socket"
    );
    process.stop();
}

#[tokio::test]
async fn the_socket_of_a_busy_process_is_kept() {
    let folder = folder();
    let path = folder.path().join("http.sock");
    let _owner = UnixListener::bind(&path).expect("a socket");
    // Fill its backlog: it never accepts a connection.
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::net::UnixStream::connect(&path).await {
        waiting.push(stream);
    }
    assert!(!waiting.is_empty());
    let before = fs::metadata(&path).expect("a socket file").ino();
    let line = refusal(folder.path());
    assert!(line.contains("another process"), "{line}");
    assert_eq!(fs::metadata(&path).expect("a socket file").ino(), before);
}

#[test]
fn a_file_that_is_not_a_socket_is_kept() {
    let folder = folder();
    let path = folder.path().join("http.sock");
    fs::write(&path, "precious").expect("a file");
    let line = refusal(folder.path());
    assert!(line.contains("is not a socket"), "{line}");
    assert_eq!(fs::read_to_string(&path).expect("a file"), "precious");
    fs::remove_file(&path).expect("a file");
    fs::create_dir(&path).expect("a folder");
    refusal(folder.path());
    assert!(path.is_dir());
}

#[test]
fn shutdown_keeps_a_socket_that_another_process_has_created() {
    let folder = folder();
    let process = start(folder.path(), &[]);
    let path = folder.path().join("http.sock");
    fs::remove_file(&path).expect("a file");
    let _other = UnixListener::bind(&path).expect("a socket");
    process.stop();
    assert!(path.exists(), "the service removed another process's socket");
}

#[test]
fn an_unusable_socket_path_is_refused() {
    let folder = folder();
    for path in ["no/such/folder.sock".to_owned(), format!("{}.sock", "x".repeat(120))] {
        let finished = finish(Process::command(folder.path(), &["--host", "none", "--socket", &path]));
        let line = finished.refusal(1);
        assert!(line.contains(&path), "{line}");
    }
}

#[test]
fn one_of_several_concurrent_starts_gets_the_socket() {
    let folder = folder();
    start(folder.path(), &[]).kill();
    let starts: Vec<_> = (0..4)
        .map(|n| {
            let data = format!("data-{n}");
            let command = Process::command(
                folder.path(),
                &["--host", "none", "--socket", "http.sock", "--data-dir", &data],
            );
            Process::spawn_unseen(command, "")
        })
        .collect();
    let mut starts: Vec<_> = starts.into_iter().map(Some).collect();
    let mut refused = 0;
    eventually("three are refused", || {
        for process in &mut starts {
            if process.as_mut().is_some_and(|process| !process.running()) {
                refused += 1;
                *process = None;
            }
        }
        (refused == 3).then_some(())
    });
    assert!(
        ask(&folder.path().join("http.sock"), "/ping").is_some(),
        "no service answers"
    );
    starts.into_iter().flatten().for_each(|process| drop(process.stop()));
}

#[test]
fn healthcheck_works_through_the_socket() {
    let folder = folder();
    let process = start(folder.path(), &[]);
    let check = |socket: &str| {
        finish(program(
            folder.path(),
            &["healthcheck", "--host", "none", "--socket", socket],
        ))
    };
    let finished = check("http.sock");
    let silent = (finished.code, finished.stdout.as_str(), finished.stderr.as_str());
    assert_eq!(silent, (Some(0), "", ""));
    process.stop();
    assert!(check("http.sock").refusal(1).contains("http.sock"));
}
