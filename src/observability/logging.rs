//! Logs to stderr.

use tracing_subscriber::{filter::LevelFilter, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, LogLevel};

/// Starts logging. This crate logs at `level`, its libraries at `warn` at most: their finer levels print keys, commands and
/// headers, which hold tokens. The storage engine logs nothing: it returns each error, and the caller logs it once.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::None => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let filter = Targets::new()
        .with_target("rest_sessions", level)
        .with_targets(["fjall", "lsm_tree", "sfa"].map(|engine| (engine, LevelFilter::OFF)))
        .with_default(level.min(LevelFilter::WARN));
    let layer = fmt::layer().with_writer(std::io::stderr);
    let logs = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => logs
            .with(layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())))
            .init(),
        LogFormat::Json => logs.with(layer.json().flatten_event(true)).init(),
    }
}
