//! One struct is the flags, the environment, the keys of the file and their manual.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser,
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

    /// Address or host name to listen on
    #[arg(long, env = "RS_HOST", default_value = "127.0.0.1", value_parser = NonEmptyStringValueParser::new(), global = true)]
    pub host: String,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "RS_PORT", default_value_t = 3000, global = true)]
    pub port: u16,

    /// Redis to keep sessions in, redis://, rediss:// (TLS) or redis+unix://; without it they are kept in --data-dir
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

    /// Connections to Redis; many requests share each one
    #[arg(long, env = "RS_REDIS_CONNECTIONS", default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), global = true)]
    pub redis_connections: u16,

    /// Seconds until Redis knows of a read, 0 to 60; 0 = at once, which costs each get several times as much
    #[arg(long, env = "RS_TOUCH", default_value = "1", value_name = "SECONDS", value_parser = touch, global = true)]
    pub touch: Span,

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
    pub timeout: Span,

    /// Seconds that a connection may wait for the head of a request, the first or the next
    #[arg(long, env = "RS_IDLE_TIMEOUT", default_value = "75", value_name = "SECONDS", value_parser = some_seconds, global = true)]
    pub idle_timeout: Span,

    /// Connections at once; further ones wait to be accepted
    #[arg(long, env = "RS_MAX_CONNECTIONS", default_value_t = 16_384, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), global = true)]
    pub max_connections: u32,

    /// Seconds from SIGTERM or SIGINT, with /readyz at 503, to the end of accepting
    #[arg(long, env = "RS_DRAIN_DELAY", default_value = "1", value_name = "SECONDS", value_parser = seconds, global = true)]
    pub drain_delay: Span,

    /// Seconds that requests under way then have to finish; with the delay, less than the 10 that Docker waits
    #[arg(long, env = "RS_DRAIN_TIMEOUT", default_value = "8", value_name = "SECONDS", value_parser = seconds, global = true)]
    pub drain_timeout: Span,

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
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(f)
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
    /// The Redis to use. `None` means the embedded store.
    #[must_use]
    pub fn redis(&self) -> Option<String> {
        if let Some(url) = self.redis_url.as_ref().or(self.redisurl.as_ref()) {
            return Some(url.clone());
        }
        if self.redishost.is_none() && self.redisport.is_none() {
            return None;
        }
        let host = self.redishost.as_deref().unwrap_or("127.0.0.1");
        // An IPv6 address in a URL stands in brackets.
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        Some(format!("redis://{host}:{}", self.redisport.unwrap_or(6379)))
    }
}

/// Why the program does not start: one line, and the text of `--help` or `--version` where that was asked for.
#[derive(Debug)]
pub enum Refusal {
    /// Not a failure: print this and exit with 0.
    Print(String),
    /// Print this to stderr and exit with 2.
    Usage(String),
}

impl Cli {
    /// Reads the flags, the environment and the file that they name.
    pub fn parse_all(args: impl IntoIterator<Item = OsString> + Clone) -> Result<Self, Refusal> {
        let command = every_arg(Self::command(), without_empty_variable);
        // First without the file, to learn its name; a wrong value is reported in the second round.
        let file = command
            .clone()
            .ignore_errors(true)
            .try_get_matches_from(args.clone())
            .ok()
            .and_then(|matches| config_file(&matches));
        let command = match file {
            Some(path) => with_file(command, &path).map_err(Refusal::Usage)?,
            None => command,
        };
        let matches = command.try_get_matches_from(args).map_err(|error| refusal(&error))?;
        Self::from_arg_matches(&matches).map_err(|error| refusal(&error))
    }
}

fn config_file(matches: &ArgMatches) -> Option<PathBuf> {
    matches.get_one::<PathBuf>("config").cloned()
}

fn every_arg(mut command: clap::Command, change: impl Fn(clap::Arg) -> clap::Arg) -> clap::Command {
    let names: Vec<_> = command.get_arguments().map(|arg| arg.get_id().clone()).collect();
    for name in names {
        command = command.mut_arg(name, &change);
    }
    command
}

fn without_empty_variable(arg: clap::Arg) -> clap::Arg {
    let empty = arg
        .get_env()
        .and_then(std::env::var_os)
        .is_some_and(|value| value.is_empty());
    if empty { arg.env(None::<&str>) } else { arg }
}

/// Puts the file's values in the place of the defaults, so that flags and environment still win.
fn with_file(mut command: clap::Command, path: &Path) -> Result<clap::Command, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|cause| format!("cannot read {name}: {cause}"))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| format!("{name}: {}", one_line(error.message())))?;
    for (key, value) in table {
        let known = command
            .get_arguments()
            .any(|arg| arg.get_id() == key.as_str() && arg.get_env().is_some() || is_option(arg, &key));
        if !known || key == "config" {
            return Err(format!("{name}: unknown key {key:?}"));
        }
        let value = match value {
            toml::Value::String(value) => value,
            toml::Value::Integer(value) => value.to_string(),
            toml::Value::Float(value) => value.to_string(),
            _ => return Err(format!("{name}: {key} must be a string or a number")),
        };
        // The file's own round of checks names the file; later ones would name the flag.
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_id() == key.as_str())
            .cloned();
        if let Some(arg) = arg {
            check(arg, &key, &value).map_err(|error| format!("{name}: {error}"))?;
        }
        command = command.mut_arg(key, |arg| arg.default_value(value));
    }
    Ok(command)
}

fn is_option(arg: &clap::Arg, key: &str) -> bool {
    arg.get_id() == key && arg.get_long().is_some() && !["help", "version"].contains(&key)
}

fn check(arg: clap::Arg, key: &str, value: &str) -> Result<(), String> {
    let long = arg.get_long().unwrap_or(key).to_owned();
    let command = clap::Command::new("file").arg(arg.global(false).env(None::<&str>));
    match command.try_get_matches_from(["file", &format!("--{long}={value}")]) {
        Ok(_) => Ok(()),
        Err(error) => Err(first_line(&error)),
    }
}

fn refusal(error: &clap::Error) -> Refusal {
    if error.use_stderr() {
        Refusal::Usage(first_line(error))
    } else {
        Refusal::Print(error.render().to_string())
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn namespace(text: &str) -> Result<String, &'static str> {
    // Braces would make a hash tag, and the rest could not be told apart in a key.
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'{' && b != b'}');
    if valid {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 visible ASCII characters without braces")
    }
}

fn wipe(text: &str) -> Result<u64, &'static str> {
    match text.parse() {
        Ok(seconds) if seconds == 0 || (10..=31_536_000).contains(&seconds) => Ok(seconds),
        _ => Err("must be 0, or 10 to 31536000"),
    }
}

fn touch(text: &str) -> Result<Span, &'static str> {
    const WRONG: &str = "must be a number of seconds from 0 to 60";
    seconds(text)
        .ok()
        .filter(|span| span.0 <= Duration::from_mins(1))
        .ok_or(WRONG)
}

fn some_seconds(text: &str) -> Result<Span, &'static str> {
    const WRONG: &str = "must be a number of seconds from 0.01 to 86400";
    seconds(text)
        .ok()
        .filter(|span| span.0 >= Duration::from_millis(10))
        .ok_or(WRONG)
}

fn seconds(text: &str) -> Result<Span, &'static str> {
    const WRONG: &str = "must be a number of seconds from 0 to 86400";
    let seconds: f64 = text.parse().map_err(|_| WRONG)?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(Span(Duration::from_secs_f64(seconds)))
    } else {
        Err(WRONG)
    }
}
