//! The program: reads its configuration and serves, checks a store, or asks a running service how it is.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::ExitCode,
    time::Duration,
};

use clap::CommandFactory;
use rest_sessions::{
    Failure, check,
    config::{Cli, Command, Config, Refusal},
    listen::Listeners,
    run_until,
    service::Clock,
    shown,
    shutdown::Shutdown,
    telemetry,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Buffers and records come from one thread and go with another, which the C library's allocator takes long over.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of a start that its configuration forbids, and of a check that cannot be made.
const USAGE: u8 = 2;
/// How long threads that still work may keep a process that has ended its service.
const LINGER: Duration = Duration::from_millis(100);
/// How long a health check waits, for a connection and then for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let cli = match Cli::parse_all(std::env::args_os().collect::<Vec<_>>()) {
        Ok(cli) => cli,
        Err(Refusal::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Usage(line)) => return refuse(&line, USAGE),
    };
    let serves = cli.command.is_none();
    let done = match cli.command {
        None => serve(&cli.config),
        Some(Command::Healthcheck) => healthcheck(&cli.config)
            .map(|()| ExitCode::SUCCESS)
            .map_err(Failure::Start),
        Some(Command::Check { repair }) => match check::run(&cli.config, repair, io::stdout().lock()) {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(ExitCode::FAILURE),
            Err(line) => Err(Failure::Config(line)),
        },
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "rest-sessions", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    let code = match done {
        Ok(code) => code,
        Err(Failure::Start(line)) => refuse(&line, 1),
        Err(Failure::Config(line)) => refuse(&line, USAGE),
    };
    if !serves {
        // Last, since it may be the reason of what went wrong. A service says it as it starts.
        for line in &cli.config.ignored {
            say(line);
        }
    }
    code
}

fn refuse(line: &str, code: u8) -> ExitCode {
    say(line);
    code.into()
}

fn say(line: &str) {
    eprintln!("rest-sessions: {}", shown::line(line));
}

fn serve(config: &Config) -> Result<ExitCode, Failure> {
    telemetry::start(config.loglevel, config.log_format);
    for line in &config.ignored {
        // An operator whose port is not used has to learn of it, however little is logged.
        if tracing::enabled!(tracing::Level::WARN) {
            tracing::warn!("{line}");
        } else {
            say(line);
        }
    }
    let draining = config.drain_delay.0 + config.drain_timeout.0;
    let shutdown =
        Shutdown::on_signals(draining).map_err(|cause| Failure::Start(format!("cannot wait for signals: {cause}")))?;
    allow_connections(config.max_connections);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.threads > 0 {
        runtime.worker_threads(config.threads.into());
    }
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|cause| Failure::Start(format!("cannot start threads: {cause}")))?;
    let served = runtime.block_on(async {
        let listeners = Listeners::bind(config).await?;
        let (shutdown, drained) = shutdown.parts();
        run_until(config, Clock::System, listeners, shutdown, drained).await
    });
    // The store is closed. Why: dropping a runtime waits for its blocking threads, and a lookup of a name takes as long as DNS.
    runtime.shutdown_timeout(LINGER);
    served.map(|()| ExitCode::SUCCESS)
}

/// Raises the limit of open files as far as the connections need and the system allows: many systems begin with 1024.
fn allow_connections(connections: u32) {
    // The store and the connections to it need some as well.
    let wanted = u64::from(connections) + 1024;
    let now = getrlimit(Resource::Nofile);
    let allowed = now.maximum.map_or(wanted, |most| most.min(wanted));
    if now.current.is_some_and(|current| current < allowed) {
        let raised = Rlimit {
            current: Some(allowed),
            ..now
        };
        if let Err(cause) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%cause, "cannot raise the limit of open files");
        }
    }
    if allowed < wanted {
        tracing::warn!("the system allows {allowed} open files: further connections will have to wait");
    }
}

/// Asks the service's own `/readyz`, as a container's health check without curl.
fn healthcheck(config: &Config) -> Result<(), String> {
    let (place, answer) = match (config.tcp(), &config.socket) {
        (Some((host, port)), _) => (format!("{}:{port}", shown::value(host)), ask_tcp(host, port)),
        (None, Some(path)) => (shown::path(path), UnixStream::connect(path).and_then(ask)),
        (None, None) => return Err("--host is none, and there is no --socket".into()),
    };
    let answer = answer.map_err(|cause| format!("no answer from {place}: {cause}"))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let line = answer.lines().next().unwrap_or("an empty answer");
    Err(format!("not ready: {line}"))
}

fn ask_tcp(host: &str, port: u16) -> io::Result<String> {
    // Whoever listens everywhere listens here too.
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "::" | "[::]" => "::1",
        host => host,
    };
    let mut refused = io::ErrorKind::AddrNotAvailable.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return ask(stream),
            Err(cause) => refused = cause,
        }
    }
    Err(refused)
}

fn ask(stream: impl Into<OwnedFd>) -> io::Result<String> {
    // Either kind of socket has the same timeouts.
    let mut stream = TcpStream::from(stream.into());
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}
