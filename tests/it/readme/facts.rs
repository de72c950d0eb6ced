//! Single statements of the README that no other test checks.

use super::document::{README, block, blocks, root, section};

#[test]
fn every_link_names_an_existing_file() {
    let links: Vec<_> = README
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://"))
        .collect();
    assert!(links.len() >= 5, "{links:?}");
    let commands = block(section("Start"), "sh");
    let scripts = commands.lines().filter(|line| !line.starts_with("cargo "));
    for path in links.into_iter().chain(scripts) {
        assert!(root().join(path).is_file(), "{path} does not exist");
    }
}

#[test]
fn every_console_block_is_replayed() {
    let consoles = blocks(README)
        .iter()
        .filter(|(language, _)| *language == "console")
        .count();
    assert_eq!(consoles, 2, "a new console block needs a test that replays it");
}

#[test]
fn the_readme_names_the_required_rust_version() {
    let text = section("Start").split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
    assert!(text.contains(&expected), "{expected}");
}

#[test]
fn the_sidecar_commands_are_those_of_the_compose_file() {
    let compose = std::fs::read_to_string(root().join("docker-compose.yml")).expect("a readable file");
    let (_, lines) = blocks(section("Redis")).pop().expect("a block");
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        assert!(compose.contains(line), "{line}");
    }
}

#[test]
fn the_changelog_names_this_version() {
    let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).expect("a readable file");
    assert!(
        changelog.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        env!("CARGO_PKG_VERSION")
    );
}
