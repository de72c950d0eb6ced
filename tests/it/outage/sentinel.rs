//! A master that sentinels watch over, with passwords of its own and of theirs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_redis::redis::{Client, FromRedisValue, RedisResult, cmd};
use tempfile::TempDir;

use super::{
    MARGIN, all_well,
    replicated::{Clients, not_replicated},
    stop,
};
use crate::{
    check::{check, finds},
    process::{Process, eventually, free_port},
    support,
};

const PASSWORD: &str = "opensesame";
const WATCHWORD: &str = "whogoesthere";
/// How long the sentinels wait before they take a master for dead, in milliseconds.
const DOWN: u64 = 1000;

/// One redis-server.
struct Node {
    port: u16,
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

    fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    fn start_again(&mut self) {
        self.child = launch(self.port, &self.folder, &self.arguments);
    }

    fn ask<T: FromRedisValue>(&self, password: &str, command: &str) -> RedisResult<T> {
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
struct Watched {
    servers: [Node; 2],
    sentinels: Vec<Node>,
    _folder: TempDir,
}

impl Watched {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
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
        // Sentinels look for replicas at their start, and then only every ten seconds.
        eventually("the replica follows", || {
            let told: String = replica.ask(PASSWORD, "INFO replication").ok()?;
            told.contains("master_link_status:up").then_some(())
        });
        let sentinels = (0..3).map(|n| {
            let file = folder.path().join(format!("sentinel-{n}.conf"));
            let lines = format!(
                "requirepass {WATCHWORD}\nsentinel sentinel-pass {WATCHWORD}\n\
                 sentinel monitor sessions 127.0.0.1 {} 2\nsentinel auth-pass sessions {PASSWORD}\n\
                 sentinel down-after-milliseconds sessions {DOWN}\nsentinel failover-timeout sessions 3000\n",
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
        eventually("the sentinels know all", || {
            let known = |sentinel: &Node| {
                let told: String = sentinel.ask(WATCHWORD, "INFO sentinel").ok()?;
                told.contains("slaves=1,sentinels=3").then_some(())
            };
            watched.sentinels.iter().map(known).collect::<Option<Vec<_>>>()
        });
        watched
    }

    /// The port of the master, as most sentinels have it.
    fn master(&self) -> Option<u16> {
        let told = |sentinel: &Node| {
            let (_, port): (String, u16) = sentinel
                .ask(WATCHWORD, "SENTINEL GET-MASTER-ADDR-BY-NAME sessions")
                .ok()?;
            Some(port)
        };
        let told: Vec<_> = self.sentinels.iter().filter_map(told).collect();
        told.iter()
            .copied()
            .find(|port| told.iter().filter(|other| *other == port).count() >= 2)
    }

    fn urls(&self) -> String {
        let urls = self
            .sentinels
            .iter()
            .map(|sentinel| format!("redis://127.0.0.1:{}", sentinel.port));
        urls.collect::<Vec<_>>().join(",")
    }

    /// The program, led by the sentinels.
    fn serve(&self, folder: &Path) -> Arc<Process> {
        self.serve_with(folder, &[])
    }

    fn serve_with(&self, folder: &Path, more: &[&str]) -> Arc<Process> {
        self.with_options(folder, more, |args| Arc::new(Process::start(folder, args)))
    }

    /// Does something with the options that lead to the sentinels, and `more`.
    fn with_options<T>(&self, folder: &Path, more: &[&str], run: impl FnOnce(&[&str]) -> T) -> T {
        fs::write(folder.join("password"), PASSWORD).expect("a file");
        fs::write(folder.join("watchword"), WATCHWORD).expect("a file");
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
            "watchword",
        ]);
        args.extend(more);
        run(&args)
    }
}

/// Sets that go on until they are told to end: how many were answered, and when the last one was.
struct Load {
    end: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    running: tokio::task::JoinHandle<()>,
    token: String,
}

impl Load {
    async fn start(process: &Arc<Process>) -> Self {
        let token = process.app().create("busy").await;
        let (end, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let running = tokio::spawn({
            let (process, end, answered, path) = (
                process.clone(),
                end.clone(),
                answered.clone(),
                format!("/test-app/set/{token}"),
            );
            async move {
                while !end.load(Ordering::Relaxed) {
                    let answer = process.ask("POST", &path, r#"{"a":1}"#).await;
                    if answer.status == 200 {
                        assert_ne!(answer.body, "{}", "it was there");
                        answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        super::unavailable(&answer);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        Self {
            end,
            answered,
            running,
            token,
        }
    }

    /// Waits for the next answer.
    async fn progress(&self, patience: Duration) {
        let (start, before) = (Instant::now(), self.answered.load(Ordering::Relaxed));
        while self.answered.load(Ordering::Relaxed) == before {
            assert!(start.elapsed() < patience, "no set was answered within {patience:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> (String, u64) {
        self.end.store(true, Ordering::Relaxed);
        self.running.await.expect("no panic");
        (self.token, self.answered.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watched = Watched::start();
    let process = watched.serve(folder.path());
    all_well(&process).await;
    let load = Load::start(&process).await;
    load.progress(MARGIN).await;
    watched.servers[0].kill();
    let start = Instant::now();
    while watched.master() != Some(watched.servers[1].port) {
        assert!(start.elapsed() < Duration::from_secs(30), "the sentinels do not agree");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    load.progress(Duration::from_secs(1) + MARGIN).await;
    // The old one comes back, first as a master; nobody writes to it.
    watched.servers[0].start_again();
    let keys = || watched.servers[0].ask::<u64>(PASSWORD, "DBSIZE").ok();
    eventually("it is up", keys);
    for _ in 0..20 {
        load.progress(MARGIN).await;
        assert_eq!(keys(), Some(0), "somebody writes to it");
    }
    let (token, _) = load.end().await;
    assert!(process.app().get(&token).await.is_some());
    let log = stop(process);
    assert!(!log.contains(PASSWORD) && !log.contains(WATCHWORD), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_to_a_master_that_was_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let watched = Watched::start();
    let process = watched.serve(folder.path());
    let load = Load::start(&process).await;
    load.progress(MARGIN).await;
    // Both live on. The sentinels leave the old one a master for some seconds more; what is written to it is lost.
    let () = watched.sentinels[0]
        .ask(WATCHWORD, "SENTINEL FAILOVER sessions")
        .expect("it begins");
    eventually("the other one is master", || {
        (watched.master() == Some(watched.servers[1].port)).then_some(())
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let written = || -> String {
        let writes = watched.servers[0].ask(PASSWORD, &format!("HGET rs:test-app:{} w", load.token));
        writes.expect("it is up")
    };
    let then = written();
    for _ in 0..50 {
        load.progress(MARGIN).await;
    }
    assert_eq!(written(), then, "somebody writes to the old one");
    let (token, _) = load.end().await;
    assert!(process.app().get(&token).await.is_some());
    stop(process);
}

/// Gets until an answer comes from memory.
async fn warm(process: &Process, token: &str) {
    let hits = async || {
        let metrics = process.ask("GET", "/metrics", "").await.body;
        let hits = metrics.lines().find_map(|line| {
            line.strip_prefix(r#"rest_sessions_near_cache_total{result="hit"} "#)?
                .parse::<u64>()
                .ok()
        });
        hits.expect("a number")
    };
    support::eventually("an answer from memory", async || {
        let before = hits().await;
        let answer = process.ask("GET", &format!("/test-app/get/{token}"), "").await;
        assert_ne!(answer.body, "{}", "it is there");
        hits().await > before
    })
    .await;
}

/// The old master lives on, and says nothing of what is changed at the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_near_cache_listens_to_the_new_master() {
    let folder = tempfile::tempdir().expect("a folder");
    let watched = Watched::start();
    let process = watched.serve_with(folder.path(), &["--cachetime", "3600", "--redis-wait", "1"]);
    let other = watched.serve(folder.path());
    let tokens = [other.app().create("ann").await, process.app().create("bob").await];
    for token in &tokens {
        warm(&process, token).await;
    }
    let () = watched.sentinels[0]
        .ask(WATCHWORD, "SENTINEL FAILOVER sessions")
        .expect("it begins");
    eventually("the other one is master", || {
        (watched.master() == Some(watched.servers[1].port)).then_some(())
    });
    for token in &tokens {
        let kill = format!("/test-app/kill/{token}");
        support::eventually("the new master serves", async || {
            other.ask("GET", "/readyz", "").await.status == 200
        })
        .await;
        warm(&process, token).await;
        support::eventually("it is killed", async || {
            other.ask("DELETE", &kill, "").await.status == 200
        })
        .await;
        support::eventually("it is gone", async || process.app().get(token).await.is_none()).await;
        for _ in 0..50 {
            assert!(process.app().get(token).await.is_none(), "it is back");
        }
    }
    stop(process);
    stop(other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_acknowledged_outlives_the_master() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watched = Watched::start();
    let process = watched.serve_with(folder.path(), &["--redis-wait", "1"]);
    let clients = Clients::start(&process);
    clients.are_at_work().await;
    // In the midst of answers: what was answered is at the replica already.
    watched.servers[0].kill();
    let told = clients.end().await;
    let start = Instant::now();
    while watched.master() != Some(watched.servers[1].port) {
        assert!(start.elapsed() < Duration::from_secs(30), "the sentinels do not agree");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    super::back_soon(&process).await;
    told.holds(&process).await;
    // The only replica is the master now: nobody is left to have a change.
    let answer = process.ask("PUT", "/test-app/create/lonely?ip=::1", "").await;
    not_replicated(&answer);
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_the_master() {
    let folder = tempfile::tempdir().expect("a folder");
    let watched = Watched::start();
    let process = watched.serve(folder.path());
    process.app().create("ann").await;
    let lost: u64 = watched.servers[0]
        .ask(PASSWORD, "DEL rs:test-app:_users")
        .expect("it is up");
    assert_eq!(lost, 1);
    let look = |more: &[&str]| watched.with_options(folder.path(), more, |args| check(folder.path(), args));
    let lines = [r#"session missing from _users: app test-app, id "ann", session "#];
    finds(&look(&[]), 1, &lines, false);
    finds(&look(&["--repair"]), 0, &lines, true);
    finds(&look(&[]), 0, &[], false);
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told() {
    let watched = Watched::start();
    let urls = watched.urls();
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    for (args, says) in [
        (
            ["--redis-url", &urls, "--redis-master", "nobody"],
            "no master of that name",
        ),
        (["--redis-url", &nobody, "--redis-master", "sessions"], "refused"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("watchword"), WATCHWORD).expect("a file");
        let mut all = args.to_vec();
        all.extend([
            "--redis-mode",
            "sentinel",
            "--redis-sentinel-password-file",
            "watchword",
            "--timeout",
            "1",
        ]);
        let process = Process::start(folder.path(), &all);
        assert_eq!(process.ask("GET", "/readyz", "").await.status, 503);
        let log = process.stop();
        assert!(
            log.lines()
                .any(|line| line.contains("Redis is unreachable") && line.contains(says)),
            "{says}: {log}"
        );
    }
}
