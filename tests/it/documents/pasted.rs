//! Pastes the shell blocks of the documents, each beside a fresh service.

use rest_sessions::http::router;

use super::{
    document::{ADDRESS, Document},
    paste::{paste, require_programs},
};
use crate::{
    process::Process,
    support::{Store, for_every_store},
};

/// The documents whose commands show the answers of the service.
const ON_EVERY_STORE: [&str; 2] = ["README.md", "docs/http-api.md"];

for_every_store![the_readme_and_the_api_show_the_real_answers];

/// Starts the service on an empty store.
pub(super) fn start(store: Store, folder: &std::path::Path) -> Process {
    let mut command = Process::command(folder, &["--timeout", "10"]);
    command.envs(store.variables());
    Process::spawn(command)
}

async fn the_readme_and_the_api_show_the_real_answers(store: Store) {
    require_programs(&["curl"]);
    for path in ON_EVERY_STORE {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = start(store, folder.path());
        let commands = Document::open(path).commands();
        assert!(!commands.is_empty(), "{path}");
        paste(&commands, folder.path(), process.address());
    }
}

#[tokio::test]
async fn the_other_documents_show_the_real_output() {
    require_programs(&["curl"]);
    for document in Document::in_docs() {
        let commands = document.commands();
        if commands.is_empty() || ON_EVERY_STORE.contains(&document.path.as_str()) {
            continue;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = start(Store::Embedded, folder.path());
        paste(&commands, folder.path(), process.address());
    }
}

/// The paths that commands ask, in parts.
fn paths(commands: &str) -> Vec<Vec<&str>> {
    let asked = commands.split(ADDRESS).skip(1);
    asked
        .filter_map(|rest| {
            let path = &rest[..rest.find(['?', '\'', '"', ' ', '\n']).unwrap_or(rest.len())];
            path.strip_prefix('/').map(|path| path.split('/').collect())
        })
        .collect()
}

#[test]
fn the_commands_of_the_api_cover_every_route() {
    let commands = Document::open("docs/http-api.md").commands();
    let paths = paths(&commands);
    for route in router::paths() {
        let route: Vec<_> = route[1..].split('/').collect();
        let covered = paths.iter().any(|path| {
            let fits = |(part, pattern): (&&str, &&str)| pattern.starts_with('{') || part == pattern;
            path.len() == route.len() && path.iter().zip(&route).all(fits)
        });
        assert!(covered, "no command for {route:?}");
    }
}
