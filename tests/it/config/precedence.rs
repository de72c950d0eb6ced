//! Tests of precedence: a flag beats the environment, which beats the file, which beats the default. An empty variable
//! counts as unset.

use std::{fs, path::Path};

use crate::process::Process;

/// The program creates one of these folders, which shows the source of its `data_dir`.
const FOLDERS: [&str; 4] = ["data", "of-the-file", "of-the-environment", "of-the-flag"];

fn data_dir(file: bool, environment: Option<&str>, flag: bool) -> &'static str {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("options.toml"), "data_dir = \"of-the-file\"").expect("a file");
    let mut command = Process::command(folder.path(), &[]);
    if file {
        command.env("RS_CONFIG", "options.toml");
    }
    if let Some(environment) = environment {
        command.env("RS_DATA_DIR", environment);
    }
    if flag {
        command.args(["--data-dir", "of-the-flag"]);
    }
    let _process = Process::spawn(command);
    let made: Vec<_> = FOLDERS
        .into_iter()
        .filter(|name| folder.path().join(name).is_dir())
        .collect();
    assert_eq!(made.len(), 1, "{made:?}");
    made[0]
}

#[test]
fn the_default_applies_when_nothing_is_set() {
    assert_eq!(data_dir(false, None, false), "data");
}

#[test]
fn the_file_beats_the_default() {
    assert_eq!(data_dir(true, None, false), "of-the-file");
}

#[test]
fn the_environment_beats_the_file() {
    assert_eq!(data_dir(true, Some("of-the-environment"), false), "of-the-environment");
}

#[test]
fn a_flag_beats_the_environment_and_the_file() {
    assert_eq!(data_dir(true, Some("of-the-environment"), true), "of-the-flag");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    assert_eq!(data_dir(true, Some(""), false), "of-the-file");
    assert_eq!(data_dir(false, Some(""), false), "data");
}

#[test]
fn every_variable_may_be_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Process::command(folder.path(), &["--port", "0"]);
    for variable in super::output::variables() {
        command.env(variable, "");
    }
    let process = Process::spawn(command);
    assert!(process.address().starts_with("127.0.0.1:"), "{}", process.address());
    assert!(folder.path().join("data").is_dir());
}

#[test]
fn the_config_flag_beats_the_config_variable() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "environment.toml", "data_dir = \"environment\"");
    write(folder.path(), "flag.toml", "data_dir = \"flag\"");
    let mut command = Process::command(folder.path(), &["--config", "flag.toml"]);
    command.env("RS_CONFIG", "environment.toml");
    let _process = Process::spawn(command);
    assert!(folder.path().join("flag").is_dir() && !folder.path().join("environment").exists());
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file");
}
