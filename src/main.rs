//! The program: reads its configuration, then serves or runs a subcommand.

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

/// Why: one thread allocates buffers and records, another frees them, which is slow in the allocator of the C library.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of a wrong configuration, and of a check that cannot run.
const EXIT_USAGE: u8 = 2;
/// Time for blocking threads to finish after the service has stopped.
const BLOCKING_THREADS_LIMIT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let cli = match Cli::parse_all(std::env::args_os().collect::<Vec<_>>()) {
        Ok(cli) => cli,
        Err(Refusal::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Usage(line)) => return refuse(&line, EXIT_USAGE),
    };
    let serves = cli.command.is_none();
    let done = match &cli.command {
        None => serve(&cli.config).map(|()| true),
        Some(command) => cli::run(command, &cli.config),
    };
    let code = match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(StartError::Start(line)) => refuse(&line, 1),
        Err(StartError::Config(line)) => refuse(&line, EXIT_USAGE),
    };
    if !serves {
        // Last, since an ignored variable may explain the outcome. A service prints the warnings at its start.
        for line in &cli.config.warnings {
            print_error(line);
        }
    }
    code
}

fn refuse(line: &str, code: u8) -> ExitCode {
    print_error(line);
    code.into()
}

fn print_error(line: &str) {
    eprintln!("rest-sessions: {}", printable::line(line));
}

fn serve(config: &Config) -> Result<(), StartError> {
    logging::start(config.loglevel, config.log_format);
    for line in &config.warnings {
        // Print the warning even if the log level hides it: the operator must learn that a variable is ignored.
        if tracing::enabled!(tracing::Level::WARN) {
            tracing::warn!("{line}");
        } else {
            print_error(line);
        }
    }
    let draining = config.drain_delay.0 + config.drain_timeout.0;
    let shutdown = Shutdown::on_signals(draining)
        .map_err(|cause| StartError::Start(format!("cannot wait for signals: {cause}")))?;
    raise_file_limit(config.max_connections);
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
    // The store is closed. Why a limit: dropping a runtime waits for its blocking threads, and a DNS lookup can take minutes.
    runtime.shutdown_timeout(BLOCKING_THREADS_LIMIT);
    served
}

/// Raises the limit of open files to what the connections need, if the system allows it. Many systems start with 1024.
fn raise_file_limit(connections: u32) {
    // 1024 for the store and the connections to it.
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
        tracing::warn!(
            "the system allows {allowed} open files: with more connections, further clients wait (raise ulimit -n)"
        );
    }
}
