//! Tests that the program refuses an invalid configuration: it exits with code 2 and prints one line that names the
//! option and contains no password.

mod printed;

use std::fs;

use clap::CommandFactory;
use rest_sessions::config::Cli;

use crate::process::{Process, finish};

const PASSWORD: &str = "opensesame";

/// Starts the program with `file` (unless it is empty), environment and flags, and returns the line of its refusal.
fn refusal(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Process::command(folder.path(), &[]);
    if !file.is_empty() {
        fs::write(folder.path().join("options.toml"), file).expect("a file");
        command.env("RS_CONFIG", "options.toml");
    }
    command.envs(environment.iter().copied()).args(flags);
    let finished = finish(command);
    let line = finished.refusal(2);
    assert!(!line.contains(PASSWORD), "{line}");
    assert!(!folder.path().join("data").exists(), "refused too late: {line}");
    line.to_owned()
}

/// A value that the option must refuse, or `None` where any text may be valid.
fn bad_value(option: &str) -> Option<&'static str> {
    match option {
        // Names and paths: whether they are valid depends on what exists.
        "config"
        | "host"
        | "socket"
        | "redishost"
        | "data_dir"
        | "redis_master"
        | "redis_username"
        | "redis_password"
        | "redis_password_file"
        | "redis_sentinel_password_file"
        | "redis_ca"
        | "redis_cert"
        | "redis_key" => None,
        "redis_url" | "redisurl" => Some("http://user:opensesame@127.0.0.1"),
        "namespace" => Some("with{brace"),
        "cookie" => Some("with space"),
        _ => Some("-1"),
    }
}

#[test]
fn a_bad_value_is_refused_from_every_source() {
    let mut tried = 0;
    for option in Cli::command().get_arguments() {
        let key = option.get_id().as_str();
        let (Some(variable), Some(bad)) = (option.get_env().and_then(|name| name.to_str()), bad_value(key)) else {
            continue;
        };
        tried += 1;
        let flag = format!("--{}", option.get_long().expect("every option has a flag"));
        // The store parses the URL; it does not know which option it came from.
        let name = if key.contains("url") { "Redis URL" } else { &flag };
        let line = refusal("", &[], &[&format!("{flag}={bad}")]);
        assert!(line.contains(name), "{key} as a flag: {line}");
        let line = refusal("", &[(variable, bad)], &[]);
        assert!(
            line.contains(name) || line.contains(variable),
            "{key} in the environment: {line}"
        );
        let line = refusal(&format!("{key} = {bad:?}"), &[], &[]);
        assert!(
            line.contains(name) || line.contains("options.toml"),
            "{key} in the file: {line}"
        );
    }
    assert_eq!(tried, 25);
}

#[test]
fn values_out_of_bounds_are_refused() {
    for bad in [
        "--port=65536",
        "--redis-connections=0",
        "--redis-connections=257",
        "--cache-size=0",
        "--wipe=9",
        "--wipe=1",
        "--max-connections=0",
        "--touch=61",
        "--touch=-1",
        "--cachetime=-1",
        "--cachetime=86401",
        "--cachemax=0",
        "--cachemax=10000001",
        "--host=",
        "--timeout=0",
        "--idle-timeout=0",
        "--timeout=86401",
        "--timeout=NaN",
        "--threads=1025",
        "--loglevel=verbose",
        "--log-format=xml",
        "--namespace=",
        "--redis-master=",
        "--shards=0",
        "--shards=257",
        "--redis-mode=many",
        "--redis-master-tls=perhaps",
        "--socket-mode=0888",
        "--socket-mode=1777",
        "--socket-mode=7",
        "--cookie=",
        "--cookie=a;b",
        "--cookie=a=b",
    ] {
        let line = refusal("", &[], &[bad]);
        let flag = bad.split('=').next().unwrap_or_default();
        assert!(line.contains(flag), "{bad}: {line}");
    }
}

#[test]
fn wipe_accepts_0_and_10_or_more() {
    for good in ["0", "10"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Process::command(folder.path(), &[]);
        command.env("RS_WIPE", good);
        Process::spawn(command).stop();
    }
    let line = refusal("", &[("RS_WIPE", "9")], &[]);
    assert!(line.contains("--wipe") && line.contains("10"), "{line}");
}

#[test]
fn unknown_options_and_commands_are_refused() {
    for key in [
        "redis-url",
        "Port",
        "colour",
        "help",
        "version",
        "config",
        "healthcheck",
    ] {
        let line = refusal(&format!("{key} = \"x\""), &[], &[]);
        assert!(line.contains("options.toml") && line.contains(key), "{line}");
    }
    assert!(refusal("[server]\nport = 1", &[], &[]).contains("options.toml"));
    assert!(refusal("", &[], &["--colour=red"]).contains("--colour"));
    assert!(refusal("", &[], &["serve"]).contains("serve"));
}

#[test]
fn values_of_a_wrong_type_are_refused() {
    for file in [
        "port = true",
        "port = [3000]",
        "host = { name = \"x\" }",
        "wipe = 1979-05-27",
    ] {
        let line = refusal(file, &[], &[]);
        let key = file.split(' ').next().unwrap_or_default();
        assert!(line.contains("options.toml") && line.contains(key), "{file}: {line}");
    }
}

#[test]
fn a_missing_or_broken_file_is_refused() {
    assert!(refusal("", &[], &["--config", "nowhere.toml"]).contains("nowhere.toml"));
    assert!(refusal("", &[("RS_CONFIG", "nowhere.toml")], &[]).contains("nowhere.toml"));
    assert!(refusal("", &[], &["--config", "."]).contains("cannot read ."));
    for broken in ["port = ", "port", "[port", "port = 1\nport = 2", "host = \"a\u{0}b\""] {
        let line = refusal(broken, &[], &[]);
        assert!(line.contains("options.toml"), "{broken:?}: {line}");
    }
}

#[test]
fn a_bad_value_in_the_file_is_refused_even_if_it_is_overridden() {
    let line = refusal("wipe = 9", &[("RS_WIPE", "600")], &["--wipe=600"]);
    assert!(line.contains("options.toml"), "{line}");
}

#[test]
fn a_near_cache_without_buffered_reads_is_refused() {
    let flags = ["--redis-url=redis://127.0.0.1:1", "--cachetime=1", "--touch=0"];
    let line = refusal("", &[], &flags);
    assert!(line.contains("--cachetime") && line.contains("--touch"), "{line}");
    let check = refusal("", &[], &["--cachetime=1", "--touch=0", "--redishost=127.0.0.1"]);
    assert_eq!(line, check);
}

#[test]
fn a_service_without_a_listener_is_refused() {
    let line = refusal("", &[], &["--host=none"]);
    assert!(line.contains("--host") && line.contains("--socket"), "{line}");
}

/// Otherwise the service would silently use the embedded store.
#[test]
fn redis_options_are_refused_without_a_redis_url() {
    let mut tried = 0;
    for option in Cli::command().get_arguments() {
        let key = option.get_id().as_str();
        let Some(variable) = option.get_env().and_then(|name| name.to_str()) else {
            continue;
        };
        if !key.starts_with("redis_") || key == "redis_url" {
            continue;
        }
        tried += 1;
        let value = match key {
            "redis_mode" => "cluster",
            "redis_master_tls" => "on",
            "redis_connections" | "redis_wait" => "1",
            _ => PASSWORD,
        };
        let flag = format!("--{}", option.get_long().expect("every option has a flag"));
        let given = format!("{flag}={value}");
        for flags in [&[&*given][..], &["check", &given], &[&given, "check"]] {
            let line = refusal("", &[], flags);
            assert!(line.starts_with(&format!("{flag} needs RS_REDIS_URL")), "{line}");
        }
        let line = refusal("", &[(variable, value)], &["check"]);
        assert!(line.starts_with(&format!("{variable} needs RS_REDIS_URL")), "{line}");
        let line = refusal(&format!("{key} = {value:?}"), &[], &[]);
        let named = format!("options.toml: {key} needs RS_REDIS_URL");
        assert!(line.starts_with(&named), "{line}");
    }
    assert_eq!(tried, 12);
}
