//! Tests of `--help`, `--version` and the completions, and of the format and the levels of the log.

use std::{collections::BTreeSet, net::TcpStream};

use clap::CommandFactory;
use rest_sessions::config::Cli;
use serde_json::Value;

use crate::process::{Finished, Process, eventually, finish, free_port, program};

/// The variables of all options.
pub(super) fn variables() -> Vec<String> {
    let command = Cli::command();
    let variables: Vec<_> = command
        .get_arguments()
        .filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned()))
        .collect();
    assert_eq!(variables.len(), variables.iter().collect::<BTreeSet<_>>().len());
    variables
}

fn printed(args: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path(), args);
    command.env("RS_REDIS_URL", "redis://user:opensesame@127.0.0.1");
    let Finished { code, stdout, stderr } = finish(command);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(!stdout.contains("opensesame"), "{stdout}");
    stdout
}

#[test]
fn help_shows_every_option_with_its_variable_and_default() {
    let help = printed(&["--help"]);
    let command = Cli::command();
    let options: Vec<_> = command.get_arguments().filter(|arg| arg.get_env().is_some()).collect();
    // The options that a file can set, and `--config`.
    assert!(options.len() >= 20, "{}", options.len());
    for option in options {
        let flag = format!("--{} <", option.get_long().expect("every option has a flag"));
        let (_, rest) = help.split_once(&flag).unwrap_or_else(|| panic!("no {flag}"));
        let about = rest.split("\n      --").next().unwrap_or_default();
        let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
        let variable = format!(
            "[env: {}",
            option.get_env().and_then(|name| name.to_str()).unwrap_or_default()
        );
        assert!(
            about.contains(&format!("{variable}=")) || about.contains(&format!("{variable}]")),
            "{flag}: {about}"
        );
        if let Some(default) = option.get_default_values().first().and_then(|value| value.to_str()) {
            assert!(about.contains(&format!("[default: {default}]")), "{flag}: {about}");
        }
    }
    for command in ["healthcheck", "completions"] {
        assert!(help.contains(&format!("\n  {command} ")), "no {command}");
    }
}

#[test]
fn version_prints_the_version_of_the_package() {
    let expected = format!("rest-sessions {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed(&["--version"]), expected);
    assert_eq!(printed(&["-V"]), expected);
}

#[test]
fn completions_contain_the_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        let flag = if shell == "fish" { "-l redis-url" } else { "--redis-url" };
        assert!(
            script.contains(flag) && script.contains("healthcheck"),
            "{shell}: {script}"
        );
    }
}

#[tokio::test]
async fn json_logs_have_one_object_on_each_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Process::command(folder.path(), &["--loglevel", "debug"]);
    command.env("RS_LOG_FORMAT", "json");
    let process = Process::spawn(command);
    let listening = format!("listening on http://{}", process.address());
    process.app().create("somebody").await;
    let log = process.stop();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    for line in &lines {
        assert!(
            ["timestamp", "level", "target", "message"]
                .iter()
                .all(|key| line[key].is_string()),
            "{line}"
        );
    }
    let with = |message: &str| lines.iter().find(|line| line["message"] == message);
    assert_eq!(with(&listening).expect("it says where it listens")["level"], "INFO");
    let answered = with("answered").expect("debug has a line for each request");
    assert_eq!(
        (&answered["route"], &answered["status"]),
        (&"/{app}/create/{id}".into(), &200.into())
    );
}

#[test]
fn the_program_accepts_the_log_levels_of_the_original() {
    for level in ["dev", "combined", "common", "short", "tiny", "info", "INFO"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Process::command(folder.path(), &[]);
        command.env("RS_LOGLEVEL", level);
        let log = Process::spawn(command).stop();
        assert!(log.contains(" INFO ") && !log.contains("DEBUG"), "{level}: {log}");
    }
}

#[test]
fn quiet_levels_log_nothing_in_a_run_without_errors() {
    for level in ["none", "error", "warn"] {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port().to_string();
        let mut command = Process::command(folder.path(), &["--port", &port]);
        command.env("RS_LOGLEVEL", level);
        let address = format!("127.0.0.1:{port}");
        let process = Process::spawn_unseen(command, &address);
        eventually("the service listens", || TcpStream::connect(&address).ok());
        assert_eq!(process.stop(), "", "{level}");
    }
}
