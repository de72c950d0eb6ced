//! A Redis server of a single test, which can kill, freeze and restart it on the same port.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use deadpool_redis::redis::{Client, Connection, FromRedisValue, RedisResult, cmd};
use tempfile::TempDir;

use crate::process::{eventually, free_port, signal};

pub(super) struct Redis {
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
    folder: TempDir,
    /// User and password for a URL, including the `@`.
    credentials: &'static str,
}

impl Redis {
    /// A server that is not running yet.
    pub(super) fn stopped() -> Self {
        Self {
            port: free_port(),
            arguments: Vec::new(),
            child: None,
            folder: tempfile::tempdir().expect("a temporary folder"),
            credentials: "",
        }
    }

    pub(super) fn running() -> Self {
        let mut redis = Self::stopped();
        redis.start();
        redis
    }

    /// A running server with further options.
    pub(super) fn with(arguments: &[&str]) -> Self {
        let mut redis = Self::stopped();
        redis.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        redis.start();
        redis
    }

    /// A running server that syncs every change to disk before it answers.
    pub(super) fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// A running server that requires `password`; `credentials` is its form in a URL.
    pub(super) fn with_password(password: &'static str, credentials: &'static str) -> Self {
        let mut redis = Self::stopped();
        redis.arguments = vec!["--requirepass".into(), password.into()];
        redis.credentials = credentials;
        redis.start();
        redis
    }

    pub(super) fn start(&mut self) {
        self.launch(&[]);
        eventually("Redis", || self.try_connect());
    }

    /// Starts it with a delay for each key that it loads, in microseconds, and returns while it is loading.
    pub(super) fn start_slowly(&mut self, delay_per_key: u32) {
        // It answers clients between chunks of this many bytes.
        let chunks = ["--loading-process-events-interval-bytes", "1024"];
        self.launch(&[&["--key-load-delay", &delay_per_key.to_string()], &chunks[..]].concat());
        eventually("Redis", || {
            let loading = self
                .try_ask::<String>("PING")
                .is_err_and(|error| error.code() == Some("LOADING"));
            loading.then_some(())
        });
    }

    /// Waits until it has loaded its data.
    pub(super) fn await_loaded(&self) {
        let () = self
            .try_ask("CONFIG SET key-load-delay 0")
            .expect("CONFIG SET works while loading");
        eventually("Redis has loaded", || self.try_ask::<String>("PING").ok());
    }

    fn launch(&mut self, more: &[&str]) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command
            .args(["--save", "", "--appendonly", "no"])
            .args(&self.arguments)
            .args(more);
        command.arg("--dir").arg(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server starts"));
    }

    /// Kills it with SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
    }

    /// Stops the process with SIGSTOP: connections stay open without any reply.
    pub(super) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(super) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("a running server").id(), name);
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}127.0.0.1:{}", self.credentials, self.port)
    }

    fn try_connect(&self) -> Option<Connection> {
        let client = Client::open(self.url()).expect("a URL");
        client.get_connection_with_timeout(Duration::from_secs(1)).ok()
    }

    /// Runs a command, written as in redis-cli without quoting, and returns its reply.
    pub(super) fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        self.try_ask(command)
            .unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    pub(super) fn try_ask<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let mut words = command.split(' ');
        let mut request = cmd(words.next().expect("a command"));
        request.arg(words.collect::<Vec<_>>());
        let client = Client::open(self.url()).expect("a URL");
        request.query(&mut client.get_connection_with_timeout(Duration::from_secs(1))?)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // SIGKILL also ends a frozen process.
        self.kill();
    }
}
