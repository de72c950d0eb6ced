//! The modules of `src/`, read from its files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::imports;

/// A file of `src/`.
pub(super) struct Module {
    /// For messages.
    pub(super) file: String,
    /// Below the crate: `["store", "redis"]` for `src/store/redis/mod.rs`.
    pub(super) path: Vec<String>,
    pub(super) lines: usize,
    /// Outside of test modules.
    pub(super) imports: Vec<Vec<String>>,
}

/// Every module but `main.rs`, by its path.
pub(super) fn modules() -> BTreeMap<Vec<String>, Module> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let modules = files.iter().map(|file| {
        let source = fs::read_to_string(file).expect("a source file");
        let below = file.strip_prefix(&root).expect("below src/").with_extension("");
        let mut path: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        path.pop_if(|last| last == "mod" || last == "lib");
        let is_test = path.iter().any(|part| part == "tests" || part == "properties");
        let module = Module {
            file: format!("src/{}.rs", below.display()),
            lines: source.lines().count(),
            imports: if is_test {
                Vec::new()
            } else {
                imports::of(&source, &path)
            },
            path: path.clone(),
        };
        (path, module)
    });
    modules.filter(|(path, _)| path != &["main"]).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
