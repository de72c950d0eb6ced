//! Tests of the ownership of a data folder: one process at a time holds it, a folder with other data is left alone, and
//! a first start that was interrupted can be repeated.

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;

use super::used_folder::{Tree, tree, write_tree};
use crate::process::{Process, finish};

/// The marker of a folder whose engine is being set up.
const NEW: &str = "rest-sessions data, format 1, new\n";

#[tokio::test]
async fn a_second_process_is_refused_and_the_first_continues() {
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
fn kill_9_releases_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..3 {
        Process::start(folder.path(), &[]).kill();
    }
}

/// Asserts that a start is refused after `make` has created the path `data`, and that it changes nothing.
fn assert_left_alone(make: impl FnOnce(&Path), data_dir: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    make(&folder.path().join("data"));
    let before = tree(folder.path());
    assert!(!before.is_empty(), "the test created nothing");
    let finished = finish(Process::command(folder.path(), &["--data-dir", data_dir]));
    let line = finished.refusal(1);
    assert!(line.contains(data_dir), "{line}");
    assert_eq!(tree(folder.path()), before, "{line}");
}

#[test]
fn the_program_leaves_a_folder_with_other_data_alone() {
    assert_left_alone(
        |data| {
            fs::create_dir(data).expect("a folder");
            fs::write(data.join("notes.txt"), "mine").expect("a file");
        },
        "data",
    );
    assert_left_alone(|data| fs::create_dir_all(data.join("empty")).expect("folders"), "data");
    assert_left_alone(
        |data| {
            fs::create_dir_all(data.join("fjall/keyspaces")).expect("folders");
            fs::write(data.join("fjall/version"), "FJL\u{3}").expect("a file");
            fs::write(data.join("lock"), "").expect("a file");
        },
        "data",
    );
    assert_left_alone(
        |data| fs::create_dir_all(data.join("rest-sessions")).expect("folders"),
        "data",
    );
}

#[test]
fn the_program_leaves_a_path_that_is_no_folder_alone() {
    assert_left_alone(|data| fs::write(data, "mine").expect("a file"), "data");
    assert_left_alone(|data| fs::write(data, "").expect("a file"), "data");
    assert_left_alone(|data| fs::write(data, "mine").expect("a file"), "data/below");
    assert_left_alone(
        |data| std::os::unix::fs::symlink("nowhere/at/all", data).expect("a link"),
        "data",
    );
}

/// Asserts that the program starts and serves in a data folder with the files of `left`.
async fn assert_starts(left: &Tree) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    write_tree(left, &folder.path().join("data"));
    let process = Process::start(folder.path(), &[]);
    let token = process.app().create("somebody").await;
    process.kill();
    (folder, token)
}

#[tokio::test]
async fn an_interrupted_first_start_can_be_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    Process::start(folder.path(), &[]).stop();
    // The second start truncates the 64 MB of preallocated zeros of the journal.
    Process::start(folder.path(), &[]).stop();
    let mut whole = tree(&folder.path().join("data"));
    let lock = whole.remove(Path::new("lock")).expect("a lock");
    let (mode, _) = whole.remove(Path::new("rest-sessions")).expect("a marker");

    let mut left = Tree::new();
    assert_starts(&left).await;
    left.insert("lock".into(), lock);
    assert_starts(&left).await;
    left.insert(
        "rest-sessions.draft".into(),
        (mode, Some(NEW.as_bytes()[..10].to_vec())),
    );
    assert_starts(&left).await;
    left.remove(Path::new("rest-sessions.draft"));
    left.insert("rest-sessions".into(), (mode, Some(NEW.as_bytes().to_vec())));
    assert_starts(&left).await;
    // An incomplete engine, each time without another quarter of its files; then all of it.
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
        assert_starts(&left).await;
    }
    left.extend(whole);
    left.insert(
        "rest-sessions.draft".into(),
        (mode, Some(b"rest-sessions data, format 1\n"[..20].to_vec())),
    );
    let (folder, token) = assert_starts(&left).await;
    // That start answered a create, so the session must be there.
    let process = Process::start(folder.path(), &[]);
    assert!(process.app().get(&token).await.is_some());
}

#[tokio::test]
async fn kill_9_during_the_first_start_does_no_harm() {
    for milliseconds in (0..60).step_by(6) {
        let folder = tempfile::tempdir().expect("a folder");
        let process = Process::spawn_unseen(Process::command(folder.path(), &[]), "");
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        process.kill();
        let process = Process::start(folder.path(), &[]);
        process.app().create("somebody").await;
    }
}
