//! Tests with the variables that Kubernetes sets in every container for a Service called `rs`. They look like options
//! of this program, which ignores them and warns.

use std::{os::unix::net::UnixStream, process::Command};

use crate::process::{Process, eventually, finish, free_port, program};

fn with_links(command: &mut Command) {
    command.envs([
        ("RS_PORT", "tcp://10.96.12.7:3000"),
        ("RS_SERVICE_HOST", "10.96.12.7"),
        ("RS_SERVICE_PORT", "3000"),
        ("RS_SERVICE_PORT_HTTP", "3000"),
        ("RS_PORT_3000_TCP", "tcp://10.96.12.7:3000"),
        ("RS_PORT_3000_TCP_ADDR", "10.96.12.7"),
        ("RS_PORT_3000_TCP_PORT", "3000"),
        ("RS_PORT_3000_TCP_PROTO", "tcp"),
    ]);
}

/// Whether a line names the variable that was ignored, and the reason.
fn is_warning(line: &str) -> bool {
    line.contains("RS_PORT=tcp://10.96.12.7:3000 is ignored") && line.contains("Kubernetes")
}

#[test]
fn every_command_ignores_links_and_warns_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port().to_string();
    let mut command = program(folder.path(), &["--port", &port, "--drain-delay", "0"]);
    with_links(&mut command);
    let process = Process::spawn(command);
    assert!(process.address().ends_with(&port));
    let mut health = program(folder.path(), &["healthcheck", "--port", &port]);
    with_links(&mut health);
    let finished = finish(health);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.one_line() && is_warning(&finished.stderr), "{finished:?}");
    let log = process.stop();
    let lines: Vec<_> = log.lines().filter(|line| is_warning(line)).collect();
    assert!(lines.len() == 1 && lines[0].contains(" WARN "), "{log}");
    // `check` ignores the links too.
    let mut check = program(folder.path(), &["check"]);
    with_links(&mut check);
    let finished = finish(check);
    assert!(finished.code == Some(0) && is_warning(&finished.stderr), "{finished:?}");
}

#[test]
fn the_warning_appears_at_every_log_level() {
    for level in ["none", "error", "warn"] {
        let folder = tempfile::tempdir().expect("a folder");
        let flags = [
            "--host",
            "none",
            "--socket",
            "http.sock",
            "--drain-delay",
            "0",
            "--loglevel",
            level,
        ];
        let mut command = program(folder.path(), &flags);
        with_links(&mut command);
        let process = Process::spawn_unseen(command, "");
        let socket = folder.path().join("http.sock");
        eventually("the service listens", || UnixStream::connect(&socket).ok());
        let log = process.stop();
        assert_eq!(log.lines().filter(|line| is_warning(line)).count(), 1, "{level}: {log}");
    }
}

#[test]
fn a_failed_healthcheck_prints_the_warning_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut health = program(folder.path(), &["healthcheck", "--host", "127.0.0.2"]);
    with_links(&mut health);
    let finished = finish(health);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let lines: Vec<_> = finished.stderr.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].contains("127.0.0.2:3000") && is_warning(lines[1]),
        "{lines:?}"
    );
}

#[test]
fn every_other_bad_port_is_refused() {
    for wrong in ["http://10.96.12.7:3000", "tcp:10.96.12.7:3000", "10.96.12.7:3000", "x"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Process::command(folder.path(), &[]);
        command.env("RS_PORT", wrong);
        let finished = finish(command);
        assert!(finished.refusal(2).contains("--port"), "{finished:?}");
    }
    // Kubernetes sets no flags, so there the same text is the operator's mistake.
    let folder = tempfile::tempdir().expect("a folder");
    let finished = finish(Process::command(folder.path(), &["--port=tcp://10.96.12.7:3000"]));
    assert!(finished.refusal(2).contains("--port"), "{finished:?}");
}
