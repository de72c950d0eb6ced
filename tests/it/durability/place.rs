//! A data folder that is deleted, renamed, replaced or mounted over while the service runs: nothing is answered as done that
//! went into no folder or into another's, it is told, and the service goes on once the folder is back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::room::SmallDisk;
use crate::{
    process::{Process, finish},
    support::{App, Session, eventually},
};

const LINE: &str = "the data folder has been moved, replaced or damaged";

/// A service with a session that has data and two reads, one of them of this very moment.
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

    async fn back(&self) {
        back(&self.process, &self.app, &self.token).await;
    }

    async fn gone(&self) {
        gone(&self.process, &self.token).await;
    }
}

/// Every change is refused from the first one on, and so is everything else soon.
async fn gone(process: &Process, token: &str) {
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
    eventually("it is told", async || process.log().contains(LINE)).await;
    let log = process.log();
    assert!(log.contains("ERROR") && !log.contains(token), "{log}");
}

/// It serves again by itself, with all that was answered and nothing of what was refused.
async fn back(process: &Process, app: &App, token: &str) {
    eventually("service again", async || {
        process.ask("GET", "/readyz", "").await.status == 200
    })
    .await;
    let session = app.get(token).await.expect("alive");
    assert_eq!((session.d(), session.r), (r#"{"a":1}"#, 2));
    assert_eq!(app.set(token, r#"{"b":2}"#).await.map(|session| session.w), Some(2));
    app.create("later").await;
    assert_eq!(process.log().matches(LINE).count(), 1, "{}", process.log());
}

/// What a restart finds must be what [`back`] left.
async fn restarts(folder: &Path, token: &str) {
    let process = Process::start(folder, &[]);
    let app = process.app();
    let found = app.get(token).await.map(|session: Session| (session.r, session.w));
    assert_eq!(found, Some((3, 2)));
    assert_eq!(app.soid("later").await.len(), 1);
    process.stop();
}

#[tokio::test]
async fn a_folder_that_is_renamed_is_missed_until_it_is_back() {
    let world = World::new().await;
    fs::rename(world.data(), world.path("away")).expect("a folder");
    world.gone().await;
    // Nobody else can have it there either.
    let second = finish(Process::command(world.folder.path(), &["--data-dir", "away"]));
    assert!(second.refusal(1).contains("another process"), "{second:?}");
    fs::rename(world.path("away"), world.data()).expect("a folder");
    world.back().await;
    world.process.stop();
    restarts(world.folder.path(), &world.token).await;
}

#[tokio::test]
async fn a_folder_that_is_deleted_is_missed() {
    let world = World::new().await;
    fs::remove_dir_all(world.data()).expect("a folder");
    world.gone().await;
    assert!(!world.data().exists(), "it was made again");
    // Another start makes a new one.
    world.process.kill();
    let process = Process::start(world.folder.path(), &[]);
    process.app().create("ben").await;
    process.stop();
}

#[tokio::test]
async fn a_folder_that_is_emptied_is_missed_and_left_empty() {
    let world = World::new().await;
    for entry in fs::read_dir(world.data()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            fs::remove_dir_all(path).expect("a folder");
        } else {
            fs::remove_file(path).expect("a file");
        }
    }
    world.gone().await;
    let data = world.data();
    world.process.kill();
    assert_eq!(fs::read_dir(data).expect("a folder").count(), 0);
    Process::start(world.folder.path(), &[]).stop();
}

#[tokio::test]
async fn two_services_never_both_own_a_path() {
    let world = World::new().await;
    fs::rename(world.data(), world.path("away")).expect("a folder");
    let second = Process::start(world.folder.path(), &[]);
    let token = second.app().create("ben").await;
    world.gone().await;
    assert!(second.app().get(&token).await.is_some());
    second.app().create("carl").await;
    // Nor the other way round.
    fs::rename(world.data(), world.path("second")).expect("a folder");
    fs::rename(world.path("away"), world.data()).expect("a folder");
    gone(&second, &token).await;
    world.back().await;
    world.process.stop();
    second.kill();
    restarts(world.folder.path(), &world.token).await;
    let second = Process::start(world.folder.path(), &["--data-dir", "second"]);
    assert_eq!(second.app().soid("carl").await.len(), 1);
    second.stop();
}

/// As an operator restores a backup without stopping the service: what stands there now is not touched.
#[tokio::test]
async fn a_copy_in_its_place_is_another_folder() {
    let world = World::new().await;
    let copied = std::process::Command::new("cp")
        .args(["-a", "data", "copy"])
        .current_dir(world.folder.path())
        .status();
    assert!(copied.expect("cp is there").success());
    let before = super::used::tree(&world.path("copy"));
    fs::rename(world.data(), world.path("away")).expect("a folder");
    fs::rename(world.path("copy"), world.data()).expect("a folder");
    world.gone().await;
    let data = world.data();
    world.process.kill();
    assert_eq!(super::used::tree(&data), before);
    let process = Process::start(world.folder.path(), &[]);
    assert!(process.app().get(&world.token).await.is_some());
    process.stop();
}

#[tokio::test]
async fn a_lock_that_is_deleted_is_taken_again() {
    let world = World::new().await;
    fs::remove_file(world.data().join("lock")).expect("a file");
    // For a moment it may be anybody's, so this change counts as one in another's folder.
    let create = world.process.ask("PUT", "/test-app/create/late?ip=::1", "").await;
    create.refused(503, "storeUnavailable", "The session store is not available");
    world.back().await;
    let second = finish(Process::command(world.folder.path(), &[]));
    assert!(second.refusal(1).contains("another process"), "{second:?}");
    world.process.stop();
    restarts(world.folder.path(), &world.token).await;
}

/// Without a single request: the service looks by itself.
#[tokio::test]
async fn what_the_engine_needs_is_missed() {
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
        fs::rename(world.path("away"), path).expect("what was taken away");
        world.back().await;
        world.process.stop();
        restarts(world.folder.path(), &world.token).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_mounted_over_is_missed_until_it_is_not() {
    let disk = SmallDisk::new(200);
    let process = disk.serve();
    let app = process.app();
    let token = app.create_with("ann", "", r#"{"a":1}"#).await;
    app.get(&token).await.expect("alive");
    disk.shell("mount -t tmpfs tmpfs data");
    gone(&process, &token).await;
    disk.shell(r#"test -z "$(ls -A data)"; umount data"#);
    back(&process, &app, &token).await;
    process.stop();
}

#[tokio::test]
async fn a_journal_that_is_not_the_engines_is_noticed() {
    for cut in [false, true] {
        let world = World::new().await;
        let journal = world.data().join("fjall/0.jnl");
        if cut {
            let file = fs::File::options().write(true).open(&journal).expect("a journal");
            file.set_len(0).expect("cut");
        } else {
            // As rsync and other tools that restore put a file in the place of another.
            fs::copy(&journal, world.path("copy")).expect("a copy");
            fs::rename(world.path("copy"), &journal).expect("in its place");
        }
        eventually("it is told", async || world.process.log().contains(LINE)).await;
    }
}
