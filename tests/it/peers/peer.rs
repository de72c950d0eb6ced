//! The npm package redis-sessions in a Node process, driven through tests/peers/peer.js. Dropping it ends the process.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use crate::support::redis_server;

/// The major version of redis-sessions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Version {
    V3,
    V4,
}

/// One app of a peer.
pub(super) struct Peer {
    child: Child,
    pipes: Mutex<(ChildStdin, Receiver<String>)>,
    app: &'static str,
}

impl Peer {
    /// Starts a peer on the private Redis with options of tests/peers/peer.js.
    pub(super) fn start(version: Version, app: &'static str, namespace: &str, mut options: Value) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        assert!(
            folder.join("node_modules").is_dir(),
            "the npm packages of tests/peers are missing: run tests/setup.sh"
        );
        options["namespace"] = json!(namespace);
        options["options"] = json!({ "url": redis_server::url() });
        let version = match version {
            Version::V3 => "3",
            Version::V4 => "4",
        };
        let child = Command::new("node")
            // Node 20 warns that its mock clock is experimental.
            .arg("--no-warnings")
            .arg(folder.join("peer.js"))
            .args([version, &options.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start node, install Node 20 or later: {error}"));
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            pipes: Mutex::new((stdin, lines)),
            app,
        }
    }

    /// Calls an operation on the peer's app, which must succeed; returns the JSON text of the answer.
    pub(super) fn call(&self, name: &str, with: Value) -> String {
        self.call_with_data(name, with, "")
    }

    /// As [`Self::call`], with `d` as JSON text; empty for none.
    pub(super) fn call_with_data(&self, name: &str, mut with: Value, d: &str) -> String {
        with["app"] = json!(self.app);
        let mut with = with.to_string();
        if !d.is_empty() {
            // Spliced in as text, since parsing it would lose the order of the keys.
            with.truncate(with.len() - 1);
            with = format!(r#"{with},"d":{d}}}"#);
        }
        self.exchange(name, &with)
    }

    /// Advances the peer's clock if it was started with a mock clock.
    pub(super) fn advance(&self, seconds: u64) {
        self.exchange("advance", &json!({ "seconds": seconds }).to_string());
    }

    fn exchange(&self, call: &str, with: &str) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            call: &'a str,
            with: &'a RawValue,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Reply<'a> {
            Answer(#[serde(borrow)] &'a RawValue),
            Error(String),
        }
        let with = serde_json::from_str(with).expect("JSON");
        let line = serde_json::to_string(&Line { call, with }).expect("JSON");
        let mut pipes = self.pipes.lock().expect("the lock is not poisoned");
        writeln!(pipes.0, "{line}").unwrap_or_else(|error| panic!("the peer has ended before {call}: {error}"));
        let reply = pipes.1.recv_timeout(Duration::from_mins(1));
        drop(pipes);
        let reply = reply.unwrap_or_else(|error| panic!("no answer of the peer to {call}: {error}"));
        match serde_json::from_str(&reply).expect("an answer or an error") {
            Reply::Answer(answer) => answer.get().to_owned(),
            Reply::Error(error) => panic!("{call} of the peer: {error}"),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Errors mean that it has already exited; the next call would have failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
