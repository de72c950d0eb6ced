//! Single statements of the documents that no other test checks.

use super::document::{Document, blocks, root};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

#[test]
fn the_scripts_that_the_readme_starts_exist() {
    let readme = Document::open("README.md");
    let blocks = blocks(readme.section("Start"));
    let commands = blocks.first().expect("a block of commands").content.clone();
    let lines: Vec<_> = commands
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(lines.contains(&"cargo"), "{lines:?}");
    for path in lines.into_iter().filter(|word| word.contains('/')) {
        assert!(root().join(path).is_file(), "{path} does not exist");
    }
}

#[test]
fn the_readme_names_the_required_rust_version() {
    let readme = Document::open("README.md");
    let text = readme.section("Start").split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
    assert!(text.contains(&expected), "{expected}");
}

#[test]
fn the_sidecar_commands_are_those_of_the_compose_file() {
    let compose = read("docker-compose.yml");
    let blocks = Document::open("README.md").blocks();
    let block = blocks.iter().find(|block| block.content.contains("docker compose up"));
    let lines = &block.expect("a block with the commands").content;
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        assert!(compose.contains(line), "{line}");
    }
}

#[test]
fn the_changelog_names_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("CHANGELOG.md").contains(version), "{version}");
}

#[test]
fn the_worked_example_names_at_most_nine_files() {
    let contributing = Document::open("CONTRIBUTING.md");
    let steps = contributing.section("A new word, from route to both stores");
    let numbered = steps
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let files: Vec<_> = numbered.map(|line| line.split('`').nth(1).expect("a file")).collect();
    assert!((5..=9).contains(&files.len()), "{files:?}");
    assert!(
        files.contains(&"src/http/router.rs") && files.contains(&"openapi.yaml"),
        "{files:?}"
    );
}
