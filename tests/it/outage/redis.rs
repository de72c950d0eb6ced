//! A Redis of one test, to be killed, frozen and started again on the same port.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use deadpool_redis::redis::{Client, Connection, FromRedisValue, cmd};
use tempfile::TempDir;

use crate::process::{eventually, free_port, signal};

pub(super) struct Redis {
    port: u16,
    arguments: Vec<&'static str>,
    child: Option<Child>,
    /// Of no use once the process has ended: nothing is saved.
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

    /// One that wants `password`, which in a URL is written as `credentials` say.
    pub(super) fn with_password(password: &'static str, credentials: &'static str) -> Self {
        let mut redis = Self::away();
        redis.arguments = vec!["--requirepass", password];
        redis.credentials = credentials;
        redis.start();
        redis
    }

    pub(super) fn start(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]).args(&self.arguments);
        command.arg("--dir").arg(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server starts"));
        eventually("Redis", || self.try_connect());
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
        let mut words = command.split(' ');
        let mut request = cmd(words.next().expect("a command"));
        request.arg(words.collect::<Vec<_>>());
        let mut connection = self.try_connect().expect("Redis is up");
        request
            .query(&mut connection)
            .unwrap_or_else(|error| panic!("{command}: {error}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A frozen process dies of SIGKILL too.
        self.kill();
    }
}
