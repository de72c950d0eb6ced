//! Tests with files made on Windows: a byte order mark before the text, UTF-16 throughout, `\r\n` at the ends of lines.

use std::{ffi::OsString, fs, path::Path, process::Command};

use rest_sessions::config::{Cli, Config, Refusal};

use crate::process::{Process, finish, free_port};

/// `text` in the encodings in which editors and shells on Windows write it.
fn encodings(text: &str) -> [Vec<u8>; 4] {
    let text = text.replace('\n', "\r\n");
    let marked = format!("\u{feff}{text}");
    let units = || marked.encode_utf16();
    [
        text.clone().into_bytes(),
        marked.clone().into_bytes(),
        units().flat_map(u16::to_le_bytes).collect(),
        units().flat_map(u16::to_be_bytes).collect(),
    ]
}

fn parse(folder: &Path, file: &[u8]) -> Result<Config, String> {
    let path = folder.join("options.toml");
    fs::write(&path, file).expect("a file");
    let args = ["rest-sessions".into(), "--config".into(), path.into_os_string()];
    match Cli::parse_all(args.map(OsString::from)) {
        Ok(cli) => Ok(cli.config),
        Err(Refusal::Usage(line) | Refusal::Print(line)) => Err(line),
    }
}

#[test]
fn options_are_read_from_windows_files() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in encodings("cookie = \"first\"\n# Größe\ncache_size = 7\n") {
        let config = parse(folder.path(), &file).expect("it is valid");
        assert_eq!((&*config.cookie, config.cache_size), ("first", 7));
    }
    for broken in [
        &b"\xff\xfec\0o"[..],
        b"\xff\xfec\0o\0o",
        b"\xff\xfe\0\xd8",
        b"cookie = \"\xe9\"",
    ] {
        let line = parse(folder.path(), broken).expect_err("it is not text");
        assert!(line.contains("options.toml"), "{line}");
    }
}

#[test]
fn passwords_are_read_from_windows_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    for file in encodings("öpen sesame\nand no more\n")
        .into_iter()
        .chain(encodings("öpen sesame"))
    {
        fs::write(&path, file).expect("a file");
        let config = Config {
            redis_url: Some("redis://127.0.0.1:1".into()),
            redis_password_file: Some(path.clone()),
            redis_sentinel_password_file: Some(path.clone()),
            ..Config::default()
        };
        let address = config.redis().expect("it is valid").expect("there is a URL");
        let passwords = [address.password, address.sentinel_password];
        assert_eq!(passwords.map(Option::unwrap_or_default), ["öpen sesame"; 2]);
    }
    for empty in encodings("") {
        fs::write(&path, empty).expect("a file");
        let config = Config {
            redis_url: Some("redis://127.0.0.1:1".into()),
            redis_password_file: Some(path.clone()),
            ..Config::default()
        };
        let line = config.redis().err().expect("the file has no password");
        assert!(line.contains("no password in"), "{line}");
    }
}

#[test]
fn certificates_are_read_from_windows_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]);
    openssl.args(["-keyout", "redis.key", "-out", "ca.pem", "-subj", "/CN=test"]);
    let made = openssl
        .current_dir(folder.path())
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).expect("openssl wrote it");
    let (certificate, key) = (text("ca.pem"), text("redis.key"));
    let url = format!("rediss://127.0.0.1:{}", free_port());
    for (certificate, key) in encodings(&certificate).iter().zip(encodings(&key)) {
        fs::write(folder.path().join("ca.pem"), certificate).expect("a file");
        fs::write(folder.path().join("redis.key"), key).expect("a file");
        let flags = [
            "--redis-ca=ca.pem",
            "--redis-cert=ca.pem",
            "--redis-key=redis.key",
            "--redis-url",
            &url,
        ];
        // The files are valid: the program listens, although Redis is unreachable.
        Process::start(folder.path(), &flags).stop();
    }
    fs::write(folder.path().join("ca.pem"), "nothing").expect("a file");
    let finished = finish(Process::command(
        folder.path(),
        &["--redis-ca=ca.pem", "--redis-url", &url],
    ));
    assert!(finished.refusal(2).contains("ca.pem holds no certificate"));
}
