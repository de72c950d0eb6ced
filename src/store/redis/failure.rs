//! Why there is no reply, and what an error of Redis means for those who asked and for the connection it came from.

use deadpool_redis::redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

use crate::error::Error;

/// Why there is no reply.
pub(crate) enum Failure {
    /// Redis does not know the script, and did nothing.
    NoScript,
    /// The key holds something else, which nobody can expect to be a session.
    WrongType,
    /// Another node of the cluster has this slot, at this address; nothing was done.
    Moved(String),
    /// Another node has what is asked for already, and has to be told so; nothing was done.
    Ask(String),
    /// The cluster is at work on this slot; nothing was done.
    TryAgain,
    /// There is no connection; nothing was sent. Already logged.
    NotSent,
    /// It was done, but too few replicas have said in time that they have it.
    NotReplicated,
    /// Anything else; already logged.
    Unavailable,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotReplicated => Self::NotReplicated,
            _ => Self::StoreUnavailable,
        }
    }
}

/// What a node of a cluster says of a slot that it does not have, or not yet, or not any more.
pub(crate) fn elsewhere(error: &RedisError) -> Option<Failure> {
    let address = || error.redirect_node().map(|(address, _)| address.to_owned());
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => address().map(Failure::Moved),
        ErrorKind::Server(ServerErrorKind::Ask) => address().map(Failure::Ask),
        ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => Some(Failure::TryAgain),
        // Says a node to who takes it for the only server.
        _ if error.code() == Some("CROSSSLOT") => Some(Failure::TryAgain),
        // A key that a script learned of inside is on its way. Every script looks at all keys before it writes.
        _ if error
            .detail()
            .is_some_and(|detail| detail.contains("access a non local key")) =>
        {
            Some(Failure::TryAgain)
        }
        _ => None,
    }
}

/// Whether the connection an error came from is of no more use: it is down, or leads to a server that cannot serve, such
/// as a master that became a replica. Connecting anew may lead to one that can.
pub(super) fn useless(error: &RedisError) -> bool {
    let known = |error: &ServerError| {
        matches!(error.code(), "READONLY" | "MASTERDOWN" | "LOADING" | "NOAUTH" | "UNKILLABLE")
            // Redis 6 wraps the error of a command inside a script into one of its own.
            || error.details().is_some_and(|details| details.contains("-READONLY"))
    };
    // One error, or those of the commands of a transaction.
    match error.clone().into_server_errors() {
        Some(errors) => errors.iter().any(|(_, error)| known(error)),
        None => true,
    }
}

/// A few words on an error. Never its detail: Redis likes to quote the command, and that holds a token.
pub(super) fn reason(error: &RedisError) -> String {
    if error.is_io_error() {
        // The operating system's words: no command had a part in them.
        return error.to_string();
    }
    // Of a transaction: the first command that was refused says more than EXEC does.
    let refusals = error.clone().into_server_errors();
    match refusals.as_deref().and_then(<[_]>::first) {
        Some((_, refusal)) => refusal.code().to_owned(),
        None => error.category().to_owned(),
    }
}
