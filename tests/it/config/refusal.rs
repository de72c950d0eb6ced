//! A configuration that cannot be right ends the start: one line that names the culprit, exit code 2, and no password.

use std::fs;

use clap::CommandFactory;
use rest_sessions::config::Cli;

use crate::process::{Process, finish};

const PASSWORD: &str = "opensesame";

/// The line with which the program refuses `file` (if it has text), environment and flags.
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

/// A value that each option must refuse; `None` where any text may be right.
fn bad_value(option: &str) -> Option<&'static str> {
    match option {
        // Names and files: what is there decides.
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
fn a_bad_value_is_refused_wherever_it_comes_from() {
    let mut tried = 0;
    for option in Cli::command().get_arguments() {
        let key = option.get_id().as_str();
        let (Some(variable), Some(bad)) = (option.get_env().and_then(|name| name.to_str()), bad_value(key)) else {
            continue;
        };
        tried += 1;
        let flag = format!("--{}", option.get_long().expect("every option has a flag"));
        // A URL is looked at by the store, which does not know where it came from.
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
fn bounds_hold() {
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
fn wipe_takes_nothing_or_ten_and_more() {
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
fn unknown_names_are_refused() {
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
fn a_file_that_cannot_be_read_is_refused() {
    assert!(refusal("", &[], &["--config", "nowhere.toml"]).contains("nowhere.toml"));
    assert!(refusal("", &[("RS_CONFIG", "nowhere.toml")], &[]).contains("nowhere.toml"));
    assert!(refusal("", &[], &["--config", "."]).contains("cannot read ."));
    for broken in ["port = ", "port", "[port", "port = 1\nport = 2", "host = \"a\u{0}b\""] {
        let line = refusal(broken, &[], &[]);
        assert!(line.contains("options.toml"), "{broken:?}: {line}");
    }
}

#[test]
fn a_wrong_file_is_refused_even_where_flags_and_environment_win() {
    let line = refusal("wipe = 9", &[("RS_WIPE", "600")], &["--wipe=600"]);
    assert!(line.contains("options.toml"), "{line}");
}

#[test]
fn no_refusal_quotes_a_password() {
    let url = "redis://user:opensesame@";
    // `refusal` looks for it.
    refusal(&format!("redis_url = \"{url}host"), &[], &[]);
    refusal(&format!("redis_url = {url}host"), &[], &[]);
    refusal(&format!("redis_url = [\"{url}host\"]"), &[], &[]);
    refusal(
        &format!("redis_url = \"{url}host\"\nredis_url = \"{url}other\""),
        &[],
        &[],
    );
    refusal(&format!("redis_url = \"{url}host:port\""), &[], &[]);
    refusal(&format!("redisurl = \"{url}[::1\""), &[], &[]);
    refusal("", &[("RS_REDIS_URL", &format!("{url}host:port"))], &[]);
    refusal("", &[("RS_REDIS_URL", &format!("{url}host/database"))], &[]);
    refusal("", &[("RS_REDIS_URL", "user:opensesame@host")], &[]);
    refusal("", &[("RS_REDISURL", &format!("{url}host:99999"))], &[]);
    refusal("", &[("RS_REDISHOST", &format!("{url}host"))], &[]);
    refusal("", &[], &[&format!("--redis-url={url}host:port")]);
    refusal("", &[], &["--redis-url", "redis+unix://user:opensesame"]);
}

#[test]
fn a_near_cache_without_late_reads_is_refused() {
    let flags = ["--redis-url=redis://127.0.0.1:1", "--cachetime=1", "--touch=0"];
    let line = refusal("", &[], &flags);
    assert!(line.contains("--cachetime") && line.contains("--touch"), "{line}");
    let check = refusal("", &[], &["--cachetime=1", "--touch=0", "--redishost=127.0.0.1"]);
    assert_eq!(line, check);
}

#[test]
fn a_service_that_listens_nowhere_is_refused() {
    let line = refusal("", &[], &["--host=none"]);
    assert!(line.contains("--host") && line.contains("--socket"), "{line}");
}

/// Otherwise the embedded store would take the sessions, unseen.
#[test]
fn what_is_said_of_redis_needs_a_redis() {
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

#[test]
fn what_is_printed_of_a_value_is_one_short_line() {
    let odd = "a\nb\r\u{1b}[2J\u{7}\u{202e}\u{2028}c";
    let long = "x".repeat(50_000);
    for value in [odd, &long] {
        let toml = |text: &str| {
            format!("{text:?}")
                .replace("\\u{1b}", "\\u001b")
                .replace("\\u{7}", "\\u0007")
        };
        let toml = toml(value)
            .replace("\\u{202e}", "\\u202e")
            .replace("\\u{2028}", "\\u2028");
        let of_file = [
            "port = V",
            "V = 1",
            "cookie = V",
            "loglevel = V",
            "redis_url = V",
            "[V]",
            "host = [V, 1",
        ];
        let files = of_file.map(|line| line.replace('V', &toml));
        let files = files.iter().map(|file| (file.as_str(), [].as_slice(), String::new()));
        let of_flags = [
            "--port=V",
            "--V",
            "-V",
            "V",
            "--cookie=V",
            "--namespace=V",
            "--config=V",
            "--loglevel=V",
            "--redis-url=V",
            "--redis-url=http://V",
            "--redis-url=rediss://h --redis-ca=V",
            "--redis-url=redis://h --redis-password-file=V",
            "--redis-mode=V",
            "--timeout=V",
            "--socket-mode=V",
        ];
        let flags = of_flags.map(|flag| flag.replace('V', value));
        let flags = flags.iter().map(|flag| ("", [].as_slice(), flag.clone()));
        let variables = [
            ("RS_PORT", value),
            ("RS_COOKIE", value),
            ("RS_CONFIG", value),
            ("RS_REDIS_URL", value),
        ];
        let variables = variables.map(|variable| [variable]);
        let variables = variables
            .iter()
            .map(|variable| ("", variable.as_slice(), String::new()));
        for (file, environment, flags) in files.chain(flags).chain(variables) {
            let flags: Vec<_> = flags.split(' ').filter(|flag| !flag.is_empty()).collect();
            let line = refusal(file, environment, &flags);
            assert_plain(&line);
        }
    }
}

/// One line that a terminal shows as it is, and that nobody has to scroll through.
fn assert_plain(line: &str) {
    assert!(line.chars().count() < 1100, "{} characters", line.chars().count());
    let odd = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
    assert!(!line.contains(odd), "{line:?}");
}

#[test]
fn so_is_what_is_printed_of_a_place() {
    let odd = "a\nb\u{1b}[2J";
    let folder = tempfile::tempdir().expect("a folder");
    for (flag, code) in [
        ("--host=V", 1),
        ("--data-dir=taken/V", 1),
        ("--socket=no/V", 1),
        ("healthcheck --host=V", 1),
        ("healthcheck --host=none --socket=V", 1),
        ("check --data-dir=V", 2),
    ] {
        fs::write(folder.path().join("taken"), "a file").expect("a file");
        for value in [odd, &"x".repeat(5000)] {
            let flags: Vec<_> = flag.split(' ').map(|flag| flag.replace('V', value)).collect();
            let flags: Vec<_> = flags.iter().map(String::as_str).collect();
            let mut command = Process::command(folder.path(), &flags);
            command.env("RS_LOGLEVEL", "none");
            let finished = finish(command);
            assert_plain(finished.refusal(code));
        }
    }
    let mut command = Process::command(folder.path(), &["--socket", "a\nb.sock", "--data-dir", "c\nd"]);
    command.env("RS_LOGLEVEL", "info");
    let log = Process::spawn(command).stop();
    assert!(log.contains(r"a\nb.sock"), "{log}");
    let begun = |line: &str| line.starts_with("20");
    assert!(log.lines().all(begun), "{log}");
}

#[test]
fn so_is_what_help_prints_of_a_variable() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Process::command(folder.path(), &["--help"]);
    command.envs([
        ("RS_DATA_DIR", "a\u{1b}[2Jb"),
        ("RS_HOST", &*"x".repeat(5000)),
        ("RS_COOKIE", "plain"),
    ]);
    let help = finish(command).stdout;
    assert!(
        help.contains("[env: RS_DATA_DIR]") && help.contains("[env: RS_COOKIE=plain]"),
        "{help}"
    );
    assert!(!help.contains('\u{1b}') && !help.contains("xxxx"), "{help}");
}
