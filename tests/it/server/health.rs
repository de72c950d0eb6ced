//! The `healthcheck` subcommand, which containers run against their own service.

use crate::process::{Finished, Process, eventually, finish, free_port, program};

/// Runs the binary with these flags and variables.
fn check(args: &[&str], environment: &[(&str, &str)]) -> Finished {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = program(folder.path(), args);
    command.envs(environment.iter().copied());
    finish(command)
}

fn port(process: &Process) -> &str {
    process.address().rsplit(':').next().expect("an address has a port")
}

#[test]
fn a_ready_service_is_healthy_by_every_way_to_name_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &[]);
    let port = port(&process);
    std::fs::write(folder.path().join("options.toml"), format!("port = {port}")).expect("a file");
    let file = folder.path().join("options.toml");
    let file = file.to_str().expect("a plain path");
    for (args, environment) in [
        (&["--port", port, "healthcheck"][..], &[][..]),
        (&["healthcheck", "--port", port], &[]),
        (&["healthcheck", "--host", "localhost", "--port", port], &[]),
        (&["healthcheck"], &[("RS_PORT", port)]),
        (&["healthcheck"], &[("RS_CONFIG", file)]),
        (&["healthcheck", "--config", file], &[]),
        (&["--config", file, "healthcheck"], &[]),
        // A service on all addresses also listens on loopback.
        (&["healthcheck"], &[("RS_HOST", "0.0.0.0"), ("RS_PORT", port)]),
    ] {
        let finished = check(args, environment);
        let silent = (finished.code, finished.stdout.as_str(), finished.stderr.as_str());
        assert_eq!(silent, (Some(0), "", ""), "{args:?} {environment:?}");
    }
}

#[test]
fn a_port_without_a_listener_is_not_healthy() {
    let port = free_port().to_string();
    let finished = check(&["healthcheck", "--port", &port], &[]);
    let line = finished.refusal(1);
    assert!(line.contains(&port), "{line}");
}

#[test]
fn a_silent_listener_is_not_healthy() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port().to_string();
    check(&["healthcheck", "--port", &port], &[]).refusal(1);
}

#[test]
fn a_service_without_its_store_is_not_healthy() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = format!("redis://127.0.0.1:{}", free_port());
    let process = Process::start(folder.path(), &["--redis-url", &redis, "--timeout", "0.5"]);
    let finished = check(&["healthcheck", "--port", port(&process)], &[]);
    let line = finished.refusal(1);
    assert!(line.contains("503"), "{line}");
}

#[test]
fn a_draining_service_is_not_healthy() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &["--drain-delay", "60"]);
    process.signal("TERM");
    let finished = eventually("not ready", || {
        let finished = check(&["healthcheck", "--port", port(&process)], &[]);
        (finished.code != Some(0)).then_some(finished)
    });
    let line = finished.refusal(1);
    assert!(line.contains("503"), "{line}");
}
