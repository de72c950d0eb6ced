//! The README's tables of options, subcommands and metrics match the service.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;
use rest_sessions::config::Cli;

use super::document::{rows, section};
use crate::process::{Process, free_port};

#[test]
fn the_table_of_options_matches_the_code() {
    let documented: Vec<_> = rows(section("Configuration"))
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
fn the_readme_names_every_subcommand() {
    for command in Cli::command().get_subcommands() {
        let name = format!("`rest-sessions {}", command.get_name());
        assert!(super::document::README.contains(&name), "{name}");
    }
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
    let documented: BTreeMap<_, _> = rows(section("Operating"))
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
