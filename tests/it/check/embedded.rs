//! Tests of `check` on the embedded store: each kind of disagreement is made by hand, with the engine itself.

mod files;

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use tempfile::TempDir;

use super::{check, finds};
use crate::{process::Process, support::eventually};

/// A folder with two sessions of `ann` and one of `ben: x`, and their tokens in this order.
async fn folder() -> (TempDir, [String; 3]) {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    let tokens = [
        app.create_with("ann", "", r#"{"a":1}"#).await,
        app.create("ann").await,
        app.create("ben: x").await,
    ];
    process.stop();
    (folder, tokens)
}

/// Opens the engine of a data folder without the service, and applies `change` to its keyspaces.
fn with_engine(folder: &Path, change: impl FnOnce(&Keyspace, &Keyspace, &Keyspace)) {
    let db = Database::builder(folder.join("data/fjall")).open().expect("an engine");
    let keyspace = |name| db.keyspace(name, KeyspaceCreateOptions::default).expect("a keyspace");
    change(&keyspace("sessions"), &keyspace("users"), &keyspace("activity"));
    db.persist(fjall::PersistMode::SyncAll).expect("a disk");
}

fn user_key(id: &str, token: &str) -> Vec<u8> {
    format!("test-app\0{id}\0{token}").into_bytes()
}

fn key_ending_with(keyspace: &Keyspace, token: &str) -> Vec<u8> {
    let keys = keyspace.iter().map(|entry| entry.key().expect("a key").to_vec());
    keys.filter(|key| key.ends_with(token.as_bytes()))
        .last()
        .expect("an entry")
}

/// Asserts that a check finds what `change` did as `lines`, repairs it and finds nothing afterwards, and that `left`
/// sessions remain.
async fn assert_repairs(
    change: impl FnOnce(&Keyspace, &Keyspace, &Keyspace, &[String; 3]),
    lines: &[&str],
    left: usize,
) {
    let (folder, tokens) = folder().await;
    with_engine(folder.path(), |sessions, users, activity| {
        change(sessions, users, activity, &tokens);
    });
    let found = check(folder.path(), &[]);
    finds(&found, 1, lines, false);
    for token in &tokens {
        assert!(
            !found.stdout.contains(token.as_str()),
            "the output contains a token: {found:?}"
        );
    }
    // A check without `--repair` changes nothing.
    finds(&check(folder.path(), &[]), 1, lines, false);
    finds(&check(folder.path(), &["--repair"]), 0, lines, true);
    finds(&check(folder.path(), &[]), 0, &[], false);
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    assert_eq!(app.soapp(7200).await.len(), left);
    assert_eq!(app.soid("ann").await.len() + app.soid("ben: x").await.len(), left);
    assert_eq!(app.killall().await, left as u64);
    process.stop();
}

#[tokio::test]
async fn check_finds_nothing_in_a_consistent_folder() {
    let (folder, _) = folder().await;
    let found = check(folder.path(), &[]);
    assert_eq!(
        found.stdout,
        "3 sessions of 2 ids in 1 apps, 0 of them expired; 0 disagreements, 0 of them mended\n"
    );
    finds(&found, 0, &[], false);
    finds(&check(folder.path(), &["--repair"]), 0, &[], false);
}

#[tokio::test]
async fn check_finds_entries_without_a_session() {
    assert_repairs(
        |sessions, users, activity, tokens| {
            // The record of a session is missing, both index entries exist.
            sessions.remove(key_ending_with(sessions, &tokens[0])).expect("a disk");
            // An entry with another id, and one with a token that never existed.
            users.insert(user_key("carl", &tokens[2]), []).expect("a disk");
            users.insert(user_key("ann", &"x".repeat(64)), []).expect("a disk");
            // An entry with another second.
            let mut entry = key_ending_with(activity, &tokens[2]);
            let value = activity.get(&entry).expect("a disk").expect("an entry");
            entry["test-app\0".len()] ^= 1;
            activity.insert(entry, value).expect("a disk");
            // Activity that has outlived the last session of its id.
            activity
                .insert("test-app\x01dora", 5_u64.to_be_bytes())
                .expect("a disk");
            // Entries that do not parse.
            users.insert("what?", []).expect("a disk");
            activity.insert("what?", "is this?").expect("a disk");
        },
        &[
            r#"entry of the index of ids without a session: app test-app, id "ann", session "#,
            r#"entry of the index of activity without a session: app test-app, id "ann", session "#,
            r#"entry of the index of ids without a session: app test-app, id "carl", session "#,
            r#"entry of the index of ids without a session: app test-app, id "ann", session "#,
            r#"entry of the index of activity without a session: app test-app, id "ben: x", session "#,
            "unreadable entry of the index of ids: ",
            r#"activity of an id without a session: app test-app, id "dora""#,
            "unreadable entry of the index of activity: ",
        ],
        2,
    )
    .await;
}

#[tokio::test]
async fn check_finds_missing_and_wrong_entries() {
    assert_repairs(
        |_, users, activity, tokens| {
            users.remove(user_key("ann", &tokens[0])).expect("a disk");
            activity.remove(key_ending_with(activity, &tokens[1])).expect("a disk");
            let entry = key_ending_with(activity, &tokens[2]);
            let mut value = activity.get(&entry).expect("a disk").expect("an entry").to_vec();
            // The last letter of the id.
            *value.last_mut().expect("an id") = b'y';
            activity.insert(entry, value).expect("a disk");
        },
        &[
            r#"session missing from the index of ids: app test-app, id "ann", session "#,
            r#"session missing from the index of activity: app test-app, id "ann", session "#,
            r#"wrong entry of the index of activity: app test-app, id "ben: x", session "#,
        ],
        3,
    )
    .await;
}

#[tokio::test]
async fn check_finds_and_removes_unreadable_records() {
    assert_repairs(
        |sessions, _, _, tokens| {
            sessions
                .insert(key_ending_with(sessions, &tokens[0]), "\x01what?")
                .expect("a disk");
            sessions.insert("no/app\0what?", "what?").expect("a disk");
        },
        &[
            "unreadable record: app test-app, session ",
            "record under an invalid key: ",
            r#"entry of the index of ids without a session: app test-app, id "ann", session "#,
            r#"entry of the index of activity without a session: app test-app, id "ann", session "#,
        ],
        2,
    )
    .await;
}

#[tokio::test]
async fn check_counts_expired_sessions_and_keeps_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    app.create_with("ann", "ttl=10", "").await;
    app.create("ben").await;
    process.stop();
    eventually("one session has expired", async || {
        check(folder.path(), &[]).stdout.contains(" 1 of them expired")
    })
    .await;
    for args in [&[][..], &["--repair"]] {
        let found = check(folder.path(), args);
        finds(&found, 0, &[], false);
        assert!(
            found
                .stdout
                .starts_with("2 sessions of 2 ids in 1 apps, 1 of them expired; "),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn check_refuses_a_folder_that_is_in_use_or_missing() {
    let (folder, tokens) = folder().await;
    let process = Process::start(folder.path(), &[]);
    let found = check(folder.path(), &["--repair"]);
    assert!(found.refusal(2).contains("another process uses"), "{found:?}");
    assert!(process.app().get(&tokens[0]).await.is_some());
    process.stop();
    let found = check(folder.path(), &["--data-dir", "nowhere"]);
    assert!(found.refusal(2).contains("nowhere is no data folder"), "{found:?}");
    assert!(!folder.path().join("nowhere").exists());
    check(folder.path(), &["--mend"]).refusal(2);
}
