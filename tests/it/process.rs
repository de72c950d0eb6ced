//! The real program as a child process: in a folder of its own, on a free port, with an empty environment. It is killed
//! when it is dropped.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, mpsc::channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder};

use crate::support::{Answer, App};

/// Time limit for anything that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Calls `look` until it returns a value.
///
/// # Panics
///
/// If `look` returns none within [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command that runs the program in `folder`, where its default data folder is created too.
pub(crate) fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rest-sessions"));
    command
        .env_clear()
        .current_dir(folder)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command to its end, within [`PATIENCE`].
pub(crate) fn finish(mut command: Command) -> Finished {
    let child = command.spawn().expect("the program starts");
    let (process, (sender, receiver)) = (child.id(), channel());
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        signal(process, "KILL");
        panic!("the program did not end: {command:?}");
    };
    let Output { status, stdout, stderr } = output.expect("the child can be waited for");
    let text = |bytes| String::from_utf8(bytes).expect("output is text");
    Finished {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `None` if a signal ended the program.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Whether the program printed exactly one line to stderr, with its own prefix.
    pub(crate) fn one_line(&self) -> bool {
        self.stderr.starts_with("rest-sessions: ") && self.stderr.ends_with('\n') && self.stderr.lines().count() == 1
    }

    /// Asserts that the start was refused with exit code `code`, and returns its only line without the prefix.
    pub(crate) fn refusal(&self, code: i32) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert!(
            self.one_line(),
            "not exactly one line with the program's prefix: {self:?}"
        );
        self.stderr.trim_start_matches("rest-sessions: ").trim_end()
    }
}

/// A running service.
pub(crate) struct Process {
    child: Child,
    reader: Option<JoinHandle<()>>,
    log: Arc<Mutex<String>>,
    address: String,
    client: Client,
}

impl Process {
    /// A command that runs the service on a free port and without a delay at shutdown; `args` may override both.
    pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
        let mut command = program(folder, args);
        command.env("RS_PORT", "0").env("RS_DRAIN_DELAY", "0");
        command
    }

    /// Starts such a command, and waits until the service listens.
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        Self::spawn(Self::command(folder, args))
    }

    /// Runs `command`, and waits until the service logs its address. So it must log at info or finer.
    pub(crate) fn spawn(command: Command) -> Self {
        Self::try_spawn(command).unwrap_or_else(|refused| panic!("the service did not start: {refused:?}"))
    }

    /// The same, but returns an error if the program ends instead.
    pub(crate) fn try_spawn(command: Command) -> Result<Self, Finished> {
        let mut process = Self::spawn_unseen(command, "");
        let address = eventually("the service listens", || {
            // Checked before the log is read, so that no line is missed when the program ends in between.
            let running = process.running();
            let log = process.log();
            let address = log.split_once("listening on http://").and_then(|(_, rest)| {
                let end = rest.find(['"', '\n', ' '])?;
                Some(rest[..end].to_owned())
            });
            if address.is_some() || running {
                address.map(Some)
            } else {
                Some(None)
            }
        });
        if let Some(address) = address {
            process.address = address;
            return Ok(process);
        }
        let (code, stderr) = process.wait();
        Err(Finished {
            code,
            stdout: String::new(),
            stderr,
        })
    }

    /// Runs `command`, which listens on `address`. It need not log its address.
    pub(crate) fn spawn_unseen(mut command: Command, address: &str) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().expect("the program starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, lines) = (child.stderr.take().expect("stderr is piped"), log.clone());
        let reader = std::thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|read| read > 0) {
                lines.lock().expect("the lock is not poisoned").push_str(&line);
                line.clear();
            }
        });
        Self {
            child,
            reader: Some(reader),
            log,
            address: address.to_owned(),
            client: Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .expect("a plain client"),
        }
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the lock is not poisoned").clone()
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether the process has not ended.
    pub(crate) fn running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_none()
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory of the process, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("Linux has /proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let value = line.expect("a line").trim().trim_end_matches(" kB");
        value.parse().expect("a number")
    }

    /// Sends a signal, given without `SIG`, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for the end of the process. Returns the exit code and the whole log.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let child = &mut self.child;
        let status = eventually("the process ends", || {
            child.try_wait().expect("the child can be waited for")
        });
        self.finish_log();
        (status.code(), self.log())
    }

    /// Stops the service with SIGTERM, asserts exit code 0, and returns the whole log.
    pub(crate) fn stop(self) -> String {
        self.signal("TERM");
        let (code, log) = self.wait();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child can be waited for");
    }

    fn finish_log(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
    }

    /// A request for `path`, with a JSON body if there is one.
    fn request(&self, method: &str, path: &str, body: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        if body.is_empty() {
            request
        } else {
            request.header("content-type", "application/json").body(body.to_owned())
        }
    }

    /// Sends a request, and returns an error if no complete answer arrives.
    pub(crate) async fn try_ask(&self, method: &str, path: &str, body: &str) -> reqwest::Result<Answer> {
        let response = self.request(method, path, body).send().await?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await?,
        })
    }

    /// Sends a request, and asserts that an answer arrives.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let answer = self.try_ask(method, path, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    /// The routes of the app `test-app`. Its functions expect success.
    pub(crate) fn app(&self) -> App {
        App::new(self.client.clone(), format!("http://{}/test-app", self.address))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.finish_log();
            eprintln!("log of the program:\n{}", self.log());
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process.to_string())
        .status();
    assert!(sent.expect("kill runs").success(), "SIG{name} could not be sent");
}

/// A port on which no process listens.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it has an address").port()
}
