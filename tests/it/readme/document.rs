//! Parses the README: sections, code blocks and tables.

use std::path::Path;

/// The full text.
pub(super) const README: &str = include_str!("../../../README.md");

/// The address that the README's commands and programs name.
pub(super) const ADDRESS: &str = "127.0.0.1:3000";

/// The root of the project.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text under a heading, up to the next heading.
pub(super) fn section(heading: &str) -> &'static str {
    let (_, rest) = README
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("the README has no section {heading:?}"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// The code blocks of a text: language and content.
pub(super) fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let content = lines.by_ref().take_while(|line| *line != "```");
            blocks.push((language, content.flat_map(|line| [line, "\n"]).collect()));
        }
    }
    blocks
}

/// The only code block in this language.
pub(super) fn block(text: &str, language: &str) -> String {
    let mut found = blocks(text).into_iter().filter(|(name, _)| *name == language);
    match (found.next(), found.next()) {
        (Some((_, content)), None) => content,
        _ => panic!("not exactly one block of {language}"),
    }
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
