//! The programs in four languages, as they stand in the README.

use std::{fs, path::Path, process::Output};

use super::{
    console::{PATIENCE, need, quiet, replay},
    document::{ADDRESS, block, blocks, section},
    walk::start,
};
use crate::{
    process::{Process, free_port},
    support::{NO_TOKEN, Store, for_every_store},
};

for_every_store![one_session_goes_through_four_languages];

const HEADING: &str = "One session, four languages";
const PROGRAMS: [&str; 4] = ["python3 login.py", "php cart.php", "java Page.java", "node logout.mjs"];

fn tools() -> [&'static str; 4] {
    PROGRAMS.map(|program| program.split(' ').next().unwrap_or_default())
}

/// Writes each program to the file that its first line names.
fn unpack(folder: &Path, address: &str) {
    for (language, code) in blocks(section(HEADING)) {
        if language == "console" {
            continue;
        }
        let first = code.lines().next().unwrap_or_default();
        let name = first.split([' ', ':']).find(|word| word.contains('.'));
        let name = name.unwrap_or_else(|| panic!("no file name in {first:?}"));
        assert!(code.contains(ADDRESS), "{name} names another address");
        fs::write(folder.join(name), code.replace(ADDRESS, address)).expect("a writable folder");
    }
}

async fn one_session_goes_through_four_languages(store: Store) {
    need(&tools());
    let folder = tempfile::tempdir().expect("a folder");
    let process = start(store, folder.path());
    unpack(folder.path(), process.address());
    replay(&block(section(HEADING), "console"), folder.path(), process.address());
}

fn run(program: &str, token: &str, folder: &Path) -> Output {
    let words = program.split(' ').chain([token]);
    let output = quiet("timeout").arg(PATIENCE).args(words).current_dir(folder).output();
    output.expect("timeout is there")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is text")
}

#[tokio::test]
async fn a_missing_session_is_no_session_in_every_language() {
    need(&tools());
    let folder = tempfile::tempdir().expect("a folder");
    let process = start(Store::Embedded, folder.path());
    unpack(folder.path(), process.address());
    for program in &PROGRAMS[1..] {
        let output = run(program, NO_TOKEN, folder.path());
        assert!(output.status.success(), "{program}: {output:?}");
        assert_eq!(text(&output.stdout), "no session: log in\n", "{program}: {output:?}");
    }
}

#[tokio::test]
async fn an_outage_is_a_failure_in_every_language() {
    need(&tools());
    let folder = tempfile::tempdir().expect("a folder");
    let redis = format!("redis://127.0.0.1:{}", free_port());
    let process = Process::start(folder.path(), &["--timeout", "0.5", "--redis-url", &redis]);
    unpack(folder.path(), process.address());
    for program in PROGRAMS {
        let output = run(program, NO_TOKEN, folder.path());
        assert!(!output.status.success(), "{program}: {output:?}");
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        // Each says so itself, so it is this outage that ended it.
        assert!(said.contains("503"), "{program}: {output:?}");
        assert!(!said.contains("no session"), "{program}: {output:?}");
    }
}

#[tokio::test]
async fn a_cookie_cannot_leave_its_route() {
    need(&tools());
    let folder = tempfile::tempdir().expect("a folder");
    let process = start(Store::Embedded, folder.path());
    unpack(folder.path(), process.address());
    let token = process.app().create("ann").await;
    for program in &PROGRAMS[1..] {
        let output = run(program, "../../test-app/killsoid/ann", folder.path());
        assert!(!output.status.success(), "{program}: {output:?}");
    }
    assert!(process.app().get(&token).await.is_some(), "somebody has killed it");
}
