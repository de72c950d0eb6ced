//! Reads the imports of a source file. It needs no full parser: rustfmt has laid out the files.

use std::collections::BTreeMap;

use super::modules::Module;

/// The imported paths of a module at `path`, with `self` and `super` replaced by `crate` paths. Skips test modules.
pub(super) fn of(source: &str, path: &[String]) -> Vec<Vec<String>> {
    let code = without_comments_and_tests(source);
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(start) = next_use(rest) {
        inline(&rest[..start.0], &mut found);
        let end = rest[start.1..].find(';').map_or(rest.len(), |end| start.1 + end);
        expand(&[], &rest[start.1..end], &mut found);
        rest = &rest[end..];
    }
    inline(rest, &mut found);
    found.into_iter().map(|import| absolute(import, path)).collect()
}

/// The module that an import leads to. A name that a `mod.rs` re-exports leads to the child that defines it. `None` for
/// other crates.
pub(super) fn resolve(modules: &BTreeMap<Vec<String>, Module>, import: &[String]) -> Option<Vec<String>> {
    let (first, rest) = import.split_first()?;
    if first != "crate" {
        return None;
    }
    let known = (0..=rest.len())
        .rev()
        .find(|length| modules.contains_key(&rest[..*length]))?;
    let (module, names) = rest.split_at(known);
    let Some(name) = names.first() else {
        return Some(module.to_vec());
    };
    let parent = &modules[module];
    let child = parent.imports.iter().find(|reexport| {
        reexport.last() == Some(name) && reexport[1..].starts_with(module) && reexport.len() > module.len() + 2
    });
    match child {
        Some(child) => resolve(modules, child),
        None => Some(module.to_vec()),
    }
}

fn without_comments_and_tests(source: &str) -> String {
    let mut code = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]") {
            // The item that follows: one line, or a block up to the closing brace of the same indentation.
            let indent = line.len() - trimmed.len();
            let mut item = lines.next();
            while let Some(line) = item {
                let ends = line.ends_with(';') || line.ends_with(',') || line.ends_with('}');
                if ends && line.len() - line.trim_start().len() == indent {
                    break;
                }
                item = lines.next();
            }
            continue;
        }
        // Strings hold no imports, but may hold the words of one.
        for (n, part) in line.split("//").next().unwrap_or_default().split('"').enumerate() {
            if n % 2 == 0 {
                code.push_str(part);
            }
        }
        code.push('\n');
    }
    code
}

/// Start and end of the next `use` keyword.
fn next_use(code: &str) -> Option<(usize, usize)> {
    code.match_indices("use ").find_map(|(start, word)| {
        let before = code[..start].trim_end_matches(' ');
        let visibility = before.ends_with("pub") || before.ends_with(')');
        let begins = before.is_empty() || before.ends_with('\n') || visibility;
        begins.then_some((start, start + word.len()))
    })
}

/// Paths in the code besides `use` items.
fn inline(code: &str, found: &mut Vec<Vec<String>>) {
    // `pub(in crate::…)` is a visibility.
    let paths = code
        .match_indices("crate::")
        .filter(|(start, _)| !code[..*start].ends_with("(in "));
    for (start, _) in paths {
        let path = code[start..]
            .split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
            .next();
        found.push(path.unwrap_or_default().split("::").map(str::to_owned).collect());
    }
}

/// Expands a tree of imports, such as `a::{b, c::d}`.
fn expand(prefix: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let path = path
            .split("::")
            .map(str::trim)
            .filter(|part| !part.is_empty() && *part != "self" || prefix.is_empty());
        found.push([prefix, &path.map(str::to_owned).collect::<Vec<_>>()].concat());
        return;
    };
    let head = head
        .split("::")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned);
    let prefix = [prefix, &head.collect::<Vec<_>>()].concat();
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &group[start..at], found);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !group[start..].trim().is_empty() {
        expand(&prefix, &group[start..], found);
    }
}

fn absolute(import: Vec<String>, path: &[String]) -> Vec<String> {
    let up = import.iter().take_while(|part| *part == "super").count();
    let own = match import.first().map(String::as_str) {
        Some("super") => &path[..path.len().saturating_sub(up)],
        Some("self") => path,
        _ => return import,
    };
    let rest = &import[up.max(1)..];
    [&["crate".to_owned()], own, rest].concat()
}
