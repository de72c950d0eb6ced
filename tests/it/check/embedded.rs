//! Each kind of disagreement in a data folder, made by hand with the engine itself.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use tempfile::TempDir;

use super::{check, finds};
use crate::{
    process::{Finished, Process, finish, program},
    support::eventually,
};

/// A folder with two sessions of ann and one of ben, their tokens in this order.
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

/// Opens the engine of a folder as the service does, and nothing else of it.
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
        .expect("it is there")
}

/// What `change` does is found as `lines`, mended, and gone; what was not touched is still there.
async fn mends(change: impl FnOnce(&Keyspace, &Keyspace, &Keyspace, &[String; 3]), lines: &[&str], left: usize) {
    let (folder, tokens) = folder().await;
    with_engine(folder.path(), |sessions, users, activity| {
        change(sessions, users, activity, &tokens);
    });
    let found = check(folder.path(), &[]);
    finds(&found, 1, lines, false);
    for token in &tokens {
        assert!(!found.stdout.contains(token.as_str()), "a token: {found:?}");
    }
    // Looking has changed nothing.
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
async fn a_good_folder_is_found_good() {
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
async fn entries_without_a_session_are_found() {
    mends(
        |sessions, users, activity, tokens| {
            // The session is gone, both entries are there.
            sessions.remove(key_ending_with(sessions, &tokens[0])).expect("a disk");
            // An entry of another id and one of a token that never was.
            users.insert(user_key("carl", &tokens[2]), []).expect("a disk");
            users.insert(user_key("ann", &"x".repeat(64)), []).expect("a disk");
            // An entry at another second.
            let mut entry = key_ending_with(activity, &tokens[2]);
            let value = activity.get(&entry).expect("a disk").expect("it is there");
            entry["test-app\0".len()] ^= 1;
            activity.insert(entry, value).expect("a disk");
            // Activity that has outlived the last session of its id.
            activity
                .insert("test-app\x01dora", 5_u64.to_be_bytes())
                .expect("a disk");
            // Entries that are unreadable.
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
async fn missing_and_wrong_entries_are_found() {
    mends(
        |_, users, activity, tokens| {
            users.remove(user_key("ann", &tokens[0])).expect("a disk");
            activity.remove(key_ending_with(activity, &tokens[1])).expect("a disk");
            let entry = key_ending_with(activity, &tokens[2]);
            let mut value = activity.get(&entry).expect("a disk").expect("it is there").to_vec();
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
async fn unreadable_records_are_found_and_removed() {
    mends(
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
async fn expired_sessions_are_counted_and_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    app.create_with("ann", "ttl=10", "").await;
    app.create("ben").await;
    process.stop();
    eventually("one has expired", async || {
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
async fn what_cannot_be_checked_is_told_in_one_line() {
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

#[tokio::test]
async fn damaged_files_are_found_and_stop_repairs() {
    let (folder, tokens) = folder().await;
    with_engine(folder.path(), |sessions, users, _| {
        sessions.rotate_memtable_and_wait().expect("a table");
        users.insert(user_key("ann", &"x".repeat(64)), []).expect("a disk");
    });
    finds(
        &check(folder.path(), &[]),
        1,
        &[r#"entry of the index of ids without a session: app test-app, id "ann""#],
        false,
    );
    let tables = folder.path().join("data/fjall/keyspaces/1/tables");
    let table = fs::read_dir(tables)
        .expect("tables")
        .next()
        .expect("a table")
        .expect("an entry")
        .path();
    let good = fs::read(&table).expect("a file");
    let mut bad = good.clone();
    // Amid the records, which no start reads.
    bad[200] ^= 1;
    fs::write(&table, bad).expect("a file");
    let found = check(folder.path(), &["--repair"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(
        found.stdout.contains("damaged table: ") && !found.stdout.contains(": mended"),
        "{found:?}"
    );
    fs::write(&table, good).expect("a file");
    finds(
        &check(folder.path(), &["--repair"]),
        0,
        &[r#"entry of the index of ids without a session: app test-app, id "ann""#],
        true,
    );
    let process = Process::start(folder.path(), &[]);
    assert!(process.app().get(&tokens[2]).await.is_some());
    process.stop();
}

/// A check by somebody who has no more rights than the modes of files say, as root has.
fn check_without_privileges(folder: &Path, args: &[&str]) -> Finished {
    let mut command = Command::new("setpriv");
    command
        .arg("--bounding-set=-dac_override,-dac_read_search")
        .arg(program(folder, &[]).get_program())
        .arg("check")
        .args(args)
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(command)
}

/// Everything in a folder, and the folder.
fn tree(path: PathBuf, all: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(&path).expect("a folder") {
            tree(entry.expect("an entry").path(), all);
        }
    }
    all.push(path);
}

#[tokio::test]
async fn what_may_not_be_read_is_not_called_damaged() {
    let (folder, tokens) = folder().await;
    with_engine(folder.path(), |sessions, users, activity| {
        for keyspace in [sessions, users, activity] {
            keyspace.rotate_memtable_and_wait().expect("a table");
        }
    });
    finds(&check_without_privileges(folder.path(), &[]), 0, &[], false);
    let mut all = Vec::new();
    tree(folder.path().join("data"), &mut all);
    let mut refused = 0;
    for path in all {
        // An opening may replace files of the engine.
        let Ok(found) = fs::metadata(&path) else { continue };
        fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("it is ours");
        let mode = found.permissions();
        let found = check_without_privileges(folder.path(), &["--repair"]);
        if path.exists() {
            fs::set_permissions(&path, mode).expect("it is ours");
        }
        // Some files the engine does not look at.
        if found.code != Some(0) {
            assert!(found.refusal(2).contains("Permission denied"), "{path:?}: {found:?}");
            refused += 1;
        }
    }
    assert!(refused > 10, "only {refused} were refused");
    finds(&check(folder.path(), &[]), 0, &[], false);
    let process = Process::start(folder.path(), &[]);
    assert!(process.app().get(&tokens[0]).await.is_some());
    process.stop();
}
