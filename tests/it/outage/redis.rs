//! A Redis of one test, to be killed, frozen and started again on the same port.

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
    /// In a URL, with the `@` behind it.
    credentials: &'static str,
}

impl Redis {
    /// One that is not running yet.
    pub(super) fn away() -> Self {
        Self {
            port: free_port(),
            arguments: Vec::new(),
            child: None,
            folder: tempfile::tempdir().expect("a folder"),
            credentials: "",
        }
    }

    pub(super) fn running() -> Self {
        let mut redis = Self::away();
        redis.start();
        redis
    }

    /// One with further options, as in its configuration file.
    pub(super) fn with(arguments: &[&str]) -> Self {
        let mut redis = Self::away();
        redis.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        redis.start();
        redis
    }

    /// One whose answers outlive it: every change is on disk before it is answered.
    pub(super) fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// One that wants `password`, which in a URL is written as `credentials` say.
    pub(super) fn with_password(password: &'static str, credentials: &'static str) -> Self {
        let mut redis = Self::away();
        redis.arguments = vec!["--requirepass".into(), password.into()];
        redis.credentials = credentials;
        redis.start();
        redis
    }

    pub(super) fn start(&mut self) {
        self.launch(&[]);
        eventually("Redis", || self.try_connect());
    }

    /// Starts it with so many microseconds for each key that it loads, and does not wait for that.
    pub(super) fn start_slowly(&mut self, each: u32) {
        let often = ["--loading-process-events-interval-bytes", "1024"];
        self.launch(&[&["--key-load-delay", &each.to_string()], &often[..]].concat());
        eventually("Redis", || {
            let loading = self
                .try_ask::<String>("PING")
                .is_err_and(|error| error.code() == Some("LOADING"));
            loading.then_some(())
        });
    }

    /// Waits until it has loaded what it has to.
    pub(super) fn loaded(&self) {
        let () = self
            .try_ask("CONFIG SET key-load-delay 0")
            .expect("it takes this meanwhile");
        eventually("loaded", || self.try_ask::<String>("PING").ok());
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

    /// Ends it without a word to anybody.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it can be waited for");
        }
    }

    /// Stops it: connections stay, and nothing answers.
    pub(super) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(super) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("it runs").id(), name);
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

    /// What a command answers, its words separated by spaces.
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
        // A frozen process dies of SIGKILL too.
        self.kill();
    }
}
