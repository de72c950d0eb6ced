//! The README's walk through every route with curl.

use rest_sessions::http::router;

use super::{
    console::{commands, replay, require_programs},
    document::{ADDRESS, block, section},
};
use crate::{
    process::Process,
    support::{Store, for_every_store},
};

for_every_store![the_walk_prints_the_documented_output];

fn walk() -> String {
    block(section("Every route, with curl"), "console")
}

/// Starts the service on an empty store.
pub(super) fn start(store: Store, folder: &std::path::Path) -> Process {
    let mut command = Process::command(folder, &["--timeout", "10"]);
    command.envs(store.variables());
    Process::spawn(command)
}

async fn the_walk_prints_the_documented_output(store: Store) {
    require_programs(&["curl"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = start(store, folder.path());
    replay(&walk(), folder.path(), process.address());
}

#[test]
fn the_walk_covers_every_route() {
    let commands = commands(&walk());
    let paths: Vec<Vec<&str>> = commands
        .iter()
        .filter_map(|command| {
            let (_, path) = command.split_once(ADDRESS)?;
            let end = path.find(['?', '\'', '"', ' ']).unwrap_or(path.len());
            Some(path[1..end].split('/').collect())
        })
        .collect();
    for route in router::paths() {
        let route: Vec<_> = route[1..].split('/').collect();
        let covered = paths.iter().any(|path| {
            let fits = |(part, pattern): (&&str, &&str)| pattern.starts_with('{') || part == pattern;
            path.len() == route.len() && path.iter().zip(&route).all(fits)
        });
        assert!(covered, "no command for {route:?}");
    }
}
