//! Tests that the example file `config/rest-sessions.toml` and the code have the same options and defaults.

use std::{collections::BTreeMap, ffi::OsString};

use clap::CommandFactory;
use rest_sessions::config::{Cli, Config};

const EXAMPLE: &str = include_str!("../../../config/rest-sessions.toml");

/// Options without a default, which have an example instead.
const EXAMPLES: [&str; 12] = [
    "socket",
    "redis_url",
    "redisurl",
    "redishost",
    "redisport",
    "redis_username",
    "redis_password",
    "redis_password_file",
    "redis_sentinel_password_file",
    "redis_ca",
    "redis_cert",
    "redis_key",
];

/// The lines that set an option, without the `#` in front. Lines of prose have a space or another `#` after the first.
fn options() -> impl Iterator<Item = &'static str> {
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
    lines.filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
}

/// The options of the program that a file can set, and their defaults.
fn defaults() -> BTreeMap<String, Option<String>> {
    let command = Cli::command();
    let flags = command
        .get_arguments()
        .filter(|arg| !["help", "version", "config"].contains(&arg.get_id().as_str()));
    flags
        .map(|arg| {
            let default = arg.get_default_values().first();
            let default = default.map(|value| value.to_str().expect("defaults are text").to_owned());
            (arg.get_id().to_string(), default)
        })
        .collect()
}

fn parse(file: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("options.toml");
    std::fs::write(&path, file).expect("a file");
    let args = ["rest-sessions".into(), "--config".into(), path.into_os_string()];
    Cli::parse_all(args.map(OsString::from))
        .expect("the file is valid")
        .config
}

/// Every field as text. There is no `..`, so a new field that is missing here does not compile.
fn fields(config: Config) -> Vec<(&'static str, String)> {
    let Config {
        config: _,
        host,
        port,
        socket,
        socket_mode,
        cookie,
        redis_url,
        redisurl,
        redishost,
        redisport,
        redis_mode,
        redis_master,
        redis_master_tls,
        redis_username,
        redis_password,
        redis_password_file,
        redis_sentinel_password_file,
        redis_ca,
        redis_cert,
        redis_key,
        shards,
        redis_connections,
        redis_wait,
        touch,
        cachetime,
        cachemax,
        namespace,
        data_dir,
        cache_size,
        wipe,
        timeout,
        idle_timeout,
        max_connections,
        drain_delay,
        drain_timeout,
        threads,
        loglevel,
        log_format,
        redis_option_set: _,
        warnings: _,
    } = config;
    vec![
        ("host", host),
        ("port", port.to_string()),
        ("socket", socket.unwrap_or_default().display().to_string()),
        ("socket_mode", socket_mode.to_string()),
        ("cookie", cookie),
        ("redis_url", redis_url.unwrap_or_default()),
        ("redisurl", redisurl.unwrap_or_default()),
        ("redishost", redishost.unwrap_or_default()),
        ("redisport", redisport.map(|port| port.to_string()).unwrap_or_default()),
        ("redis_mode", format!("{redis_mode:?}")),
        ("redis_master", redis_master),
        ("redis_master_tls", format!("{redis_master_tls:?}")),
        ("redis_username", redis_username.unwrap_or_default()),
        ("redis_password", redis_password.unwrap_or_default()),
        (
            "redis_password_file",
            redis_password_file.unwrap_or_default().display().to_string(),
        ),
        (
            "redis_sentinel_password_file",
            redis_sentinel_password_file.unwrap_or_default().display().to_string(),
        ),
        ("redis_ca", redis_ca.unwrap_or_default().display().to_string()),
        ("redis_cert", redis_cert.unwrap_or_default().display().to_string()),
        ("redis_key", redis_key.unwrap_or_default().display().to_string()),
        ("shards", shards.to_string()),
        ("redis_connections", redis_connections.to_string()),
        ("redis_wait", redis_wait.to_string()),
        ("touch", format!("{touch:?}")),
        ("cachetime", format!("{cachetime:?}")),
        ("cachemax", cachemax.to_string()),
        ("namespace", namespace),
        ("data_dir", data_dir.display().to_string()),
        ("cache_size", cache_size.to_string()),
        ("wipe", wipe.to_string()),
        ("timeout", format!("{timeout:?}")),
        ("idle_timeout", format!("{idle_timeout:?}")),
        ("max_connections", max_connections.to_string()),
        ("drain_delay", format!("{drain_delay:?}")),
        ("drain_timeout", format!("{drain_timeout:?}")),
        ("threads", threads.to_string()),
        ("loglevel", format!("{loglevel:?}")),
        ("log_format", format!("{log_format:?}")),
    ]
}

#[test]
fn the_example_file_sets_nothing() {
    let table: toml::Table = toml::from_str(EXAMPLE).expect("it is TOML");
    assert!(table.is_empty(), "{table:?}");
    assert_eq!(fields(parse(EXAMPLE)), fields(Config::default()));
}

#[test]
fn the_example_file_names_each_option_exactly_once() {
    let mut in_file: Vec<_> = options()
        .map(|line| line.split_once(" = ").expect("key = value").0)
        .collect();
    in_file.sort_unstable();
    let in_code = defaults();
    assert_eq!(in_file, in_code.keys().collect::<Vec<_>>());
}

#[test]
fn the_example_file_shows_the_defaults() {
    for line in options() {
        let (key, value) = line.split_once(" = ").expect("key = value");
        let default = &defaults()[key];
        let shown = value.trim_matches('"');
        match default {
            Some(default) => assert_eq!(shown, default, "{key}"),
            None => assert!(
                EXAMPLES.contains(&key) && !shown.is_empty(),
                "{key} has a default in the code or no example"
            ),
        }
    }
}

#[test]
fn the_uncommented_example_file_changes_no_default() {
    let everything = options().fold(String::new(), |file, line| file + line + "\n");
    let without_examples = |fields: Vec<(&'static str, String)>| -> Vec<_> {
        fields.into_iter().filter(|(key, _)| !EXAMPLES.contains(key)).collect()
    };
    assert_eq!(
        without_examples(fields(parse(&everything))),
        without_examples(fields(Config::default()))
    );
}

#[test]
fn the_program_reads_every_option_of_a_file() {
    let changed = r#"
        host = "::1"
        port = 1
        socket = "s"
        socket_mode = "0600"
        cookie = "t"
        redis_url = "redis://a"
        redisurl = "redis://b"
        redishost = "c"
        redisport = 2
        redis_mode = "cluster"
        redis_master = "m"
        redis_master_tls = "on"
        redis_username = "u"
        redis_password = "p"
        redis_password_file = "f"
        redis_sentinel_password_file = "g"
        redis_ca = "h"
        redis_cert = "i"
        redis_key = "j"
        shards = 12
        redis_connections = 3
        redis_wait = 2
        touch = 0.5
        cachetime = 0.5
        cachemax = 5
        namespace = "d"
        data_dir = "e"
        cache_size = 4
        wipe = 11
        timeout = 0.5
        idle_timeout = 6
        max_connections = 7
        drain_delay = 8
        drain_timeout = 9
        threads = 10
        loglevel = "trace"
        log_format = "json"
    "#;
    let (before, after) = (fields(Config::default()), fields(parse(changed)));
    for ((key, before), (_, after)) in before.iter().zip(&after) {
        assert_ne!(before, after, "{key} is not read from the file");
    }
    let table: toml::Table = toml::from_str(changed).expect("it is TOML");
    assert_eq!(table.len(), after.len());
}
