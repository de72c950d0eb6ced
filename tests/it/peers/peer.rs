//! A redis-sessions of npm in a Node process of its own, driven by tests/peers/peer.js. It ends when it is dropped.

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

/// Which redis-sessions.
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
            "these tests need the npm packages of tests/peers: please run tests/setup.sh"
        );
        options["namespace"] = json!(namespace);
        options["options"] = json!({ "url": redis_server::url() });
        let version = match version {
            Version::V3 => "3",
            Version::V4 => "4",
        };
        let child = Command::new("node")
            // The clock of its tests still counts as an experiment in Node 20.
            .arg("--no-warnings")
            .arg(folder.join("peer.js"))
            .args([version, &options.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("these tests need Node 20 or later in the PATH: {error}"));
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

    /// Calls an operation, which must succeed, for the peer's app. Returns the answer as it was written.
    pub(super) fn call(&self, name: &str, with: Value) -> String {
        self.call_with_data(name, with, "")
    }

    /// The same with `d`, given as JSON text; empty for none.
    pub(super) fn call_with_data(&self, name: &str, mut with: Value, d: &str) -> String {
        with["app"] = json!(self.app);
        let mut with = with.to_string();
        if !d.is_empty() {
            // As text: a value of our own would have lost the order of the keys.
            with.truncate(with.len() - 1);
            with = format!(r#"{with},"d":{d}}}"#);
        }
        self.exchange(name, &with)
    }

    /// Moves the peer's clock, if it was started with one that stands still.
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
        let mut pipes = self.pipes.lock().expect("nobody panics with it");
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
        // It may have ended by itself, and then a call has told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
