//! Every shell command of a document is run by a test, or marked as not run.

use std::fs;

use super::document::{Document, root};

/// Other languages for shell commands, which would evade the marks.
const OTHER_SHELLS: [&str; 4] = ["bash", "console", "shell", "zsh"];

#[test]
fn every_shell_block_is_run_or_marked() {
    for document in Document::all() {
        for block in document.blocks() {
            let place = format!("{}: {}", document.path, block.content);
            assert!(
                !OTHER_SHELLS.contains(&block.language.as_str()),
                "write sh for a shell block: {place}"
            );
            if block.language != "sh" || block.mark.is_empty() || block.mark == "not-run" {
                continue;
            }
            let runner = block.mark.strip_prefix("run-by=");
            let runner = runner.unwrap_or_else(|| panic!("unknown mark {:?}: {place}", block.mark));
            let text =
                fs::read_to_string(root().join(runner)).unwrap_or_else(|cause| panic!("{runner}: {cause}: {place}"));
            let commands = block.content.lines().filter_map(|line| line.split_whitespace().next());
            let mut names = commands
                .chain([document.path.as_str()])
                .filter_map(|path| path.rsplit('/').next());
            assert!(
                names.any(|name| text.contains(name)),
                "{runner} names neither the document nor a program of {place}"
            );
        }
    }
}

#[test]
fn blocks_without_a_mark_are_in_documents_that_are_pasted() {
    for document in Document::all() {
        let pasted = document.path == "README.md" || document.path.starts_with("docs/");
        assert!(
            pasted || document.commands().is_empty(),
            "mark the commands of {}: only those of README.md and docs/ are pasted",
            document.path
        );
    }
}
