//! Private Redis servers on free ports. Tests share one of them, each in a namespace of its own.
//!
//! Rust runs no destructors of statics when a test binary exits. A supervising shell therefore waits for end of file
//! on a pipe, which the kernel closes when this process ends in any way, and then stops Redis and removes its folder.

use std::{
    io::{ErrorKind, Read, Write},
    iter,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use deadpool_redis::redis::{Client, Cmd, Connection, FromRedisValue, RedisResult, cmd};

use crate::process::signal;

/// A Redis server that ends when it is dropped, or with this process.
pub(crate) struct Redis {
    pub(crate) port: u16,
    server: Child,
    /// One for each start of the server. Any of them removes the folder when this process ends.
    supervisors: Vec<Child>,
    folder: PathBuf,
    options: Vec<String>,
}

impl Redis {
    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        // An error means that it has already exited.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Restarts a killed server on the same port and folder.
    pub(crate) fn start_again(&mut self) -> Result<(), String> {
        self.server = spawn(self.port, &self.folder, &self.options)?;
        self.supervisors.push(supervise(&self.server, &self.folder));
        if answers(&mut self.server, self.port) {
            return Ok(());
        }
        Err("redis-server does not answer after its restart".into())
    }

    /// Stops the process with SIGSTOP: connections stay open without any reply.
    pub(crate) fn freeze(&self) {
        signal(self.server.id(), "STOP");
    }

    pub(crate) fn thaw(&self) {
        signal(self.server.id(), "CONT");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connect(&self) -> Connection {
        let client = Client::open(self.url()).expect("an address");
        client.get_connection().expect("a connection to Redis")
    }

    /// Runs a command, written as in redis-cli without quoting, and returns its reply.
    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let answer = self.try_ask(command);
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// As [`Self::ask`], but returns errors.
    pub(crate) fn try_ask<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let mut connection = Client::open(self.url())?.get_connection_with_timeout(Duration::from_secs(5))?;
        command_of(command).query(&mut connection)
    }
}

fn command_of(text: &str) -> Cmd {
    let mut words = text.split(' ');
    let mut command = cmd(words.next().expect("a command"));
    for word in words {
        command.arg(word);
    }
    command
}

/// Started on first use. A failed start is kept, so that every test reports it.
static REDIS: LazyLock<Result<Redis, String>> = LazyLock::new(|| start(&[]));

/// The address of the shared Redis; the first call starts it.
pub(crate) fn url() -> String {
    match &*REDIS {
        Ok(redis) => format!("redis://127.0.0.1:{}", redis.port),
        Err(why) => panic!("{why}"),
    }
}

/// A connection to the shared Redis, to inspect its data.
pub(crate) fn connection() -> Connection {
    let client = Client::open(url()).expect("a valid address");
    client.get_connection().expect("a connection to the shared Redis")
}

/// Runs a command on the shared Redis, written as in redis-cli without quoting, and returns its reply.
#[track_caller]
pub(crate) fn ask<T: FromRedisValue>(command: &str) -> T {
    command_of(command)
        .query(&mut connection())
        .unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// All keys of a namespace, sorted.
pub(crate) fn keys(namespace: &str) -> Vec<String> {
    let mut keys: Vec<String> = ask(&format!("KEYS {namespace}:*"));
    keys.sort_unstable();
    keys
}

/// A namespace that no other test uses.
pub(crate) fn fresh_namespace() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Starts a Redis with further options on a free port.
pub(crate) fn start(options: &[&str]) -> Result<Redis, String> {
    start_on(free_port, options)
}

/// Starts a node of a cluster. Its bus port is its port plus 10,000, which Redis 6.2 cannot change.
pub(super) fn start_node(options: &[&str]) -> Result<Redis, String> {
    let below = || iter::repeat_with(free_port).find(|port| *port < u16::MAX - 10_000);
    start_on(|| below().expect("an endless iterator"), options)
}

fn start_on(port: impl Fn() -> u16, options: &[&str]) -> Result<Redis, String> {
    // Another process may take a free port before Redis binds it, so a failed start is retried on another port.
    for _ in 0..5 {
        if let Some(redis) = try_start(port(), options)? {
            return Ok(redis);
        }
    }
    Err("redis-server does not answer on any free port of 127.0.0.1".into())
}

fn try_start(port: u16, options: &[&str]) -> Result<Option<Redis>, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options: Vec<_> = options.iter().map(ToString::to_string).collect();
    let mut server = spawn(port, folder.path(), &options)?;
    // Not removed on drop: the supervisor removes the folder after the server has ended.
    let folder = folder.keep();
    let supervisor = supervise(&server, &folder);
    Ok(answers(&mut server, port).then_some(Redis {
        port,
        server,
        supervisors: vec![supervisor],
        folder,
        options,
    }))
}

fn spawn(port: u16, folder: &Path, options: &[String]) -> Result<Child, String> {
    let server = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    server.map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => "redis-server is not in the PATH: install Redis to run these tests".into(),
        _ => format!("cannot start redis-server: {cause}"),
    })
}

fn supervise(server: &Child, folder: &Path) -> Child {
    // Ctrl-C signals every process of the terminal; the shell ignores it so that it can still clean up.
    const SCRIPT: &str = r#"trap '' INT TERM HUP; cat >/dev/null; kill "$1"; rm -rf -- "$2""#;
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh", &server.id().to_string()]).arg(folder);
    // The pipe's other end stays open until this process ends. Output is not inherited: a test runner would wait for
    // it.
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("a shell")
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Whether this server answers; false if it has exited because another process holds its port.
fn answers(server: &mut Child, port: u16) -> bool {
    let patience = Instant::now() + Duration::from_secs(20);
    while Instant::now() < patience {
        if server.try_wait().expect("the status of the child").is_some() {
            return false;
        }
        if ping(port).is_ok_and(|pong| pong == *b"+PONG\r\n") {
            return true;
        }
        sleep(Duration::from_millis(5));
    }
    false
}

fn ping(port: u16) -> std::io::Result<[u8; 7]> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut pong = [0; 7];
    stream.read_exact(&mut pong)?;
    Ok(pong)
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
