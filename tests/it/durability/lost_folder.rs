//! Tests of a data folder that is deleted, renamed, replaced or mounted over while the service runs. The service
//! acknowledges no change that did not reach its own folder, logs an error, and recovers once the folder is back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{small_disk::SmallDisk, used_folder::tree};
use crate::{
    process::{Process, finish},
    support::{App, Session, eventually},
};

const LINE: &str = "the data folder has been moved, replaced or damaged";

/// A service with a session that has data and one get, which is still buffered.
struct World {
    process: Process,
    app: App,
    token: String,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let process = Process::start(folder.path(), &[]);
        let app = process.app();
        let token = app.create_with("ann", "", r#"{"a":1}"#).await;
        app.get(&token).await.expect("alive");
        Self {
            process,
            app,
            token,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    async fn assert_recovers(&self) {
        assert_recovers(&self.process, &self.app, &self.token).await;
    }

    async fn assert_unavailable(&self) {
        assert_unavailable(&self.process, &self.token).await;
    }
}

/// Asserts that every change is refused from the first one on, then reads too, and that an error is logged.
async fn assert_unavailable(process: &Process, token: &str) {
    const MESSAGE: &str = "The session store is not available";
    let refused = async |method: &str, path: &str, body: &str| {
        let answer = process.ask(method, path, body).await;
        answer.refused(503, "storeUnavailable", MESSAGE);
    };
    refused("PUT", "/test-app/create/late?ip=::1", "").await;
    refused("POST", &format!("/test-app/set/{token}"), r#"{"a":2}"#).await;
    refused("DELETE", &format!("/test-app/kill/{token}"), "").await;
    refused("DELETE", "/test-app/killsoid/ann", "").await;
    refused("DELETE", "/test-app/killall", "").await;
    refused("GET", "/readyz", "").await;
    refused("GET", &format!("/test-app/get/{token}"), "").await;
    refused("GET", "/test-app/soid/ann", "").await;
    refused("GET", "/test-app/soapp?dt=600", "").await;
    refused("GET", "/test-app/activity?dt=600", "").await;
    eventually("the error is logged", async || process.log().contains(LINE)).await;
    let log = process.log();
    assert!(log.contains("ERROR") && !log.contains(token), "{log}");
}

/// Asserts that the service recovers by itself, with every answered change and no refused one.
async fn assert_recovers(process: &Process, app: &App, token: &str) {
    eventually("the service is ready again", async || {
        process.ask("GET", "/readyz", "").await.status == 200
    })
    .await;
    let session = app.get(token).await.expect("alive");
    assert_eq!((session.d(), session.r), (r#"{"a":1}"#, 2));
    assert_eq!(app.set(token, r#"{"b":2}"#).await.map(|session| session.w), Some(2));
    app.create("later").await;
    assert_eq!(process.log().matches(LINE).count(), 1, "{}", process.log());
}

/// Asserts that a restart finds what [`assert_recovers`] left.
async fn assert_restarts(folder: &Path, token: &str) {
    let process = Process::start(folder, &[]);
    let app = process.app();
    let found = app.get(token).await.map(|session: Session| (session.r, session.w));
    assert_eq!(found, Some((3, 2)));
    assert_eq!(app.soid("later").await.len(), 1);
    process.stop();
}

#[tokio::test]
async fn the_service_refuses_requests_until_a_renamed_folder_is_back() {
    let world = World::new().await;
    fs::rename(world.data(), world.path("away")).expect("a folder");
    world.assert_unavailable().await;
    // The service still holds the lock of the renamed folder.
    let second = finish(Process::command(world.folder.path(), &["--data-dir", "away"]));
    assert!(second.refusal(1).contains("another process"), "{second:?}");
    fs::rename(world.path("away"), world.data()).expect("a folder");
    world.assert_recovers().await;
    world.process.stop();
    assert_restarts(world.folder.path(), &world.token).await;
}

#[tokio::test]
async fn the_service_does_not_recreate_a_deleted_folder() {
    let world = World::new().await;
    fs::remove_dir_all(world.data()).expect("a folder");
    world.assert_unavailable().await;
    assert!(!world.data().exists(), "the service recreated the folder");
    // The next start creates a new folder.
    world.process.kill();
    let process = Process::start(world.folder.path(), &[]);
    process.app().create("ben").await;
    process.stop();
}

#[tokio::test]
async fn the_service_leaves_an_emptied_folder_empty() {
    let world = World::new().await;
    for entry in fs::read_dir(world.data()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            fs::remove_dir_all(path).expect("a folder");
        } else {
            fs::remove_file(path).expect("a file");
        }
    }
    world.assert_unavailable().await;
    let data = world.data();
    world.process.kill();
    assert_eq!(fs::read_dir(data).expect("a folder").count(), 0);
    Process::start(world.folder.path(), &[]).stop();
}

#[tokio::test]
async fn two_services_never_own_the_same_path() {
    let world = World::new().await;
    fs::rename(world.data(), world.path("away")).expect("a folder");
    let second = Process::start(world.folder.path(), &[]);
    let token = second.app().create("ben").await;
    world.assert_unavailable().await;
    assert!(second.app().get(&token).await.is_some());
    second.app().create("carl").await;
    // The same with the folders exchanged.
    fs::rename(world.data(), world.path("second")).expect("a folder");
    fs::rename(world.path("away"), world.data()).expect("a folder");
    assert_unavailable(&second, &token).await;
    world.assert_recovers().await;
    world.process.stop();
    second.kill();
    assert_restarts(world.folder.path(), &world.token).await;
    let second = Process::start(world.folder.path(), &["--data-dir", "second"]);
    assert_eq!(second.app().soid("carl").await.len(), 1);
    second.stop();
}

/// An operator may restore a backup without stopping the service, which must not touch the restored folder.
#[tokio::test]
async fn the_service_does_not_touch_a_copy_in_place_of_its_folder() {
    let world = World::new().await;
    let copied = std::process::Command::new("cp")
        .args(["-a", "data", "copy"])
        .current_dir(world.folder.path())
        .status();
    assert!(copied.expect("cp is there").success());
    let before = tree(&world.path("copy"));
    fs::rename(world.data(), world.path("away")).expect("a folder");
    fs::rename(world.path("copy"), world.data()).expect("a folder");
    world.assert_unavailable().await;
    let data = world.data();
    world.process.kill();
    assert_eq!(tree(&data), before);
    let process = Process::start(world.folder.path(), &[]);
    assert!(process.app().get(&world.token).await.is_some());
    process.stop();
}

#[tokio::test]
async fn the_service_takes_a_deleted_lock_again() {
    let world = World::new().await;
    fs::remove_file(world.data().join("lock")).expect("a file");
    // Until then another process could take the folder, so this change is refused.
    let create = world.process.ask("PUT", "/test-app/create/late?ip=::1", "").await;
    create.refused(503, "storeUnavailable", "The session store is not available");
    world.assert_recovers().await;
    let second = finish(Process::command(world.folder.path(), &[]));
    assert!(second.refusal(1).contains("another process"), "{second:?}");
    world.process.stop();
    assert_restarts(world.folder.path(), &world.token).await;
}

/// The service notices by itself, without a request.
#[tokio::test]
async fn the_service_notices_missing_files_of_the_engine() {
    for name in [
        "rest-sessions",
        "fjall",
        "fjall/0.jnl",
        "fjall/version",
        "fjall/keyspaces/1",
    ] {
        let world = World::new().await;
        let path = world.data().join(name);
        fs::rename(&path, world.path("away")).unwrap_or_else(|error| panic!("{name}: {error}"));
        eventually(name, async || world.process.log().contains(LINE)).await;
        assert_eq!(world.process.ask("GET", "/readyz", "").await.status, 503, "{name}");
        fs::rename(world.path("away"), path).expect("it is moved back");
        world.assert_recovers().await;
        world.process.stop();
        assert_restarts(world.folder.path(), &world.token).await;
    }
}

#[tokio::test]
async fn the_service_refuses_requests_while_its_folder_is_mounted_over() {
    let disk = SmallDisk::new(200);
    let process = disk.serve();
    let app = process.app();
    let token = app.create_with("ann", "", r#"{"a":1}"#).await;
    app.get(&token).await.expect("alive");
    disk.shell("mount -t tmpfs tmpfs data");
    assert_unavailable(&process, &token).await;
    disk.shell(r#"test -z "$(ls -A data)"; umount data"#);
    assert_recovers(&process, &app, &token).await;
    process.stop();
}

#[tokio::test]
async fn the_service_notices_a_truncated_or_replaced_journal() {
    for cut in [false, true] {
        let world = World::new().await;
        let journal = world.data().join("fjall/0.jnl");
        if cut {
            let file = fs::File::options().write(true).open(&journal).expect("a journal");
            file.set_len(0).expect("it is truncated");
        } else {
            // rsync and restore tools replace a file like this.
            fs::copy(&journal, world.path("copy")).expect("a copy");
            fs::rename(world.path("copy"), &journal).expect("it is replaced");
        }
        eventually("the error is logged", async || world.process.log().contains(LINE)).await;
    }
}
