//! The subcommands. [`run`] dispatches them; the service itself starts in `main.rs`.

mod healthcheck;

use std::io;

use clap::CommandFactory;

use crate::{
    app::redis_address,
    check::{self, Target},
    clock::Clock,
    config::{Cli, Command, Config},
    process::StartError,
};

/// Runs a subcommand. Returns whether it found everything as it should be.
pub fn run(command: &Command, config: &Config) -> Result<bool, StartError> {
    match command {
        Command::Healthcheck => healthcheck::run(config).map(|()| true).map_err(StartError::Start),
        Command::Check { repair } => check(config, *repair).map_err(StartError::Config),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "rest-sessions", &mut io::stdout());
            Ok(true)
        }
    }
}

fn check(config: &Config, repair: bool) -> Result<bool, String> {
    let target = match config.redis()? {
        Some(servers) => Target::Redis {
            address: Box::new(redis_address(servers)),
            namespace: config.namespace.clone(),
            shards: config.shards.into(),
            timeout: config.timeout.0,
        },
        None => Target::Embedded {
            data_dir: config.data_dir.clone(),
            memory: config.cache_size << 20,
        },
    };
    check::run(target, Clock::System.now(), repair, io::stdout().lock())
}
