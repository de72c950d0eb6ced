//! The tables of routes, errors, options, subcommands and metrics match the code and the contract.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;
use rest_sessions::{config::Cli, http::router};

use super::document::{Document, rows};
use crate::process::{Process, free_port};

#[test]
fn the_table_of_options_matches_the_code() {
    let documented: Vec<_> = rows(Document::open("docs/configuration.md").section("All options"))
        .into_iter()
        .map(|row| row[..3].to_vec())
        .collect();
    let command = Cli::command();
    let options = command.get_arguments().filter(|arg| arg.get_env().is_some());
    let actual: Vec<_> = options
        .map(|arg| {
            let flag = format!("--{}", arg.get_long().expect("every option has a flag"));
            let variable = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            let default = arg.get_default_values().first().and_then(|value| value.to_str());
            vec![flag, variable.to_owned(), default.unwrap_or("unset").to_owned()]
        })
        .collect();
    assert!(actual.len() >= 20, "{actual:?}");
    assert_eq!(documented, actual);
}

#[test]
fn the_documents_name_every_subcommand() {
    let text = Document::open("docs/operating.md").text;
    for command in Cli::command().get_subcommands() {
        let name = format!("`rest-sessions {}", command.get_name());
        assert!(text.contains(&name), "docs/operating.md has no {name}");
    }
}

/// The methods and paths of openapi.yaml, with `:app` for `{app}`.
fn contract() -> Vec<(String, String)> {
    let contract: serde_yaml_ng::Value = serde_yaml_ng::from_str(include_str!("../../../openapi.yaml")).expect("YAML");
    let paths = contract["paths"].as_mapping().expect("paths");
    let pairs = paths.iter().flat_map(|(path, operations)| {
        let path = colons(path.as_str().expect("a path"));
        let methods = operations.as_mapping().expect("operations").keys();
        let methods = methods.filter_map(serde_yaml_ng::Value::as_str);
        methods
            .filter(|method| *method != "parameters")
            .map(|method| (method.to_uppercase(), path.clone()))
            .collect::<Vec<_>>()
    });
    pairs.collect()
}

fn colons(path: &str) -> String {
    path.replace('{', ":").replace('}', "")
}

#[test]
fn the_table_of_routes_matches_the_code_and_the_contract() {
    let readme = Document::open("README.md");
    let documented: Vec<_> = rows(readme.section("Routes"))
        .into_iter()
        .map(|row| {
            let (method, path) = row[0].split_once(' ').expect("a method and a path");
            (method.to_owned(), path.to_owned())
        })
        .collect();
    let paths: Vec<_> = documented.iter().map(|(_, path)| path.clone()).collect();
    let routes: Vec<_> = router::paths().into_iter().map(colons).collect();
    assert_eq!(paths, routes);
    let documented: BTreeSet<_> = documented.into_iter().collect();
    assert_eq!(documented, contract().into_iter().collect());
}

#[test]
fn the_table_of_errors_matches_the_contract() {
    let api = Document::open("docs/http-api.md");
    let pairs = |text: &str| -> Vec<_> { rows(text).into_iter().map(|row| row[..2].to_vec()).collect() };
    let contract: serde_yaml_ng::Value = serde_yaml_ng::from_str(include_str!("../../../openapi.yaml")).expect("YAML");
    let description = contract["info"]["description"].as_str().expect("a description");
    let expected = pairs(description);
    assert!(expected.len() >= 15, "{expected:?}");
    assert_eq!(pairs(api.section("Errors")), expected);
}

#[tokio::test]
async fn the_table_of_metrics_matches_the_service() {
    // Some metrics exist only after an outage.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = format!("redis://127.0.0.1:{}", free_port());
    let process = Process::start(
        folder.path(),
        &["--timeout", "0.2", "--redis-url", &redis, "--cachetime", "1"],
    );
    assert_eq!(process.ask("DELETE", "/shop/killall", "").await.status, 503);
    let text = process.ask("GET", "/metrics", "").await.body;
    let families: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    let documented: BTreeMap<_, _> = rows(Document::open("docs/operating.md").section("Metrics"))
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), families);
    for (name, meaning) in documented {
        for label in ["route", "method", "status", "reason", "operation", "result"] {
            let has_label = text.lines().any(|line| {
                let series = line.strip_prefix(&name);
                series.is_some_and(|series| series.contains(&format!("{label}=\"")))
            });
            assert_eq!(meaning.contains(&format!("`{label}`")), has_label, "{name}, {label}");
        }
    }
}
