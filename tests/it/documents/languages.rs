//! The example programs in docs/python.md, docs/php.md, docs/java.md and docs/node.md, run as docs/http-api.md shows.

use std::{fs, path::Path, process::Output};

use super::{
    document::{ADDRESS, Document, blocks},
    paste::{PATIENCE, clean_command, paste, require_programs},
    pasted::start,
};
use crate::{
    process::{Process, free_port},
    support::{NO_TOKEN, Store, for_every_store},
};

for_every_store![four_languages_share_one_session];

/// The documents with a program, and the language of its block.
const SOURCES: [(&str, &str); 4] = [
    ("docs/python.md", "python"),
    ("docs/php.md", "php"),
    ("docs/java.md", "java"),
    ("docs/node.md", "js"),
];
const PROGRAMS: [&str; 4] = ["python3 login.py", "php cart.php", "java Page.java", "node logout.mjs"];

fn tools() -> [&'static str; 4] {
    PROGRAMS.map(|program| program.split(' ').next().unwrap_or_default())
}

/// Writes the first program of each document to the file that its first line names.
fn unpack(folder: &Path, address: &str) {
    for (path, language) in SOURCES {
        let blocks = Document::open(path).blocks();
        let block = blocks.into_iter().find(|block| block.language == language);
        let code = block.unwrap_or_else(|| panic!("{path} has no program")).content;
        let first = code.lines().next().unwrap_or_default();
        let name = first.split([' ', ':']).find(|word| word.contains('.'));
        let name = name.unwrap_or_else(|| panic!("no file name in {first:?}"));
        assert!(code.contains(ADDRESS), "{name} names another address");
        fs::write(folder.join(name), code.replace(ADDRESS, address)).expect("a writable folder");
    }
}

async fn four_languages_share_one_session(store: Store) {
    require_programs(&tools());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = start(store, folder.path());
    unpack(folder.path(), process.address());
    let document = Document::open("docs/http-api.md");
    let blocks = blocks(document.section("One session in four languages"));
    assert_eq!(blocks.len(), 1);
    for program in PROGRAMS {
        assert!(blocks[0].content.contains(program), "{program}");
    }
    paste(&blocks[0].content, folder.path(), process.address());
}

fn run(program: &str, token: &str, folder: &Path) -> Output {
    let words = program.split(' ').chain([token]);
    let output = clean_command("timeout")
        .arg(PATIENCE)
        .args(words)
        .current_dir(folder)
        .output();
    output.expect("timeout is installed")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is text")
}

#[tokio::test]
async fn every_language_reports_a_missing_session() {
    require_programs(&tools());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = start(Store::Embedded, folder.path());
    unpack(folder.path(), process.address());
    for program in &PROGRAMS[1..] {
        let output = run(program, NO_TOKEN, folder.path());
        assert!(output.status.success(), "{program}: {output:?}");
        assert_eq!(text(&output.stdout), "no session: log in\n", "{program}: {output:?}");
    }
}

#[tokio::test]
async fn every_language_fails_during_an_outage() {
    require_programs(&tools());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = format!("redis://127.0.0.1:{}", free_port());
    let process = Process::start(folder.path(), &["--timeout", "0.5", "--redis-url", &redis]);
    unpack(folder.path(), process.address());
    for program in PROGRAMS {
        let output = run(program, NO_TOKEN, folder.path());
        assert!(!output.status.success(), "{program}: {output:?}");
        let printed = format!("{}{}", text(&output.stdout), text(&output.stderr));
        // The status shows that the program failed because of the outage.
        assert!(printed.contains("503"), "{program}: {output:?}");
        assert!(!printed.contains("no session"), "{program}: {output:?}");
    }
}

#[tokio::test]
async fn a_path_in_a_cookie_reaches_no_other_route() {
    require_programs(&tools());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = start(Store::Embedded, folder.path());
    unpack(folder.path(), process.address());
    let token = process.app().create("ann").await;
    for program in &PROGRAMS[1..] {
        let output = run(program, "../../test-app/killsoid/ann", folder.path());
        assert!(!output.status.success(), "{program}: {output:?}");
    }
    assert!(
        process.app().get(&token).await.is_some(),
        "a program killed the session"
    );
}

/// The first block of a document in this language that contains `needle`.
fn block_with(path: &str, language: &str, needle: &str) -> String {
    let blocks = Document::open(path).blocks();
    let mut found = blocks.into_iter().filter(|block| block.language == language);
    let block = found.find(|block| block.content.contains(needle));
    block
        .unwrap_or_else(|| panic!("{path} has no block with {needle}"))
        .content
}

#[tokio::test]
async fn the_programs_for_a_unix_socket_reach_the_service() {
    require_programs(&["python3", "php", "node"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &["--socket", "http.sock"]);
    let created = process.ask("PUT", "/shop/create/ann?ip=203.0.113.7", "").await.body;
    let token = created.split('"').nth(3).expect("a token").to_owned();
    let programs = [
        ("python3", "unix.py", block_with("docs/python.md", "python", "AF_UNIX")),
        ("node", "unix.mjs", block_with("docs/node.md", "js", "socketPath")),
        (
            "php",
            "unix.php",
            format!(
                "<?php $token = '{token}';\n{}\necho $session['id'];",
                block_with("docs/php.md", "php", "CURLOPT_UNIX_SOCKET_PATH")
            ),
        ),
    ];
    let socket = folder.path().join("http.sock");
    for (program, file, code) in programs {
        let code = code.replace("/run/rest-sessions/http.sock", &socket.display().to_string());
        fs::write(folder.path().join(file), code).expect("a writable folder");
        let output = run(program, file, folder.path());
        assert!(output.status.success(), "{program}: {output:?}");
        let expected = if program == "php" { "ann" } else { r#"{"activity":1}"# };
        assert!(text(&output.stdout).contains(expected), "{program}: {output:?}");
    }
}
