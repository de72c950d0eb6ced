//! Tests of `check` on the embedded store when its files are damaged or may not be read.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{check, finds, folder, user_key, with_engine};
use crate::process::{Finished, Process, finish, program};

#[tokio::test]
async fn check_repairs_nothing_while_a_file_is_damaged() {
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
    // In the middle of the records, which no start reads.
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

/// Runs a check without the privileges by which root ignores the modes of files.
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

/// Adds `path`, and everything below it, to `all`.
fn tree(path: PathBuf, all: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(&path).expect("a folder") {
            tree(entry.expect("an entry").path(), all);
        }
    }
    all.push(path);
}

#[tokio::test]
async fn check_does_not_call_a_file_without_permission_damaged() {
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
        // Opening the engine may replace its files.
        let Ok(found) = fs::metadata(&path) else { continue };
        fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("the test owns the file");
        let mode = found.permissions();
        let found = check_without_privileges(folder.path(), &["--repair"]);
        if path.exists() {
            fs::set_permissions(&path, mode).expect("the test owns the file");
        }
        // The engine does not read every file.
        if found.code != Some(0) {
            assert!(found.refusal(2).contains("Permission denied"), "{path:?}: {found:?}");
            refused += 1;
        }
    }
    assert!(refused > 10, "only {refused} files without permission were refused");
    finds(&check(folder.path(), &[]), 0, &[], false);
    let process = Process::start(folder.path(), &[]);
    assert!(process.app().get(&tokens[0]).await.is_some());
    process.stop();
}
