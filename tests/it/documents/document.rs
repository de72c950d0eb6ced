//! Reads the documents: headings, sections, code blocks, tables and links.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The address that the documents' commands and programs name.
pub(super) const ADDRESS: &str = "127.0.0.1:3000";

/// Folders with text of others.
const SKIPPED: [&str; 4] = ["target", "node_modules", ".tools", ".git"];

/// The root of the project.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Markdown document of the project.
pub(super) struct Document {
    /// Its path from the root, with `/` between the parts.
    pub(super) path: String,
    pub(super) text: String,
}

/// A fenced code block.
pub(super) struct Block {
    /// The first word after the fence, empty if there is none.
    pub(super) language: String,
    /// The rest of that line.
    pub(super) mark: String,
    pub(super) content: String,
}

impl Document {
    /// The document at a path from the root.
    pub(super) fn open(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"));
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// Every document of the project.
    pub(super) fn all() -> Vec<Self> {
        let mut paths = Vec::new();
        collect(root(), &mut paths);
        paths.sort();
        paths
            .iter()
            .map(|path| {
                let path = path.strip_prefix(root()).expect("a path below the root");
                Self::open(path.to_str().expect("a path in UTF-8"))
            })
            .collect()
    }

    /// Every document in `docs/`.
    pub(super) fn in_docs() -> Vec<Self> {
        let all = Self::all().into_iter();
        let found: Vec<_> = all.filter(|document| document.path.starts_with("docs/")).collect();
        assert!(found.len() >= 10, "docs/ has only {} documents", found.len());
        found
    }

    /// The headings of this many `#`, in their order.
    pub(super) fn headings(&self, level: usize) -> Vec<String> {
        let prefix = format!("{} ", "#".repeat(level));
        let lines = self.prose().into_iter();
        lines
            .filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
            .collect()
    }

    /// The lines outside of code blocks.
    pub(super) fn prose(&self) -> Vec<&str> {
        let mut in_block = false;
        let outside = |line: &&str| {
            let fence = line.trim_start().starts_with("```");
            in_block ^= fence;
            !in_block && !fence
        };
        self.text.lines().filter(outside).collect()
    }

    /// The text under a heading of level two, up to the next one.
    pub(super) fn section(&self, heading: &str) -> &str {
        let (_, rest) = self
            .text
            .split_once(&format!("\n## {heading}\n"))
            .unwrap_or_else(|| panic!("{} has no section {heading:?}", self.path));
        rest.split("\n## ").next().unwrap_or_default()
    }

    /// The code blocks.
    pub(super) fn blocks(&self) -> Vec<Block> {
        blocks(&self.text)
    }

    /// The shell blocks without a mark, as one text.
    pub(super) fn commands(&self) -> String {
        let blocks = self.blocks().into_iter();
        blocks
            .filter(|block| block.language == "sh" && block.mark.is_empty())
            .map(|block| block.content + "\n")
            .collect()
    }

    /// The links outside of code blocks.
    pub(super) fn links(&self) -> Vec<String> {
        let prose = self.prose().join("\n");
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.map(str::to_owned).collect()
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !SKIPPED.contains(&name) {
                collect(&path, paths);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

/// The code blocks of a text.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let (language, mark) = info.split_once(' ').unwrap_or((info, ""));
            let content = lines.by_ref().take_while(|line| *line != "```");
            blocks.push(Block {
                language: language.to_owned(),
                mark: mark.to_owned(),
                content: content.flat_map(|line| [line, "\n"]).collect(),
            });
        }
    }
    blocks
}

/// The cells of a table without its header. A cell that consists of code only loses its backticks.
pub(super) fn rows(text: &str) -> Vec<Vec<String>> {
    let code = |cell: &str| {
        let inner = cell.strip_prefix('`')?.strip_suffix('`')?;
        (!inner.contains('`')).then(|| inner.to_owned())
    };
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|').map(str::trim);
        cells
            .map(|cell| code(cell).unwrap_or_else(|| cell.to_owned()))
            .collect()
    };
    text.lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(cells)
        .collect()
}

/// The anchor that GitHub gives a heading.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
