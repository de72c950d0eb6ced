//! Whose folder it is: one process at a time has it, a folder that is not ours is left alone, and a first start that was cut
//! short has promised nothing to anybody.

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;

use super::used::{Tree, plant, tree};
use crate::process::{Process, finish};

/// The marker of a folder whose engine is being set up.
const NEW: &str = "rest-sessions data, format 1, new\n";

#[tokio::test]
async fn a_second_process_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &[]);
    let token = process.app().create("somebody").await;
    let absolute = folder.path().join("data");
    for path in ["data", "./data/", absolute.to_str().expect("a plain path")] {
        let second = finish(Process::command(folder.path(), &["--data-dir", path]));
        let line = second.refusal(1);
        assert!(line.contains("another process") && line.contains(path), "{line}");
    }
    let app = process.app();
    assert_eq!(app.set(&token, r#"{"n":1}"#).await.map(|session| session.w), Some(2));
    assert!(app.get(&app.create("another").await).await.is_some());
    process.stop();
    let process = Process::start(folder.path(), &[]);
    assert_eq!(process.app().get(&token).await.map(|session| session.w), Some(2));
}

#[test]
fn a_folder_is_free_again_after_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..3 {
        Process::start(folder.path(), &[]).kill();
    }
}

/// What `data` is made into must be refused and stay as it is.
fn foreign(make: impl FnOnce(&Path), data_dir: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    make(&folder.path().join("data"));
    let before = tree(folder.path());
    assert!(!before.is_empty(), "a test that makes nothing");
    let finished = finish(Process::command(folder.path(), &["--data-dir", data_dir]));
    let line = finished.refusal(1);
    assert!(line.contains(data_dir), "{line}");
    assert_eq!(tree(folder.path()), before, "{line}");
}

#[test]
fn a_foreign_folder_is_left_alone() {
    foreign(
        |data| {
            fs::create_dir(data).expect("a folder");
            fs::write(data.join("notes.txt"), "mine").expect("a file");
        },
        "data",
    );
    foreign(|data| fs::create_dir_all(data.join("empty")).expect("folders"), "data");
    foreign(
        |data| {
            fs::create_dir_all(data.join("fjall/keyspaces")).expect("folders");
            fs::write(data.join("fjall/version"), "FJL\u{3}").expect("a file");
            fs::write(data.join("lock"), "").expect("a file");
        },
        "data",
    );
    foreign(
        |data| fs::create_dir_all(data.join("rest-sessions")).expect("folders"),
        "data",
    );
}

#[test]
fn what_is_no_folder_is_left_alone() {
    foreign(|data| fs::write(data, "mine").expect("a file"), "data");
    foreign(|data| fs::write(data, "").expect("a file"), "data");
    foreign(|data| fs::write(data, "mine").expect("a file"), "data/below");
    foreign(
        |data| std::os::unix::fs::symlink("nowhere/at/all", data).expect("a link"),
        "data",
    );
}

/// A start in what [`plant`] makes of `left` must succeed, and serve.
async fn starts(left: &Tree) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    plant(left, &folder.path().join("data"));
    let process = Process::start(folder.path(), &[]);
    let token = process.app().create("somebody").await;
    process.kill();
    (folder, token)
}

#[tokio::test]
async fn a_first_start_cut_short_starts_again() {
    let folder = tempfile::tempdir().expect("a folder");
    Process::start(folder.path(), &[]).stop();
    // The second start cuts the journal's 64 MB of zeros.
    Process::start(folder.path(), &[]).stop();
    let mut whole = tree(&folder.path().join("data"));
    let lock = whole.remove(Path::new("lock")).expect("a lock");
    let (mode, _) = whole.remove(Path::new("rest-sessions")).expect("a marker");

    let mut left = Tree::new();
    starts(&left).await;
    left.insert("lock".into(), lock);
    starts(&left).await;
    left.insert(
        "rest-sessions.draft".into(),
        (mode, Some(NEW.as_bytes()[..10].to_vec())),
    );
    starts(&left).await;
    left.remove(Path::new("rest-sessions.draft"));
    left.insert("rest-sessions".into(), (mode, Some(NEW.as_bytes().to_vec())));
    starts(&left).await;
    // The engine, up to half of its files and in several orders, and whole.
    for skip in [0, 1, 2, 3] {
        let mut left = left.clone();
        left.extend(
            whole
                .clone()
                .into_iter()
                .enumerate()
                .filter(|(n, (_, (_, content)))| content.is_none() || n % 4 != skip)
                .map(|(_, entry)| entry),
        );
        starts(&left).await;
    }
    left.extend(whole);
    left.insert(
        "rest-sessions.draft".into(),
        (mode, Some(b"rest-sessions data, format 1\n"[..20].to_vec())),
    );
    let (folder, token) = starts(&left).await;
    // Now it has made a promise.
    let process = Process::start(folder.path(), &[]);
    assert!(process.app().get(&token).await.is_some());
}

#[tokio::test]
async fn kill_9_at_any_moment_of_the_first_start_is_no_harm() {
    for milliseconds in (0..60).step_by(6) {
        let folder = tempfile::tempdir().expect("a folder");
        let process = Process::spawn_unseen(Process::command(folder.path(), &[]), "");
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        process.kill();
        let process = Process::start(folder.path(), &[]);
        process.app().create("somebody").await;
    }
}
