//! Merges the command line, the environment and the file into one configuration.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, CommandFactory, FromArgMatches, error::ContextValue, parser::ValueSource};

use super::options::{Cli, Config};
use crate::text::{file, printable};

/// Why the program does not start.
#[derive(Debug)]
pub enum Refusal {
    /// `--help` or `--version`: print this text and exit with code 0.
    Print(String),
    /// A usage error: print this line to stderr and exit with code 2.
    Usage(String),
}

impl Cli {
    /// Reads the flags, the environment, and the file that they name.
    pub fn parse_all(args: impl IntoIterator<Item = OsString> + Clone) -> Result<Self, Refusal> {
        let warnings = Self::command().get_arguments().filter_map(service_link).collect();
        let command = every_arg(Self::command(), without_unusable_variable);
        // The first pass only finds the name of the file. The second pass reports wrong values.
        let file = command
            .clone()
            .ignore_errors(true)
            .try_get_matches_from(args.clone())
            .ok()
            .and_then(|matches| config_file(&matches));
        let (command, in_file) = match file {
            Some(path) => with_file(command, &path).map_err(Refusal::Usage)?,
            None => (command, HashMap::new()),
        };
        let matches = command.try_get_matches_from(args).map_err(refusal)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(refusal)?;
        cli.config.redis_option_set = redis_option_set(&matches, &in_file);
        cli.config.warnings = warnings;
        Ok(cli)
    }
}

impl Default for Config {
    /// Every option at its default. Ignores the environment.
    fn default() -> Self {
        let command = every_arg(Cli::command(), |arg| arg.env(None::<&str>));
        let matches = command.get_matches_from(["rest-sessions"]);
        Self::from_arg_matches(&matches).expect("the defaults are valid")
    }
}

/// The first option about Redis that was set, by the name under which it was set. Defaults do not count.
fn redis_option_set(matches: &ArgMatches, in_file: &HashMap<String, String>) -> Option<String> {
    Cli::command().get_arguments().find_map(|arg| {
        let key = arg.get_id().as_str();
        if !key.starts_with("redis_") {
            return None;
        }
        match matches.value_source(key)? {
            ValueSource::CommandLine => Some(format!("--{}", arg.get_long()?)),
            ValueSource::EnvVariable => Some(arg.get_env()?.to_string_lossy().into_owned()),
            _ => in_file.get(key).cloned(),
        }
    })
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

fn without_unusable_variable(arg: clap::Arg) -> clap::Arg {
    let Some(value) = arg.get_env().and_then(std::env::var_os) else {
        return arg;
    };
    if value.is_empty() || service_link(&arg).is_some() {
        return arg.env(None::<&str>);
    }
    // `--help` prints the values of variables: hide those that are not printable.
    let text = value.to_string_lossy();
    let plain = printable::value(&text) == text;
    if plain { arg } else { arg.hide_env_values(true) }
}

/// A warning if the variable of an option was set by Kubernetes and not by the operator. Kubernetes, and Docker's old links,
/// describe a Service called `rs` to every container beside it as `RS_PORT=tcp://10.0.0.1:3000` and a dozen more variables.
fn service_link(arg: &clap::Arg) -> Option<String> {
    let name = arg.get_env()?.to_str().filter(|name| name.ends_with("_PORT"))?;
    let value = std::env::var(name).ok()?;
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)).then(|| {
        let value = printable::value(&value);
        format!(
            "{name}={value} is ignored: Kubernetes sets it for a Service of that name (service links); set {name} to a port, or \
             enableServiceLinks to false"
        )
    })
}

/// Replaces the defaults by the values of the file, so that flags and environment still win. Also returns each key of the file
/// with its name for error messages.
fn with_file(mut command: clap::Command, path: &Path) -> Result<(clap::Command, HashMap<String, String>), String> {
    let name = printable::path(path);
    let mut names = HashMap::new();
    let text = file::text(path).map_err(|cause| format!("cannot read {name}: {cause}"))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| format!("{name}: {}", one_line(error.message())))?;
    for (key, value) in table {
        let known = command
            .get_arguments()
            .any(|arg| arg.get_id() == key.as_str() && arg.get_env().is_some() || is_option(arg, &key));
        if !known || key == "config" {
            return Err(format!("{name}: unknown key \"{}\"", printable::value(&key)));
        }
        let value = match value {
            toml::Value::String(value) => value,
            toml::Value::Integer(value) => value.to_string(),
            toml::Value::Float(value) => value.to_string(),
            _ => return Err(format!("{name}: {key} must be a string or a number")),
        };
        // Validate here, where the error can name the file. clap would name the flag.
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_id() == key.as_str())
            .cloned();
        if let Some(arg) = arg {
            check(arg, &key, &value).map_err(|error| format!("{name}: {error}"))?;
        }
        names.insert(key.clone(), format!("{name}: {key}"));
        command = command.mut_arg(key, |arg| arg.default_value(value));
    }
    Ok((command, names))
}

fn is_option(arg: &clap::Arg, key: &str) -> bool {
    arg.get_id() == key && arg.get_long().is_some() && !["help", "version"].contains(&key)
}

fn check(arg: clap::Arg, key: &str, value: &str) -> Result<(), String> {
    let long = arg.get_long().unwrap_or(key).to_owned();
    let command = clap::Command::new("file").arg(arg.global(false).env(None::<&str>));
    match command.try_get_matches_from(["file", &format!("--{long}={value}")]) {
        Ok(_) => Ok(()),
        Err(error) => Err(first_line(error)),
    }
}

fn refusal(error: clap::Error) -> Refusal {
    if error.use_stderr() {
        Refusal::Usage(first_line(error))
    } else {
        Refusal::Print(error.render().to_string())
    }
}

fn first_line(mut error: clap::Error) -> String {
    // Escape values before they become part of the text, where their ends cannot be found any more.
    let given = error.context().filter_map(|(kind, value)| match value {
        ContextValue::String(text) => Some((kind, ContextValue::String(printable::value(text)))),
        _ => None,
    });
    for (kind, value) in given.collect::<Vec<_>>() {
        error.insert(kind, value);
    }
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
