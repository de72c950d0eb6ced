//! Test with a limit on the size of files, which acts like a quota: reads go on, changes are refused, nothing is
//! damaged, and the service recovers once the limit is lifted. See [`super::full_disk`] for a full disk.

use std::process::Command;

use crate::{
    process::{Process, program},
    support::eventually,
};

/// Sets the soft limit on the size of the process's files, which can be lifted again.
fn limit_files(process: u32, bytes: &str) {
    let mut command = Command::new("prlimit");
    command.args([format!("--pid={process}"), format!("--fsize={bytes}:")]);
    assert!(command.status().expect("prlimit is there").success());
}

#[tokio::test]
async fn the_service_refuses_changes_until_the_limit_is_lifted() {
    let folder = tempfile::tempdir().expect("a folder");
    // With SIGXFSZ ignored, a write beyond the limit fails as on a full disk and does not end the process.
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

    limit_files(process.id(), "1");
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

    limit_files(process.id(), "unlimited");
    eventually("the service is ready again", async || {
        process.ask("GET", "/readyz", "").await.status == 200
    })
    .await;
    let later = app.create("carl").await;
    assert_eq!(app.get(&token).await.expect("alive").r, 2);
    process.stop();

    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    let session = app.get(&token).await.expect("alive");
    assert_eq!((session.r, session.d()), (3, r#"{"a":1}"#));
    assert!(app.get(&later).await.is_some());
    // A change that was answered with an error may have been applied, but only as a whole.
    for session in app.soid("ben").await {
        assert_eq!((session.w, session.ttl), (1, 7200));
    }
}
