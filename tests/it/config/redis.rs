//! Tests of the options that select Redis, including those of the original.

use std::net::TcpListener;

use rest_sessions::config::Config;

use crate::process::{Process, eventually};

fn url(change: impl FnOnce(&mut Config)) -> Option<String> {
    let mut config = Config::default();
    change(&mut config);
    config.redis_urls()
}

#[test]
fn redis_is_off_unless_an_option_selects_it() {
    assert_eq!(url(|_| ()), None);
}

#[test]
fn host_and_port_default_independently() {
    let both = |host: Option<&str>, port| {
        url(|config| {
            config.redishost = host.map(str::to_owned);
            config.redisport = port;
        })
    };
    assert_eq!(both(Some("cache"), None).as_deref(), Some("redis://cache:6379"));
    assert_eq!(both(None, Some(6380)).as_deref(), Some("redis://127.0.0.1:6380"));
    assert_eq!(both(Some("cache"), Some(6380)).as_deref(), Some("redis://cache:6380"));
    assert_eq!(both(Some("::1"), None).as_deref(), Some("redis://[::1]:6379"));
    assert_eq!(both(Some("[::1]"), None).as_deref(), Some("redis://[::1]:6379"));
}

#[test]
fn a_url_beats_host_and_port_and_redis_url_beats_redisurl() {
    let old = url(|config| {
        config.redisurl = Some("redis://old".into());
        config.redishost = Some("host".into());
    });
    assert_eq!(old.as_deref(), Some("redis://old"));
    let new = url(|config| {
        config.redis_url = Some("redis://new".into());
        config.redisurl = Some("redis://old".into());
    });
    assert_eq!(new.as_deref(), Some("redis://new"));
}

/// Asserts that the program connects to the Redis that `variables` select, and does not open the embedded store.
fn assert_reaches_redis(variables: impl FnOnce(u16) -> Vec<(&'static str, String)>) {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = TcpListener::bind("127.0.0.1:0").expect("a port");
    redis.set_nonblocking(true).expect("a listener need not block");
    let port = redis.local_addr().expect("an address").port();
    let variables = variables(port);
    let mut command = Process::command(folder.path(), &["--timeout", "0.2"]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let _process = Process::spawn(command);
    eventually(&format!("{variables:?}: a connection"), || redis.accept().ok());
    assert!(!folder.path().join("data").exists(), "{variables:?}");
}

#[test]
fn every_variable_of_the_original_selects_redis() {
    let local = |port| format!("redis://127.0.0.1:{port}");
    assert_reaches_redis(|port| vec![("RS_REDIS_URL", local(port))]);
    assert_reaches_redis(|port| vec![("RS_REDISURL", local(port))]);
    assert_reaches_redis(|port| vec![("RS_REDISPORT", port.to_string())]);
    assert_reaches_redis(|port| vec![("RS_REDISHOST", "127.0.0.1".into()), ("RS_REDISPORT", port.to_string())]);
    assert_reaches_redis(|port| vec![("RS_REDIS_URL", String::new()), ("RS_REDISURL", local(port))]);
}
