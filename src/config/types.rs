//! The types of option values.

use std::{fmt, time::Duration};

use clap::ValueEnum;

/// The kind of Redis that the URLs lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are self-explanatory")]
pub enum RedisMode {
    Single,
    Sentinel,
    Cluster,
}

/// Whether the master behind sentinels speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are self-explanatory")]
pub enum MasterTls {
    Url,
    On,
    Off,
}

/// The least severe level to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are self-explanatory")]
pub enum LogLevel {
    None,
    Error,
    Warn,
    #[value(aliases = ["dev", "combined", "common", "short", "tiny"])]
    Info,
    Debug,
    Trace,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are self-explanatory")]
pub enum LogFormat {
    Text,
    Json,
}

/// A duration, written as a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DurationArg(pub Duration);

impl fmt::Display for DurationArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

/// The permissions of a file, written in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}
