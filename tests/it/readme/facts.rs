//! Single statements that no other test holds.

use super::document::{README, block, blocks, root, section};

#[test]
fn every_link_leads_to_a_file() {
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
        assert!(root().join(path).is_file(), "{path} is not there");
    }
}

#[test]
fn every_console_is_replayed() {
    let consoles = blocks(README)
        .iter()
        .filter(|(language, _)| *language == "console")
        .count();
    assert_eq!(consoles, 2, "a block of commands that no test runs");
}

#[test]
fn rust_has_to_be_as_new_as_cargo_says() {
    let text = section("Start").split_whitespace().collect::<Vec<_>>().join(" ");
    let said = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
    assert!(text.contains(&said), "{said}");
}

#[test]
fn the_sidecar_starts_as_its_file_says() {
    let compose = std::fs::read_to_string(root().join("docker-compose.yml")).expect("the file is there");
    let (_, lines) = blocks(section("Redis")).pop().expect("a block");
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        assert!(compose.contains(line), "{line}");
    }
}

#[test]
fn the_changelog_has_this_version() {
    let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).expect("the file is there");
    assert!(
        changelog.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        env!("CARGO_PKG_VERSION")
    );
}
