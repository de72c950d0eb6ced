//! Every relative link of a document leads to a file, and to a heading in it.

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
