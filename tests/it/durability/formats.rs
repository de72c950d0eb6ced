//! Data of a newer version: a folder of its format is refused, and a record of its format is neither served, nor counted as
//! missing, nor repaired away.

use std::{fs, path::Path};

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use tempfile::TempDir;

use super::used_folder::tree;
use crate::{
    check::{check, finds},
    process::{Process, finish},
};

const UNAVAILABLE: (&str, &str) = ("storeUnavailable", "The session store is not available");

/// A data folder with two sessions of ann.
async fn folder() -> (TempDir, [String; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    let tokens = [app.create_with("ann", "", r#"{"a":1}"#).await, app.create("ann").await];
    process.stop();
    (folder, tokens)
}

/// Gives the record of a session another format.
fn set_format(folder: &Path, token: &str, format: u8) {
    let db = Database::builder(folder.join("data/fjall")).open().expect("an engine");
    let sessions = db
        .keyspace("sessions", KeyspaceCreateOptions::default)
        .expect("a keyspace");
    let key = format!("test-app\0{token}");
    let mut record = sessions.get(&key).expect("a disk").expect("a record").to_vec();
    record[0] = format;
    sessions.insert(key, record).expect("a disk");
    db.persist(PersistMode::SyncAll).expect("a disk");
}

#[tokio::test]
async fn a_folder_of_a_newer_format_is_refused_and_left_alone() {
    let (folder, tokens) = folder().await;
    let marker = folder.path().join("data/rest-sessions");
    let ours = fs::read(&marker).expect("a marker");
    for (text, number) in [
        ("rest-sessions data, format 3\n", "format 3"),
        ("rest-sessions data, format 3, opening\n", "format 3"),
        ("rest-sessions data, format 10, whatever comes\n", "format 10"),
    ] {
        fs::write(&marker, text).expect("a marker");
        let before = tree(folder.path());
        for (refused, code) in [
            (finish(Process::command(folder.path(), &[])), 1),
            (check(folder.path(), &[]), 2),
            (check(folder.path(), &["--repair"]), 2),
        ] {
            let line = refused.refusal(code);
            assert!(line.contains("newer version") && line.contains(number), "{line}");
            assert_eq!(tree(folder.path()), before, "{line}");
        }
    }
    fs::write(&marker, ours).expect("a marker");
    let process = Process::start(folder.path(), &[]);
    assert!(process.app().get(&tokens[0]).await.is_some());
    process.stop();
}

#[tokio::test]
async fn a_record_of_a_newer_format_is_unavailable_and_stays() {
    let (folder, tokens) = folder().await;
    set_format(folder.path(), &tokens[0], 3);
    let line = "record written by a newer version: app test-app, session ";
    for args in [&[][..], &["--repair"], &[]] {
        finds(&check(folder.path(), args), 1, &[line], false);
    }
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    let (name, message) = UNAVAILABLE;
    for (method, path) in [
        ("GET", format!("/test-app/get/{}", tokens[0])),
        ("POST", format!("/test-app/set/{}", tokens[0])),
        ("DELETE", format!("/test-app/kill/{}", tokens[0])),
        ("GET", "/test-app/soid/ann".to_owned()),
        ("GET", "/test-app/soapp?dt=3600".to_owned()),
    ] {
        let body = if method == "POST" { r#"{"a":2}"# } else { "" };
        process.ask(method, &path, body).await.refused(503, name, message);
    }
    // Other sessions are served as ever.
    assert!(app.get(&tokens[1]).await.is_some());
    // A removal of all removes what it can, and does not claim more.
    let killsoid = process.ask("DELETE", "/test-app/killsoid/ann", "").await;
    killsoid.refused(503, name, message);
    assert!(app.get(&tokens[1]).await.is_none());
    let log = process.log();
    assert_eq!(log.matches("written by a newer version").count(), 1, "{log}");
    assert!(!log.contains(&tokens[0]), "a token: {log}");
    process.stop();

    finds(&check(folder.path(), &["--repair"]), 1, &[line], false);
    // The version that knows the format finds the session as it was.
    set_format(folder.path(), &tokens[0], 1);
    finds(&check(folder.path(), &[]), 0, &[], false);
    let process = Process::start(folder.path(), &[]);
    let session = process.app().get(&tokens[0]).await.expect("a session");
    assert_eq!((session.r, session.w, session.d()), (1, 1, r#"{"a":1}"#));
    process.stop();
}
