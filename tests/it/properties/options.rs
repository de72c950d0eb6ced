//! Flags, variables and options files with arbitrary content: the service accepts them or refuses them in one line.

use std::{ffi::OsString, fs, path::Path};

use clap::CommandFactory;
use proptest::{collection::vec, prelude::*, string::string_regex};
use rest_sessions::config::{Cli, Refusal};

use super::{hold::hold, texts::damaged};
use crate::process::{finish, program};

/// The names of all flags, without the dashes.
fn names() -> Vec<String> {
    let command = Cli::command();
    let long = command
        .get_arguments()
        .filter_map(|arg| arg.get_long().map(ToOwned::to_owned));
    long.collect()
}

fn values() -> impl Strategy<Value = String> {
    let some = prop::sample::select(vec![
        "",
        "0",
        "1",
        "-1",
        "3000",
        "65536",
        "0.5",
        "1e3",
        "nan",
        "inf",
        "1e400",
        "none",
        "true",
        "127.0.0.1",
        "::1",
        "redis://h",
        "redis://h:0",
        "redis://u:p@h:6379/1",
        "rediss://h/#insecure",
        "redis+unix:///s",
        "http://h",
        "redis://",
        "redis://[::1",
        "redis://a,redis://b",
        "cluster",
        "sentinel",
        "text",
        "json",
        "0660",
        "999",
        "7200",
        "18446744073709551616",
        "{",
        "a b",
    ]);
    let any = string_regex("[ -~é\u{7}]{0,30}").expect("an expression");
    prop_oneof![3 => some.prop_map(ToOwned::to_owned), 1 => any]
}

/// Flags, one per line.
fn flags() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![8 => prop::sample::select(names()), 1 => "[a-z-]{1,12}"];
    let flag = (name, values(), 0..10u8).prop_map(|(name, value, form)| match form {
        0 => format!("--{name}"),
        1 => value,
        2 => format!("--{name}\n{value}"),
        _ => format!("--{name}={value}"),
    });
    vec(flag, 0..5).prop_map(|flags| flags.join("\n").into_bytes())
}

/// Options files.
fn files() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<_> = names().into_iter().map(|name| name.replace('-', "_")).collect();
    let value = values().prop_flat_map(|text| {
        // A JSON string is also a TOML string.
        let quoted = serde_json::to_string(&text).expect("a text");
        prop::sample::select(vec![
            quoted.clone(),
            quoted,
            text,
            "[1]".into(),
            "{a=1}".into(),
            "1979-05-27".into(),
            "0x1F".into(),
        ])
    });
    let line = (prop::sample::select(names), value).prop_map(|(name, value)| format!("{name} = {value}"));
    damaged(vec(line, 0..5).prop_map(|lines| lines.join("\n").into_bytes()))
}

/// Parses the options as the service does, without connecting to a store.
fn read(flags: &[&str]) -> Result<Cli, Refusal> {
    let args = ["rest-sessions"].iter().chain(flags).map(OsString::from);
    Cli::parse_all(args.collect::<Vec<_>>())
}

/// Asserts that the options are accepted or refused in one line.
fn assert_accepted_or_one_line(read: Result<Cli, Refusal>) {
    match read {
        Ok(cli) => {
            if let Err(why) = cli.config.redis() {
                assert_line(&why);
            }
        }
        Err(Refusal::Print(text)) => assert!(!text.is_empty()),
        Err(Refusal::Usage(why)) => assert_line(&why),
    }
}

fn assert_line(text: &str) {
    assert!(!text.is_empty() && text.lines().count() == 1, "not one line: {text:?}");
}

#[test]
fn flags_are_accepted_or_refused_in_one_line() {
    hold("flags", 20, flags(), |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        assert_accepted_or_one_line(read(&text.split('\n').collect::<Vec<_>>()));
    });
}

fn write(folder: &Path, input: &[u8]) -> String {
    let path = folder.join("options.toml");
    fs::write(&path, input).expect("a file");
    path.to_str().expect("a text").to_owned()
}

#[test]
fn an_options_file_is_accepted_or_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    hold("file", 20, files(), |input| {
        assert_accepted_or_one_line(read(&["--config", &write(folder.path(), input)]));
    });
}

/// Runs the binary with `completions`, a command that ends at once if the options are valid.
#[test]
fn the_binary_refuses_an_options_file_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    hold("file", 200, files(), |input| {
        let path = write(folder.path(), input);
        let mut command = program(folder.path(), &["completions", "bash"]);
        command.env("RS_CONFIG", &path);
        let finished = finish(command);
        match read(&["--config", &path]) {
            Ok(_) => assert_eq!(finished.code, Some(0), "{finished:?}"),
            Err(_) => assert!(finished.code == Some(2) && finished.one_line(), "{finished:?}"),
        }
    });
}

/// One environment variable of an option, `NAME=value`.
fn variables() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<_> = names()
        .into_iter()
        .map(|name| format!("RS_{}", name.replace('-', "_").to_uppercase()))
        .collect();
    (prop::sample::select(names), values()).prop_map(|(name, value)| format!("{name}={value}").into_bytes())
}

#[test]
fn a_variable_is_accepted_like_its_flag() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    hold("variable", 200, variables(), |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let Some((name, value)) = text.split_once('=').filter(|(_, value)| !value.contains('\0')) else {
            return;
        };
        let flag = name.trim_start_matches("RS_").to_lowercase().replace('_', "-");
        if !names().contains(&flag) || ["help", "version"].contains(&&*flag) {
            return;
        }
        let mut command = program(folder.path(), &["completions", "bash"]);
        command.env(name, value);
        let finished = finish(command);
        // An empty variable counts as unset.
        let good = value.is_empty() || read(&[&format!("--{flag}={value}")]).is_ok();
        let expected = if good { Some(0) } else { Some(2) };
        assert_eq!(finished.code, expected, "{finished:?}");
        assert!(good || finished.one_line(), "{finished:?}");
    });
}
