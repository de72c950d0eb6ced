//! Flags and the file of options: whatever is in them, the program starts or says in one line why it does not.

use std::{ffi::OsString, fs, path::Path};

use clap::CommandFactory;
use proptest::{collection::vec, prelude::*, string::string_regex};
use rest_sessions::config::{Cli, Refusal};

use super::{hold::hold, texts::damaged};
use crate::process::{finish, program};

/// The names of all options, as flags have them.
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

/// Flags, one in a line.
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

/// A file of options.
fn files() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<_> = names().into_iter().map(|name| name.replace('-', "_")).collect();
    let value = values().prop_flat_map(|text| {
        // What JSON makes of a text, TOML reads as well.
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

/// Reads the options as the program does, as far as that goes without connecting anywhere.
fn read(flags: &[&str]) -> Result<Cli, Refusal> {
    let args = ["rest-sessions"].iter().chain(flags).map(OsString::from);
    Cli::parse_all(args.collect::<Vec<_>>())
}

/// What all of them have to be: whole, or one line.
fn assert_clear(read: Result<Cli, Refusal>) {
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
fn flags_are_taken_or_refused_in_one_line() {
    hold("flags", 20, flags(), |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        assert_clear(read(&text.split('\n').collect::<Vec<_>>()));
    });
}

fn write(folder: &Path, input: &[u8]) -> String {
    let path = folder.join("options.toml");
    fs::write(&path, input).expect("a file");
    path.to_str().expect("a text").to_owned()
}

#[test]
fn a_file_of_options_is_taken_or_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    hold("file", 20, files(), |input| {
        assert_clear(read(&["--config", &write(folder.path(), input)]));
    });
}

/// The program itself, with a file and an option in the environment that ends it where all was well.
#[test]
fn the_program_refuses_a_file_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
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

/// One option of the environment, `NAME=value`.
fn variables() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<_> = names()
        .into_iter()
        .map(|name| format!("RS_{}", name.replace('-', "_").to_uppercase()))
        .collect();
    (prop::sample::select(names), values()).prop_map(|(name, value)| format!("{name}={value}").into_bytes())
}

#[test]
fn the_program_takes_a_variable_as_it_takes_the_flag() {
    let folder = tempfile::tempdir().expect("a folder");
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
