//! The length of the README, and the contents at the top of each document in `docs/`.

use super::document::{Document, anchor};

#[test]
fn the_readme_has_at_most_150_lines() {
    let lines = Document::open("README.md").text.lines().count();
    assert!(lines <= 150, "{lines} lines");
}

#[test]
fn every_document_begins_with_contents_that_match_its_headings() {
    for document in Document::in_docs() {
        let (top, _) = document
            .text
            .split_once("\n## ")
            .unwrap_or_else(|| panic!("{} has no sections", document.path));
        let expected: Vec<_> = document
            .headings(2)
            .iter()
            .map(|heading| format!("[{heading}](#{})", anchor(heading)))
            .collect();
        let contents = format!("Contents: {}", expected.join(" · "));
        let found = top.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            found.ends_with(&contents),
            "{} must have these contents above its first section:\n{contents}",
            document.path
        );
    }
}

#[test]
fn the_readme_links_every_document() {
    let links = Document::open("README.md").links();
    for document in Document::in_docs() {
        assert!(
            links.contains(&document.path),
            "README.md has no link to {}",
            document.path
        );
    }
}
