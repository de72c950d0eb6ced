//! Tests of the text of refusals, errors and `--help`: no password, no control characters, and lines of bounded length.

use std::fs;

use super::refusal;
use crate::process::{Process, finish};

#[test]
fn no_refusal_quotes_a_password() {
    let url = "redis://user:opensesame@";
    // `refusal` asserts that the line does not contain the password.
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
fn a_refusal_prints_a_bad_value_in_one_short_line() {
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

/// Asserts that a line is short and contains no character that a terminal interprets.
fn assert_plain(line: &str) {
    assert!(line.chars().count() < 1100, "{} characters", line.chars().count());
    let odd = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
    assert!(!line.contains(odd), "{line:?}");
}

#[test]
fn an_error_prints_a_bad_host_or_path_in_one_short_line() {
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
fn help_omits_long_values_and_values_with_control_characters() {
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
