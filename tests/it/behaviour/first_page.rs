//! The memory that the first page of a soapp takes in the embedded store, when many sessions have come within seconds. The
//! index has only a rough order for those, so the page looks at all of them.

use std::fs;

use crate::{process::Process, support::side_by_side};

const SESSIONS: usize = 10_000;
/// Clients that ask for the page at the same time.
const CLIENTS: usize = 8;
/// Sessions in the page.
const PAGE: usize = 100;
/// Bytes of a position in the order of a list.
const POSITION: usize = 71;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_page_of_many_new_sessions_takes_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &["--cache-size", "1", "--timeout", "60"]);
    let app = process.app();
    let creates = (0..SESSIONS).map(|n| {
        let app = app.clone();
        async move { app.create(&format!("user-{n}")).await }
    });
    side_by_side(64, creates).await;
    // Warms up: threads and connections for so many clients, but no window.
    let lists = (0..CLIENTS).map(|_| {
        let app = app.clone();
        async move { app.soid("user-0").await }
    });
    side_by_side(CLIENTS, lists).await;
    let before = process.memory();
    reset_peak(&process);
    let pages = (0..CLIENTS).map(|_| {
        let app = app.clone();
        async move { app.page(3600, Some(PAGE), None).await }
    });
    for (page, cursor) in side_by_side(CLIENTS, pages).await {
        assert_eq!(page.len(), PAGE);
        assert!(cursor.is_some());
        assert!(page.iter().map(|session| session.idle).is_sorted());
    }
    let held = peak(&process).saturating_sub(before);
    let all = (CLIENTS * SESSIONS * POSITION / 1024) as u64;
    assert!(
        held < all / 2,
        "{held} KiB more for {CLIENTS} pages, {before} KiB before"
    );
    process.stop();
}

/// The most memory that the process had in use since [`reset_peak`], in KiB.
fn peak(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let value = line.expect("a line").trim().trim_end_matches(" kB");
    value.parse().expect("a number")
}

fn reset_peak(process: &Process) {
    fs::write(format!("/proc/{}/clear_refs", process.id()), "5").expect("Linux does");
}
