//! A master, a replica and three sentinels, whose passwords differ from those of the servers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use deadpool_redis::redis::{Client, FromRedisValue, RedisResult, cmd};
use tempfile::TempDir;

use crate::process::{Process, eventually, free_port};

/// The password of master and replica.
pub(super) const PASSWORD: &str = "opensesame";
/// The password of the sentinels.
pub(super) const SENTINEL_PASSWORD: &str = "whogoesthere";
/// Milliseconds without a reply after which the sentinels consider a master down.
const DOWN_AFTER: u64 = 1000;

/// A redis-server process: a server or a sentinel.
pub(super) struct Node {
    pub(super) port: u16,
    child: Child,
    folder: PathBuf,
    arguments: Vec<String>,
}

impl Node {
    fn start(folder: &Path, name: &str, arguments: Vec<String>) -> Self {
        let (port, folder) = (free_port(), folder.join(name));
        fs::create_dir(&folder).expect("a folder");
        let child = launch(port, &folder, &arguments);
        Self {
            port,
            child,
            folder,
            arguments,
        }
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    pub(super) fn start_again(&mut self) {
        self.child = launch(self.port, &self.folder, &self.arguments);
    }

    pub(super) fn ask<T: FromRedisValue>(&self, password: &str, command: &str) -> RedisResult<T> {
        let url = format!("redis://:{password}@127.0.0.1:{}", self.port);
        let mut connection = Client::open(url)?.get_connection_with_timeout(Duration::from_secs(1))?;
        let mut words = command.split(' ');
        let mut request = cmd(words.next().expect("a command"));
        request.arg(words.collect::<Vec<_>>()).query(&mut connection)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(port: u16, folder: &Path, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command
        .args(arguments)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("redis-server starts")
}

/// A master, a replica and three sentinels.
pub(super) struct Watched {
    /// The initial master, then its replica.
    pub(super) servers: [Node; 2],
    pub(super) sentinels: Vec<Node>,
    _folder: TempDir,
}

impl Watched {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = |name, master: Option<u16>| {
            let mut arguments = vec!["--save", "", "--requirepass", PASSWORD, "--masterauth", PASSWORD]
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>();
            if let Some(port) = master {
                arguments.extend(["--replicaof".into(), "127.0.0.1".into(), port.to_string()]);
            }
            arguments.extend(["--repl-diskless-sync-delay".into(), "0".into()]);
            Node::start(folder.path(), name, arguments)
        };
        let master = server("master", None);
        let replica = server("replica", Some(master.port));
        // Sentinels look for replicas at their start and then only every ten seconds.
        eventually("the replica follows", || {
            let info: String = replica.ask(PASSWORD, "INFO replication").ok()?;
            info.contains("master_link_status:up").then_some(())
        });
        let sentinels = (0..3).map(|n| {
            let file = folder.path().join(format!("sentinel-{n}.conf"));
            let lines = format!(
                "requirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n\
                 sentinel monitor sessions 127.0.0.1 {} 2\nsentinel auth-pass sessions {PASSWORD}\n\
                 sentinel down-after-milliseconds sessions {DOWN_AFTER}\nsentinel failover-timeout sessions 3000\n",
                master.port
            );
            fs::write(&file, lines).expect("a file");
            Node::start(
                folder.path(),
                &format!("sentinel-{n}"),
                vec![file.display().to_string(), "--sentinel".into()],
            )
        });
        let watched = Self {
            sentinels: sentinels.collect(),
            servers: [master, replica],
            _folder: folder,
        };
        eventually("the sentinels know all nodes", || {
            let known = |sentinel: &Node| {
                let info: String = sentinel.ask(SENTINEL_PASSWORD, "INFO sentinel").ok()?;
                info.contains("slaves=1,sentinels=3").then_some(())
            };
            watched.sentinels.iter().map(known).collect::<Option<Vec<_>>>()
        });
        watched
    }

    /// The master's port by a majority of the sentinels.
    pub(super) fn master(&self) -> Option<u16> {
        let port_of_master = |sentinel: &Node| {
            let (_, port): (String, u16) = sentinel
                .ask(SENTINEL_PASSWORD, "SENTINEL GET-MASTER-ADDR-BY-NAME sessions")
                .ok()?;
            Some(port)
        };
        let ports: Vec<_> = self.sentinels.iter().filter_map(port_of_master).collect();
        ports
            .iter()
            .copied()
            .find(|port| ports.iter().filter(|other| *other == port).count() >= 2)
    }

    pub(super) fn urls(&self) -> String {
        let urls = self
            .sentinels
            .iter()
            .map(|sentinel| format!("redis://127.0.0.1:{}", sentinel.port));
        urls.collect::<Vec<_>>().join(",")
    }

    /// Starts the service with the sentinels' addresses.
    pub(super) fn serve(&self, folder: &Path) -> Arc<Process> {
        self.serve_with(folder, &[])
    }

    pub(super) fn serve_with(&self, folder: &Path, more: &[&str]) -> Arc<Process> {
        self.with_options(folder, more, |args| Arc::new(Process::start(folder, args)))
    }

    /// Calls `run` with the options for the sentinels, followed by `more`.
    pub(super) fn with_options<T>(&self, folder: &Path, more: &[&str], run: impl FnOnce(&[&str]) -> T) -> T {
        fs::write(folder.join("password"), PASSWORD).expect("a file");
        fs::write(folder.join("sentinel-password"), SENTINEL_PASSWORD).expect("a file");
        let urls = self.urls();
        let mut args = vec![
            "--redis-mode",
            "sentinel",
            "--redis-master",
            "sessions",
            "--redis-url",
            &urls,
        ];
        args.extend([
            "--redis-password-file",
            "password",
            "--redis-sentinel-password-file",
            "sentinel-password",
        ]);
        args.extend(more);
        run(&args)
    }
}
