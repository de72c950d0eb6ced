//! One struct is the flags, the environment, the keys of the file and their manual.

mod read;
mod redis;
mod values;

use std::{fmt, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};

pub use self::{read::Refusal, redis::RedisServers};
use self::{
    read::every_arg,
    values::{cookie, mode, namespace, seconds, some_seconds, touch, wipe},
};

/// What the program is started with.
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
    /// What to do; nothing means to serve.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How to do it.
    #[command(flatten)]
    pub config: Config,
}

/// What the program can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the service at --host and --port whether it is ready; exit code 0 if it is, 1 if not
    Healthcheck,
    /// Check that all that the store holds agrees; exit code 0 if it does, 1 if not, 2 if it cannot be checked
    Check {
        /// Mend what can be mended: remove what leads nowhere, restore what is missing, remove what nobody can read
        #[arg(long)]
        repair: bool,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
}

/// Every option of the service.
#[derive(Clone, Args)]
pub struct Config {
    /// File with further options, in TOML
    #[arg(long, env = "RS_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Address or host name to listen on; none = no TCP, only --socket
    #[arg(long, env = "RS_HOST", default_value = "127.0.0.1", value_parser = NonEmptyStringValueParser::new(), global = true)]
    pub host: String,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "RS_PORT", default_value_t = 3000, global = true)]
    pub port: u16,

    /// Unix socket to listen on as well; with --host none, instead
    #[arg(long, env = "RS_SOCKET", value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,

    /// Who may connect to the socket: its permissions, in octal
    #[arg(long, env = "RS_SOCKET_MODE", default_value = "0660", value_name = "MODE", value_parser = mode, global = true)]
    pub socket_mode: FileMode,

    /// Cookie that holds a visitor's token, for the route auth
    #[arg(long, env = "RS_COOKIE", default_value = "session", value_name = "NAME", value_parser = cookie, global = true)]
    pub cookie: String,

    /// Redis to keep sessions in, redis://, rediss:// (TLS) or redis+unix://, or several with commas between them; without it
    /// they are kept in --data-dir
    #[arg(
        long,
        env = "RS_REDIS_URL",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub redis_url: Option<String>,

    /// The same, as the original spelled it
    #[arg(long, env = "RS_REDISURL", hide_env_values = true, value_name = "URL", global = true)]
    pub redisurl: Option<String>,

    /// Host of Redis, where there is no URL; 127.0.0.1 if only the port is given
    #[arg(long, env = "RS_REDISHOST", value_name = "HOST", global = true)]
    pub redishost: Option<String>,

    /// Port of Redis, where there is no URL; 6379 if only the host is given
    #[arg(long, env = "RS_REDISPORT", value_name = "PORT", global = true)]
    pub redisport: Option<u16>,

    /// What the URLs lead to: single, sentinel or cluster
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

    /// Name of the master, as sentinels know it
    #[arg(long, env = "RS_REDIS_MASTER", default_value = "mymaster", value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), global = true)]
    pub redis_master: String,

    /// Whether the master that sentinels name speaks TLS: url = as the sentinels do by their URLs, on, off
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

    /// User of Redis, where the URL names none; with sentinels, the URL names theirs
    #[arg(long, env = "RS_REDIS_USERNAME", value_name = "NAME", global = true)]
    pub redis_username: Option<String>,

    /// Password of Redis, where the URL has none
    #[arg(
        long,
        env = "RS_REDIS_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD",
        global = true
    )]
    pub redis_password: Option<String>,

    /// File with the password of Redis in its first line
    #[arg(long, env = "RS_REDIS_PASSWORD_FILE", value_name = "FILE", global = true)]
    pub redis_password_file: Option<PathBuf>,

    /// File with the password of the sentinels in its first line
    #[arg(long, env = "RS_REDIS_SENTINEL_PASSWORD_FILE", value_name = "FILE", global = true)]
    pub redis_sentinel_password_file: Option<PathBuf>,

    /// PEM file with the authorities that sign Redis' certificate, in place of the system's
    #[arg(long, env = "RS_REDIS_CA", value_name = "FILE", global = true)]
    pub redis_ca: Option<PathBuf>,

    /// PEM file with a certificate to show to Redis
    #[arg(long, env = "RS_REDIS_CERT", value_name = "FILE", global = true)]
    pub redis_cert: Option<PathBuf>,

    /// PEM file with the key of that certificate
    #[arg(long, env = "RS_REDIS_KEY", value_name = "FILE", global = true)]
    pub redis_key: Option<PathBuf>,

    /// Parts into which a cluster divides the sessions; never to be changed afterwards
    #[arg(long, env = "RS_SHARDS", default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), global = true)]
    pub shards: u16,

    /// Connections to Redis; many requests share each one
    #[arg(long, env = "RS_REDIS_CONNECTIONS", default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), global = true)]
    pub redis_connections: u16,

    /// Replicas that must have a create, set or kill before it is answered; 503 if they do not in time
    #[arg(long, env = "RS_REDIS_WAIT", default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=16), global = true)]
    pub redis_wait: u16,

    /// Seconds until Redis knows of a read, 0 to 60; 0 = at once, which costs each get several times as much
    #[arg(long, env = "RS_TOUCH", default_value = "1", value_name = "SECONDS", value_parser = touch, global = true)]
    pub touch: DurationArg,

    /// Seconds for which a session in Redis may be answered from memory, unless it changes or ends; 0 = never
    #[arg(long, env = "RS_CACHETIME", default_value = "0", value_name = "SECONDS", value_parser = seconds, global = true)]
    pub cachetime: DurationArg,

    /// Most sessions that are kept in memory for that
    #[arg(long, env = "RS_CACHEMAX", default_value_t = 5000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000), global = true)]
    pub cachemax: u32,

    /// What every key in Redis begins with, before a colon
    #[arg(long, env = "RS_NAMESPACE", default_value = "rs", value_parser = namespace, global = true)]
    pub namespace: String,

    /// Folder of the embedded store
    #[arg(
        long,
        env = "RS_DATA_DIR",
        default_value = "data",
        value_name = "FOLDER",
        global = true
    )]
    pub data_dir: PathBuf,

    /// Memory for records and blocks of the embedded store, in MiB
    #[arg(long, env = "RS_CACHE_SIZE", default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1_048_576), global = true)]
    pub cache_size: u64,

    /// Seconds between two removals of expired sessions, 10 or more; 0 = never
    #[arg(long, env = "RS_WIPE", default_value = "600", value_name = "SECONDS", value_parser = wipe, global = true)]
    pub wipe: u64,

    /// Seconds that a request may wait for the store, or for its own body, before it is answered with an error
    #[arg(long, env = "RS_TIMEOUT", default_value = "2", value_name = "SECONDS", value_parser = some_seconds, global = true)]
    pub timeout: DurationArg,

    /// Seconds that a connection may wait for the head of a request, the first or the next, and for its client to read on
    #[arg(long, env = "RS_IDLE_TIMEOUT", default_value = "75", value_name = "SECONDS", value_parser = some_seconds, global = true)]
    pub idle_timeout: DurationArg,

    /// Connections at once; further ones wait to be accepted
    #[arg(long, env = "RS_MAX_CONNECTIONS", default_value_t = 16_384, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), global = true)]
    pub max_connections: u32,

    /// Seconds from SIGTERM or SIGINT, with /readyz at 503, to the end of accepting
    #[arg(long, env = "RS_DRAIN_DELAY", default_value = "1", value_name = "SECONDS", value_parser = seconds, global = true)]
    pub drain_delay: DurationArg,

    /// Seconds that requests under way then have to finish; with the delay, less than the 10 that Docker waits. The store then
    /// has 5 to close, or the process ends with exit code 3
    #[arg(long, env = "RS_DRAIN_TIMEOUT", default_value = "8", value_name = "SECONDS", value_parser = seconds, global = true)]
    pub drain_timeout: DurationArg,

    /// Threads that serve; 0 = one for each processor
    #[arg(long, env = "RS_THREADS", default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024), global = true)]
    pub threads: u16,

    /// What to log: none, error, warn, info, debug or trace; the original's dev, combined, common, short and tiny mean info
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

    /// How to log: text or json
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

    /// The first option that says how a Redis is to be used, by the name by which it was given: without a Redis it is a
    /// mistake
    #[arg(skip)]
    pub said_of_redis: Option<String>,

    /// Variables that have the name of an option and are not meant for it, each with the reason
    #[arg(skip)]
    pub ignored: Vec<String>,
}

/// What a Redis URL leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say all")]
pub enum RedisMode {
    Single,
    Sentinel,
    Cluster,
}

/// Whether the master behind sentinels speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say all")]
pub enum MasterTls {
    Url,
    On,
    Off,
}

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say all")]
pub enum LogLevel {
    None,
    Error,
    Warn,
    #[value(aliases = ["dev", "combined", "common", "short", "tiny"])]
    Info,
    Debug,
    Trace,
}

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say all")]
pub enum LogFormat {
    Text,
    Json,
}

/// A span of time, told in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DurationArg(pub Duration);

impl fmt::Display for DurationArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

/// The permissions of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// URLs may hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config(…)")
    }
}

impl Default for Config {
    /// Every option at its default, whatever the environment says.
    fn default() -> Self {
        let command = every_arg(Cli::command(), |arg| arg.env(None::<&str>));
        let matches = command.get_matches_from(["rest-sessions"]);
        Self::from_arg_matches(&matches).expect("the defaults are valid")
    }
}

impl Config {
    /// Host and port to listen on. `None` means only the socket.
    #[must_use]
    pub fn tcp(&self) -> Option<(&str, u16)> {
        (self.host != "none").then_some((self.host.as_str(), self.port))
    }
}
