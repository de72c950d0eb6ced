//! Invalid Redis options end the start with status 2 and one line that names the option or the file.

use std::fs;

use super::tls::create_certificates;
use crate::process::{Process, finish};

#[test]
fn invalid_redis_options_are_refused_at_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("secret"), "opensesame\n").expect("a file");
    fs::write(folder.path().join("empty"), "\n").expect("a file");
    create_certificates(folder.path());
    let redis = ["--redis-url", "redis://127.0.0.1:1"];
    let tls = ["--redis-url", "rediss://127.0.0.1:1"];
    for (base, args, mentions) in [
        (
            redis,
            &["--redis-password", "a", "--redis-password-file", "secret"][..],
            "--redis-password-file",
        ),
        (redis, &["--redis-password-file", "nowhere"], "nowhere"),
        (redis, &["--redis-password-file", "empty"], "empty"),
        (redis, &["--redis-ca", "ca.pem"], "rediss://"),
        (tls, &["--redis-ca", "nowhere"], "nowhere"),
        (tls, &["--redis-cert", "secret"], "--redis-key"),
        (
            tls,
            &["--redis-cert", "secret", "--redis-key", "secret"],
            "certificates",
        ),
        (["--redis-url", "redis://a,redis://b"], &[], "--redis-mode"),
        (["--redis-url", ","], &[], "URL"),
        (["--redis-url", "redis://:op/ensesame@127.0.0.1:1"], &[], "%2F"),
        (["--redis-url", "redis://127.0.0.1:1,127.0.0.1:2"], &[], "%2C"),
        (redis, &["--redis-master-tls", "on"], "--redis-master-tls"),
        (
            ["--redis-url", "redis://127.0.0.1:1/2"],
            &["--redis-mode", "cluster"],
            "database",
        ),
        (["--redis-url", "redis://127.0.0.1:1/-1"], &[], "number of a database"),
        (["--redis-url", "redis+unix:///a?db=-1"], &[], "number of a database"),
        (
            ["--redis-url", "redis://127.0.0.1:1,redis://127.0.0.1:2/2"],
            &["--redis-mode", "cluster"],
            "database",
        ),
        (
            ["--redis-url", "redis://127.0.0.1:1,rediss://127.0.0.1:2"],
            &["--redis-mode", "cluster"],
            "rediss://",
        ),
        (
            [
                "--redis-url",
                "redis://:sesame@127.0.0.1:1,redis://:opensesame@127.0.0.1:2",
            ],
            &["--redis-mode", "cluster"],
            "password",
        ),
        (
            ["--redis-url", "redis://a:sesame@h:1,redis://h:2,redis://b:sesame@h:3"],
            &["--redis-mode", "cluster"],
            "user",
        ),
        (tls, &["--redis-ca", "secret"], "secret holds no certificate"),
        (
            ["--redis-url", "redis+unix:///a"],
            &["--redis-mode", "cluster"],
            "socket",
        ),
        (
            ["--redis-url", "redis+unix:///a"],
            &["--redis-mode", "sentinel"],
            "socket",
        ),
    ] {
        let mut all = base.to_vec();
        all.extend(args);
        let finished = finish(Process::command(folder.path(), &all));
        let line = finished.refusal(2);
        assert!(line.contains(mentions) && !line.contains("sesame"), "{all:?}: {line}");
    }
}
