//! Every relative link of a document leads to a file, and to a heading in it; every test that a document names exists.

use super::document::{Document, anchor, root};

#[test]
fn every_relative_link_leads_somewhere() {
    let mut checked = 0;
    for document in Document::all() {
        let folder = root().join(&document.path);
        let folder = folder.parent().expect("a document is in a folder");
        for link in document.links().iter().filter(|link| !link.contains("://")) {
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                root().join(&document.path)
            } else {
                folder.join(path)
            };
            assert!(target.exists(), "{}: {link} leads nowhere", document.path);
            if !fragment.is_empty() {
                let target = target.canonicalize().expect("an existing file");
                let path = target.strip_prefix(root()).expect("a file of the project");
                let target = Document::open(path.to_str().expect("a path in UTF-8"));
                let headings = (1..=4).flat_map(|level| target.headings(level));
                assert!(
                    headings.map(|heading| anchor(&heading)).any(|found| found == fragment),
                    "{}: {link} names no heading",
                    document.path
                );
            }
            checked += 1;
        }
    }
    assert!(checked >= 60, "only {checked} links");
}

#[test]
fn every_test_file_that_a_document_names_exists() {
    let mut checked = 0;
    for document in Document::all() {
        for path in document.text.split('`').filter(|code| code.starts_with("tests/")) {
            let path = path.split_whitespace().next().unwrap_or_default();
            if path.contains('*') {
                continue;
            }
            assert!(root().join(path).exists(), "{}: {path}", document.path);
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} paths");
}
