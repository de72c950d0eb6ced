//! The architecture of `src/`: layers import downwards only, and no circle of imports ties modules together.
//!
//! The tests read the `use` lines and the inline `crate::` paths of every file. Test modules are exempt.

mod imports;
mod modules;

use std::collections::BTreeMap;

use self::modules::{Module, modules};

/// The layers from the bottom up. A module imports from layers above its own in no case, and from its own layer only what
/// keeps the layer free of circles.
const LAYERS: [&[&str]; 8] = [
    &["text", "session"],
    &["clock", "config", "observability", "process"],
    &["store"],
    &["check", "service"],
    &["http"],
    &["server"],
    &["app"],
    &["cli"],
];

/// Imports that the layers permit, and the architecture does not: (importing module, imported path, reason).
const FORBIDDEN: [(&str, &str, &str); 6] = [
    ("store", "crate::config", "a store takes options of its own"),
    ("session", "axum", "the domain knows nothing of HTTP"),
    ("store", "axum", "a store knows nothing of HTTP"),
    ("service", "axum", "the session service knows nothing of HTTP"),
    ("http", "crate::store::embedded", "HTTP names no backend"),
    ("http", "crate::store::redis", "HTTP names no backend"),
];

fn layer(module: &Module) -> usize {
    let top = module.path.first().map(String::as_str).unwrap_or_default();
    let found = LAYERS.iter().position(|layer| layer.contains(&top));
    found.unwrap_or_else(|| panic!("{top} belongs to no layer: add it to LAYERS"))
}

#[test]
fn layers_import_downwards_only() {
    let modules = modules();
    for module in modules.values().filter(|module| !module.path.is_empty()) {
        for import in &module.imports {
            let Some(target) = imports::resolve(&modules, import).filter(|target| !target.is_empty()) else {
                continue;
            };
            let target = &modules[&target[..1]];
            assert!(
                layer(target) <= layer(module),
                "{} imports {} from a higher layer",
                module.file,
                import.join("::")
            );
        }
    }
}

#[test]
fn no_module_imports_what_its_layer_must_not_know() {
    for module in modules().values() {
        for (importer, forbidden, reason) in FORBIDDEN {
            let concerned = module.path.first().is_some_and(|top| top == importer);
            let found = module.imports.iter().map(|import| import.join("::"));
            for import in found.filter(|_| concerned) {
                let inside = import.strip_prefix(forbidden);
                let inside = inside.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
                assert!(!inside, "{} imports {import}: {reason}", module.file);
            }
        }
    }
}

/// Siblings are the files and folders of one folder, and its `mod.rs`.
#[test]
fn siblings_do_not_import_each_other_in_circles() {
    let modules = modules();
    let mut folders: BTreeMap<&[String], BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for module in modules.values() {
        for import in &module.imports {
            let Some(target) = imports::resolve(&modules, import) else {
                continue;
            };
            let common = module.path.iter().zip(&target).take_while(|(a, b)| a == b).count();
            let (from, to) = (module.path.get(common), target.get(common));
            // The parent's own items, as opposed to what it re-exports.
            let node = |name: Option<&String>| name.cloned().unwrap_or_else(|| "mod.rs".into());
            if node(from) != node(to) {
                let edges = folders.entry(&module.path[..common]).or_default();
                edges.entry(node(from)).or_default().push(node(to));
            }
        }
    }
    let circles: Vec<_> = folders
        .iter()
        .filter_map(|(folder, edges)| Some(format!("src/{}: {}", folder.join("/"), circle(edges)?.join(" → "))))
        .collect();
    assert!(circles.is_empty(), "circles of imports:\n{}", circles.join("\n"));
}

/// A circle in a graph, as the nodes along it.
fn circle(edges: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    fn walk(edges: &BTreeMap<String, Vec<String>>, path: &mut Vec<String>, done: &mut Vec<String>) -> bool {
        let last = path[path.len() - 1].clone();
        for next in edges.get(&last).into_iter().flatten() {
            if let Some(start) = path.iter().position(|node| node == next) {
                path.drain(..start);
                path.push(next.clone());
                return true;
            }
            if done.contains(next) {
                continue;
            }
            path.push(next.clone());
            if walk(edges, path, done) {
                return true;
            }
            path.pop();
        }
        done.push(last);
        false
    }
    let mut done = Vec::new();
    edges.keys().find_map(|start| {
        let mut path = vec![start.clone()];
        (!done.contains(start) && walk(edges, &mut path, &mut done)).then_some(path)
    })
}

#[test]
fn files_are_short_and_the_root_is_a_map() {
    let modules = modules();
    let long: Vec<_> = modules
        .values()
        .filter(|module| module.lines > 300)
        .map(|module| format!("{} has {} lines", module.file, module.lines))
        .collect();
    assert!(long.is_empty(), "split these files: {}", long.join(", "));
    let in_root = modules
        .values()
        .filter(|module| !module.file.trim_start_matches("src/").contains('/'));
    assert!(
        in_root.count() <= 7,
        "the root of src/ holds main.rs, lib.rs and at most five more files"
    );
}

#[test]
fn the_tests_see_circles_and_imports() {
    let graph = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (from, to) in pairs {
            edges.entry((*from).into()).or_default().push((*to).into());
        }
        edges
    };
    assert_eq!(circle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = circle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")]));
    assert_eq!(found, Some(vec!["b".into(), "c".into(), "b".into()]));

    let source = "use std::fmt;\nuse crate::{a::{B, c}, d};\nuse super::e::*;\n// crate::comment\n\
                  fn f() { crate::g::h(\"crate::text\") }\n#[cfg(test)]\nmod tests { use crate::hidden; }";
    let path = ["x".to_owned(), "y".to_owned()];
    let found: Vec<_> = imports::of(source, &path)
        .iter()
        .map(|import| import.join("::"))
        .collect();
    assert_eq!(
        found,
        [
            "std::fmt",
            "crate::a::B",
            "crate::a::c",
            "crate::d",
            "crate::x::e::*",
            "crate::g::h"
        ]
    );
}
