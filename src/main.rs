//! The program: reads its configuration and serves, or asks a running service how it is.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

use clap::CommandFactory;
use rest_sessions::{
    Failure,
    config::{Cli, Command, Config, Refusal},
    run,
    service::Clock,
    telemetry,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Exit code of a start that its configuration forbids.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::parse_all(std::env::args_os().collect::<Vec<_>>()) {
        Ok(cli) => cli,
        Err(Refusal::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Usage(line)) => return refuse(&line, USAGE),
    };
    let done = match cli.command {
        None => serve(&cli.config),
        Some(Command::Healthcheck) => healthcheck(&cli.config).map_err(Failure::Start),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "rest-sessions", &mut std::io::stdout());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Start(line)) => refuse(&line, 1),
        Err(Failure::Config(line)) => refuse(&line, USAGE),
    }
}

fn refuse(line: &str, code: u8) -> ExitCode {
    eprintln!("rest-sessions: {line}");
    code.into()
}

fn serve(config: &Config) -> Result<(), Failure> {
    telemetry::start(config.loglevel, config.log_format);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.threads > 0 {
        runtime.worker_threads(config.threads.into());
    }
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|cause| Failure::Start(format!("cannot start threads: {cause}")))?;
    runtime.block_on(async {
        let place = (config.host.as_str(), config.port);
        let listener = TcpListener::bind(place)
            .await
            .map_err(|cause| Failure::Start(format!("cannot listen on {}:{}: {cause}", config.host, config.port)))?;
        let signals = |kind| signal(kind).map_err(|cause| Failure::Start(format!("cannot wait for signals: {cause}")));
        let mut terminate = signals(SignalKind::terminate())?;
        let mut interrupt = signals(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        run(config, Clock::System, listener, shutdown).await
    })
}

/// Asks the service's own `/readyz`, as a container's health check without curl.
fn healthcheck(config: &Config) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(3);
    // Whoever listens everywhere listens here too.
    let host = match config.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" | "[::]" => "::1",
        host => host,
    };
    let ask = || -> std::io::Result<String> {
        let mut refused = std::io::ErrorKind::AddrNotAvailable.into();
        for address in (host, config.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(mut stream) => {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
                    let mut answer = String::new();
                    stream.take(4096).read_to_string(&mut answer)?;
                    return Ok(answer);
                }
                Err(cause) => refused = cause,
            }
        }
        Err(refused)
    };
    let answer = ask().map_err(|cause| format!("no answer from {host}:{}: {cause}", config.port))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(format!(
        "not ready: {}",
        answer.lines().next().unwrap_or("an empty answer")
    ))
}
