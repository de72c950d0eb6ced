//! A disk that takes no more: what is there can be read, what is new is refused, and nothing is damaged.

use std::process::Command;

use crate::process::{Process, program};

/// No file may grow any more. Only those who may lift their own limit could write again.
fn fill_the_disk(process: u32) {
    let mut command = Command::new("prlimit");
    command.args([format!("--pid={process}"), "--fsize=1".into()]);
    assert!(command.status().expect("prlimit is there").success());
}

#[tokio::test]
async fn a_full_disk_refuses_and_keeps() {
    let folder = tempfile::tempdir().expect("a folder");
    // A write beyond the limit is an error then, as on a full disk, and not the end of the process.
    let direct = program(folder.path(), &[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"trap '' XFSZ; exec "$0""#])
        .arg(direct.get_program());
    command.env_clear().current_dir(folder.path());
    command
        .env("RS_PORT", "0")
        .env("RS_DRAIN_DELAY", "0")
        .env("RS_DATA_DIR", "data");
    command.stdin(std::process::Stdio::null());
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let process = Process::spawn(command);
    let app = process.app();
    let token = app.create_with("ann", "", r#"{"a":1}"#).await;
    assert_eq!(process.ask("GET", "/readyz", "").await.status, 200);

    fill_the_disk(process.id());
    let create = || process.ask("PUT", "/test-app/create/ben?ip=::1", "");
    create()
        .await
        .refused(503, "storeUnavailable", "The session store is not available");
    process
        .ask("GET", "/readyz", "")
        .await
        .refused(503, "storeUnavailable", "The session store is not available");
    assert_eq!(app.get(&token).await.expect("alive").d(), r#"{"a":1}"#);
    create()
        .await
        .refused(503, "storeUnavailable", "The session store is not available");
    drop(process);

    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    assert_eq!(app.get(&token).await.expect("alive").d(), r#"{"a":1}"#);
    assert!(app.soid("ben").await.is_empty());
}
