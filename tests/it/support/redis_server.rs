//! A Redis of this process's own, on a free port. Tests share it and stay apart by namespace.
//!
//! Rust runs nothing at the end of a test binary, so a small shell waits for the end of a pipe instead: the system closes
//! it when this process ends, however that comes about, and the shell ends Redis.

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

/// Keeps the supervisor's pipe open for as long as the process lives, and ends Redis with it.
pub(crate) struct Redis {
    pub(crate) port: u16,
    server: Child,
    /// Of this server, and of those that were here before: the first one removes the folder.
    supervisors: Vec<Child>,
    folder: PathBuf,
    options: Vec<String>,
}

impl Redis {
    /// Ends it without a word to anybody.
    pub(crate) fn kill(&mut self) {
        // It may have ended before.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Starts it again on the same port and folder, after a kill.
    pub(crate) fn start_again(&mut self) -> Result<(), String> {
        self.server = spawn(self.port, &self.folder, &self.options)?;
        self.supervisors.push(supervise(&self.server, &self.folder));
        if answers(&mut self.server, self.port) {
            return Ok(());
        }
        Err("redis-server does not come back".into())
    }

    /// Stops it: connections stay, and nothing answers.
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
        client.get_connection().expect("it is up")
    }

    /// What a command written as in redis-cli answers; no argument holds a space.
    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let answer = self.try_ask(command);
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// The same where it may fail.
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

/// Started by whoever asks first. Why it cannot be, every test tells, not only the first.
static REDIS: LazyLock<Result<Redis, String>> = LazyLock::new(|| start(&[]));

/// The address of the private Redis, which the first call starts.
pub(crate) fn url() -> String {
    match &*REDIS {
        Ok(redis) => format!("redis://127.0.0.1:{}", redis.port),
        Err(why) => panic!("{why}"),
    }
}

/// A connection to the private Redis, to look at what a server left there.
pub(crate) fn connection() -> Connection {
    let client = Client::open(url()).expect("a valid address");
    client.get_connection().expect("the private Redis is up")
}

/// What a command written as in redis-cli answers; no argument holds a space.
#[track_caller]
pub(crate) fn ask<T: FromRedisValue>(command: &str) -> T {
    command_of(command)
        .query(&mut connection())
        .unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// Every key of a namespace, in order.
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

/// A Redis with further options on a free port.
pub(crate) fn start(options: &[&str]) -> Result<Redis, String> {
    start_on(free_port, options)
}

/// A node of a cluster. Its bus listens 10,000 above its port; Redis 6.2 cannot be told another one.
pub(super) fn start_node(options: &[&str]) -> Result<Redis, String> {
    let below = || iter::repeat_with(free_port).find(|port| *port < u16::MAX - 10_000);
    start_on(|| below().expect("the ports repeat for ever"), options)
}

fn start_on(port: impl Fn() -> u16, options: &[&str]) -> Result<Redis, String> {
    // Another process may take the port between our look and Redis'; not several times in a row.
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
    // The supervisor removes the folder, as it is the last to go.
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
        ErrorKind::NotFound => "these tests need redis-server in the PATH: please install Redis".into(),
        _ => format!("cannot start redis-server: {cause}"),
    })
}

fn supervise(server: &Child, folder: &Path) -> Child {
    // Ctrl-C reaches every process of the terminal; the shell still has its work to do then.
    const SCRIPT: &str = r#"trap '' INT TERM HUP; cat >/dev/null; kill "$1"; rm -rf -- "$2""#;
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh", &server.id().to_string()]).arg(folder);
    // Piped: what matters is that our end is open. The others are not ours, or a runner would wait for them to close.
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

/// Whether the server is up, and not one that has its port.
fn answers(server: &mut Child, port: u16) -> bool {
    let patience = Instant::now() + Duration::from_secs(20);
    while Instant::now() < patience {
        if server.try_wait().expect("a child can be asked").is_some() {
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
