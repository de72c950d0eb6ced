//! One struct defines the flags, the environment variables, the keys of the file, and their documentation.

use std::{fmt, path::PathBuf};

use clap::{Args, Parser, Subcommand, builder::NonEmptyStringValueParser};

use super::{
    types::{DurationArg, FileMode, LogFormat, LogLevel, MasterTls, RedisMode},
    values::{cookie, mode, namespace, seconds, some_seconds, touch, wipe},
};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "rest-sessions",
    version,
    about,
    after_help = "A flag beats the environment, which beats the file, which beats the default. An empty variable counts as \
                  unset. The keys of the file are the flags' names with _ for -.",
    args_conflicts_with_subcommands = false
)]
pub struct Cli {
    /// The subcommand. Without one, the program serves.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The options.
    #[command(flatten)]
    pub config: Config,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the service at --host and --port, or --socket, for its readiness; exit code 0 if it is ready, 1 if not
    Healthcheck,
    /// Check the store for disagreements; exit code 0 if there are none, 1 if there are some, 2 if it cannot check
    Check {
        /// Repair: remove dangling index entries, restore missing ones, remove unreadable records
        #[arg(long)]
        repair: bool,
    },
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Every option of the service.
#[derive(Clone, Args)]
pub struct Config {
    /// TOML file with further options
    #[arg(long, env = "RS_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Address or host name to listen on; none = no TCP, only --socket
    #[arg(long, env = "RS_HOST", default_value = "127.0.0.1", value_parser = NonEmptyStringValueParser::new(), global = true)]
    pub host: String,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "RS_PORT", default_value_t = 3000, global = true)]
    pub port: u16,

    /// Unix socket to listen on, besides TCP or with --host none instead of it
    #[arg(long, env = "RS_SOCKET", value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,

    /// Permissions of the Unix socket, in octal
    #[arg(long, env = "RS_SOCKET_MODE", default_value = "0660", value_name = "MODE", value_parser = mode, global = true)]
    pub socket_mode: FileMode,

    /// Name of the cookie that holds a visitor's token, for the route auth
    #[arg(long, env = "RS_COOKIE", default_value = "session", value_name = "NAME", value_parser = cookie, global = true)]
    pub cookie: String,

    /// URL of Redis: redis://, rediss:// (TLS) or redis+unix://; several are separated by commas. Without it, sessions live in
    /// --data-dir
    #[arg(
        long,
        env = "RS_REDIS_URL",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub redis_url: Option<String>,

    /// The same, spelled as in the original service
    #[arg(long, env = "RS_REDISURL", hide_env_values = true, value_name = "URL", global = true)]
    pub redisurl: Option<String>,

    /// Host of Redis if there is no URL; 127.0.0.1 if only the port is set
    #[arg(long, env = "RS_REDISHOST", value_name = "HOST", global = true)]
    pub redishost: Option<String>,

    /// Port of Redis if there is no URL; 6379 if only the host is set
    #[arg(long, env = "RS_REDISPORT", value_name = "PORT", global = true)]
    pub redisport: Option<u16>,

    /// Kind of Redis: single, sentinel or cluster
    #[arg(
        long,
        env = "RS_REDIS_MODE",
        default_value = "single",
        value_name = "MODE",
        ignore_case = true,
        hide_possible_values = true,
        global = true
    )]
    pub redis_mode: RedisMode,

    /// Name of the master in the sentinels' configuration
    #[arg(long, env = "RS_REDIS_MASTER", default_value = "mymaster", value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), global = true)]
    pub redis_master: String,

    /// TLS to the master behind sentinels: url = as the URLs of the sentinels say, on, off
    #[arg(
        long,
        env = "RS_REDIS_MASTER_TLS",
        default_value = "url",
        value_name = "WHEN",
        ignore_case = true,
        hide_possible_values = true,
        global = true
    )]
    pub redis_master_tls: MasterTls,

    /// User of Redis if the URL names none; with sentinels, the URL holds the user of the sentinels
    #[arg(long, env = "RS_REDIS_USERNAME", value_name = "NAME", global = true)]
    pub redis_username: Option<String>,

    /// Password of Redis if the URL has none
    #[arg(
        long,
        env = "RS_REDIS_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD",
        global = true
    )]
    pub redis_password: Option<String>,

    /// File whose first line is the password of Redis
    #[arg(long, env = "RS_REDIS_PASSWORD_FILE", value_name = "FILE", global = true)]
    pub redis_password_file: Option<PathBuf>,

    /// File whose first line is the password of the sentinels
    #[arg(long, env = "RS_REDIS_SENTINEL_PASSWORD_FILE", value_name = "FILE", global = true)]
    pub redis_sentinel_password_file: Option<PathBuf>,

    /// PEM file with the CA certificates to trust for Redis, in place of the system's
    #[arg(long, env = "RS_REDIS_CA", value_name = "FILE", global = true)]
    pub redis_ca: Option<PathBuf>,

    /// PEM file with the client certificate for Redis
    #[arg(long, env = "RS_REDIS_CERT", value_name = "FILE", global = true)]
    pub redis_cert: Option<PathBuf>,

    /// PEM file with the key of the client certificate
    #[arg(long, env = "RS_REDIS_KEY", value_name = "FILE", global = true)]
    pub redis_key: Option<PathBuf>,

    /// Number of shards that a cluster divides the sessions into; must never change afterwards
    #[arg(long, env = "RS_SHARDS", default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), global = true)]
    pub shards: u16,

    /// Connections to Redis; many requests share each of them
    #[arg(long, env = "RS_REDIS_CONNECTIONS", default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), global = true)]
    pub redis_connections: u16,

    /// Replicas that must acknowledge a create, set or kill before it is answered; 503 if too few do in time
    #[arg(long, env = "RS_REDIS_WAIT", default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=16), global = true)]
    pub redis_wait: u16,

    /// Seconds for which reads are buffered before they are written to Redis, 0 to 60; 0 = write each read at once, which makes
    /// a get several times as expensive
    #[arg(long, env = "RS_TOUCH", default_value = "1", value_name = "SECONDS", value_parser = touch, global = true)]
    pub touch: DurationArg,

    /// Seconds for which a session of Redis may be served from memory until it changes or ends; 0 = never
    #[arg(long, env = "RS_CACHETIME", default_value = "0", value_name = "SECONDS", value_parser = seconds, global = true)]
    pub cachetime: DurationArg,

    /// Maximum number of sessions in that cache
    #[arg(long, env = "RS_CACHEMAX", default_value_t = 5000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000), global = true)]
    pub cachemax: u32,

    /// Prefix of every key in Redis, without the colon that follows it
    #[arg(long, env = "RS_NAMESPACE", default_value = "rs", value_parser = namespace, global = true)]
    pub namespace: String,

    /// Data folder of the embedded store
    #[arg(
        long,
        env = "RS_DATA_DIR",
        default_value = "data",
        value_name = "FOLDER",
        global = true
    )]
    pub data_dir: PathBuf,

    /// Memory for cached records and blocks of the embedded store, in MiB
    #[arg(long, env = "RS_CACHE_SIZE", default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1_048_576), global = true)]
    pub cache_size: u64,

    /// Seconds between two removals of expired sessions, at least 10; 0 = never
    #[arg(long, env = "RS_WIPE", default_value = "600", value_name = "SECONDS", value_parser = wipe, global = true)]
    pub wipe: u64,

    /// Seconds that a request may wait for the store, or for its own body, before it fails
    #[arg(long, env = "RS_TIMEOUT", default_value = "2", value_name = "SECONDS", value_parser = some_seconds, global = true)]
    pub timeout: DurationArg,

    /// Seconds that a connection may wait for the head of its next request, or for its client to read a byte of the answer
    #[arg(long, env = "RS_IDLE_TIMEOUT", default_value = "75", value_name = "SECONDS", value_parser = some_seconds, global = true)]
    pub idle_timeout: DurationArg,

    /// Maximum number of open connections; further ones wait to be accepted
    #[arg(long, env = "RS_MAX_CONNECTIONS", default_value_t = 16_384, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), global = true)]
    pub max_connections: u32,

    /// Seconds from SIGTERM or SIGINT to the end of accepting; /readyz answers 503 meanwhile
    #[arg(long, env = "RS_DRAIN_DELAY", default_value = "1", value_name = "SECONDS", value_parser = seconds, global = true)]
    pub drain_delay: DurationArg,

    /// Seconds that requests in flight then have to finish; together with the delay less than the 10 that Docker waits. The store
    /// then has 5 to close, otherwise the process exits with code 3
    #[arg(long, env = "RS_DRAIN_TIMEOUT", default_value = "8", value_name = "SECONDS", value_parser = seconds, global = true)]
    pub drain_timeout: DurationArg,

    /// Worker threads; 0 = one for each processor
    #[arg(long, env = "RS_THREADS", default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024), global = true)]
    pub threads: u16,

    /// Log level: none, error, warn, info, debug or trace; the original's dev, combined, common, short and tiny mean info
    #[arg(
        long,
        env = "RS_LOGLEVEL",
        default_value = "info",
        value_name = "LEVEL",
        ignore_case = true,
        hide_possible_values = true,
        global = true
    )]
    pub loglevel: LogLevel,

    /// Log format: text or json
    #[arg(
        long,
        env = "RS_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT",
        ignore_case = true,
        hide_possible_values = true,
        global = true
    )]
    pub log_format: LogFormat,

    /// The first option about Redis that was set, by the name under which it was set: without a Redis it is an error
    #[arg(skip)]
    pub redis_option_set: Option<String>,

    /// Warnings about variables that have the name of an option but are ignored
    #[arg(skip)]
    pub warnings: Vec<String>,
}

/// Prints nothing: URLs may hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config(…)")
    }
}

impl Config {
    /// Host and port to listen on. `None`: only the Unix socket.
    #[must_use]
    pub fn tcp(&self) -> Option<(&str, u16)> {
        (self.host != "none").then_some((self.host.as_str(), self.port))
    }
}
