//! Errors of failed connection attempts: the target, each address that was tried, and what the operator can do.

use std::{io, net::IpAddr};

use deadpool_redis::redis::RedisError;

use crate::store::redis::{connection::happy_eyeballs::FailedAddress, error::reason};

/// The target of a connection attempt.
pub(crate) struct Attempt<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

impl Attempt<'_> {
    /// `HOST:PORT with TLS` or `HOST:PORT without TLS`.
    pub(crate) fn target(&self) -> String {
        let (host, port) = (self.host, self.port);
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let how = if self.tls { "with TLS" } else { "without TLS" };
        format!("{host}:{port} {how}")
    }

    /// An error that names the target.
    pub(super) fn error(&self, why: &str) -> RedisError {
        io::Error::other(format!("cannot connect to {}: {why}", self.target())).into()
    }

    /// The error after all addresses have failed.
    pub(super) fn failed(&self, failed: Vec<FailedAddress>) -> RedisError {
        let only = failed.len() == 1;
        let reasons = failed.into_iter().map(|(address, error)| {
            let why = error.map_or_else(|| "no answer in time".to_owned(), |error| self.explain(&error));
            // The target already names an address that was given as one.
            if only && address.ip().to_string() == self.host {
                return why;
            }
            format!("{}: {why}", address.ip())
        });
        let reasons: Vec<_> = reasons.collect();
        if reasons.is_empty() {
            return self.error("the host name has no address");
        }
        self.error(&reasons.join("; "))
    }

    /// An error in words, with what the operator can do about it.
    pub(crate) fn explain(&self, error: &RedisError) -> String {
        let why = reason(error);
        if why.contains("certificate not valid for name") && self.host.parse::<IpAddr>().is_ok() {
            return format!(
                "{why}; if sentinels or nodes announce this IP address, let them announce host names: see \
                 announce-hostnames and resolve-hostnames of sentinels, cluster-announce-hostname of nodes"
            );
        }
        if why.contains("InvalidContentType") {
            return format!("{why}: the server does not speak TLS here, see redis:// and --redis-master-tls");
        }
        if !self.tls && was_closed(error) {
            return format!("{why}: if the server speaks TLS here, see rediss:// and --redis-master-tls");
        }
        why
    }
}

/// Whether the server closed the connection.
pub(super) fn was_closed(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_target_and_each_address() {
        let error = |kind: io::ErrorKind| Some(RedisError::from(io::Error::from(kind)));
        let plain = Attempt {
            host: "redis.test",
            port: 6379,
            tls: false,
        };
        let tried = vec![
            ("127.0.0.1:6379".parse().unwrap(), None),
            ("[::1]:6379".parse().unwrap(), error(io::ErrorKind::ConnectionRefused)),
        ];
        let told = reason(&plain.failed(tried));
        assert_eq!(
            told,
            "cannot connect to redis.test:6379 without TLS: 127.0.0.1: no answer in time; ::1: connection refused"
        );
        let literal = Attempt {
            host: "::1",
            port: 7000,
            tls: false,
        };
        let tried = vec![("[::1]:7000".parse().unwrap(), error(io::ErrorKind::UnexpectedEof))];
        let told = reason(&literal.failed(tried));
        assert!(
            told.starts_with("cannot connect to [::1]:7000 without TLS: unexpected end of file: "),
            "{told}"
        );
        assert!(told.ends_with("see rediss:// and --redis-master-tls"), "{told}");
        assert!(reason(&plain.failed(Vec::new())).ends_with("the host name has no address"));
    }
}
