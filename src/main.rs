//! The program: reads its configuration and serves, checks a store, or asks a running service how it is.

use std::{process::ExitCode, time::Duration};

use rest_sessions::{
    app, cli,
    clock::Clock,
    config::{Cli, Config, Refusal},
    observability::logging,
    process::{StartError, shutdown::Shutdown},
    server::listeners::Listeners,
    text::printable,
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
        None => serve(&cli.config).map(|()| true),
        Some(command) => cli::run(command, &cli.config),
    };
    let code = match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(StartError::Start(line)) => refuse(&line, 1),
        Err(StartError::Config(line)) => refuse(&line, USAGE),
    };
    if !serves {
        // Last, since it may be the reason of what went wrong. A service says it as it starts.
        for line in &cli.config.warnings {
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
    eprintln!("rest-sessions: {}", printable::line(line));
}

fn serve(config: &Config) -> Result<(), StartError> {
    logging::start(config.loglevel, config.log_format);
    for line in &config.warnings {
        // An operator whose port is not used has to learn of it, however little is logged.
        if tracing::enabled!(tracing::Level::WARN) {
            tracing::warn!("{line}");
        } else {
            say(line);
        }
    }
    let draining = config.drain_delay.0 + config.drain_timeout.0;
    let shutdown = Shutdown::on_signals(draining)
        .map_err(|cause| StartError::Start(format!("cannot wait for signals: {cause}")))?;
    allow_connections(config.max_connections);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.threads > 0 {
        runtime.worker_threads(config.threads.into());
    }
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|cause| StartError::Start(format!("cannot start threads: {cause}")))?;
    let served = runtime.block_on(async {
        let listeners = Listeners::bind(config).await?;
        let (shutdown, drained) = shutdown.parts();
        app::run_until(config, Clock::System, listeners, shutdown, drained).await
    });
    // The store is closed. Why: dropping a runtime waits for its blocking threads, and a lookup of a name takes as long as DNS.
    runtime.shutdown_timeout(LINGER);
    served
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
