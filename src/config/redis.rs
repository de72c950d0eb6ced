//! The options that describe a Redis.

use std::path::{Path, PathBuf};

use super::{
    options::Config,
    types::{MasterTls, RedisMode},
};
use crate::text;

/// Where Redis is and how to log in. No `Debug`: it may hold passwords.
pub struct RedisServers {
    /// URLs, separated by commas.
    pub urls: String,
    /// What the URLs lead to.
    pub mode: RedisMode,
    /// Name of the master, for sentinels.
    pub master: String,
    /// User, if the URL names none.
    pub username: Option<String>,
    /// Password, if the URL has none.
    pub password: Option<String>,
    /// Password of the sentinels.
    pub sentinel_password: Option<String>,
    /// Whether the master behind sentinels speaks TLS. `None`: as the sentinels do.
    pub master_tls: Option<bool>,
    /// PEM file of authorities, in place of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of the client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Config {
    /// The Redis to use. `None` means the embedded store. Fails with one line for the operator, without secrets.
    pub fn redis(&self) -> Result<Option<RedisServers>, String> {
        let Some(urls) = self.redis_urls() else {
            return match &self.redis_option_set {
                Some(name) => Err(format!(
                    "{name} needs RS_REDIS_URL: without it sessions are in the embedded store"
                )),
                None => Ok(None),
            };
        };
        if self.redis_password.is_some() && self.redis_password_file.is_some() {
            return Err("--redis-password and --redis-password-file exclude each other".into());
        }
        if self.redis_cert.is_some() != self.redis_key.is_some() {
            return Err("--redis-cert and --redis-key need each other".into());
        }
        if !self.cachetime.0.is_zero() && self.touch.0.is_zero() {
            return Err("--cachetime needs a --touch above 0: without, each get is written to Redis at once".into());
        }
        let password = match &self.redis_password_file {
            Some(file) => Some(read_secret(file)?),
            None => self.redis_password.clone(),
        };
        Ok(Some(RedisServers {
            urls,
            mode: self.redis_mode,
            master: self.redis_master.clone(),
            username: self.redis_username.clone(),
            password,
            sentinel_password: self
                .redis_sentinel_password_file
                .as_deref()
                .map(read_secret)
                .transpose()?,
            master_tls: match self.redis_master_tls {
                MasterTls::Url => None,
                MasterTls::On => Some(true),
                MasterTls::Off => Some(false),
            },
            ca: self.redis_ca.clone(),
            identity: self.redis_cert.clone().zip(self.redis_key.clone()),
        }))
    }

    /// The URLs, also from the options of the original service.
    #[must_use]
    pub fn redis_urls(&self) -> Option<String> {
        if let Some(url) = self.redis_url.as_ref().or(self.redisurl.as_ref()) {
            return Some(url.clone());
        }
        if self.redishost.is_none() && self.redisport.is_none() {
            return None;
        }
        let host = self.redishost.as_deref().unwrap_or("127.0.0.1");
        // A URL needs brackets around an IPv6 address.
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        Some(format!("redis://{host}:{}", self.redisport.unwrap_or(6379)))
    }
}

/// The first line of a file, without the byte order mark and carriage return of Windows.
fn read_secret(file: &Path) -> Result<String, String> {
    let name = text::printable::path(file);
    let content = text::file::text(file).map_err(|cause| format!("cannot read {name}: {cause}"))?;
    match content.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("no password in {name}")),
    }
}
