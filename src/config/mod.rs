//! The configuration: options, their values, and how command line, environment and file are merged.

mod options;
mod read;
mod redis;
mod types;
mod values;

pub use self::{
    options::{Cli, Command, Config},
    read::Refusal,
    redis::RedisServers,
    types::{DurationArg, FileMode, LogFormat, LogLevel, MasterTls, RedisMode},
};
