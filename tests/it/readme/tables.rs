//! The tables, held to the code.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;
use rest_sessions::config::Cli;

use super::document::{rows, section};
use crate::process::{Process, free_port};

#[test]
fn the_table_of_options_is_that_of_the_code() {
    let said: Vec<_> = rows(section("Configuration"))
        .into_iter()
        .map(|row| row[..3].to_vec())
        .collect();
    let command = Cli::command();
    let options = command.get_arguments().filter(|arg| arg.get_env().is_some());
    let true_ones: Vec<_> = options
        .map(|arg| {
            let flag = format!("--{}", arg.get_long().expect("every option has a flag"));
            let variable = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            let default = arg.get_default_values().first().and_then(|value| value.to_str());
            vec![flag, variable.to_owned(), default.unwrap_or("unset").to_owned()]
        })
        .collect();
    assert!(true_ones.len() >= 20, "{true_ones:?}");
    assert_eq!(said, true_ones);
}

#[test]
fn the_readme_names_every_subcommand() {
    for command in Cli::command().get_subcommands() {
        let name = format!("`rest-sessions {}", command.get_name());
        assert!(super::document::README.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn the_table_of_metrics_is_that_of_the_service() {
    // An outage is what brings every metric out.
    let folder = tempfile::tempdir().expect("a folder");
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
    let said: BTreeMap<_, _> = rows(section("Operating"))
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    assert_eq!(said.keys().cloned().collect::<BTreeSet<_>>(), families);
    for (name, meaning) in said {
        for label in ["route", "method", "status", "reason", "operation", "result"] {
            let is = text.lines().any(|line| {
                let series = line.strip_prefix(&name);
                series.is_some_and(|series| series.contains(&format!("{label}=\"")))
            });
            assert_eq!(meaning.contains(&format!("`{label}`")), is, "{name}, {label}");
        }
    }
}
