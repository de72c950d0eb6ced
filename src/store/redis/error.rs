//! Errors of Redis: what each means for the caller and for its connection, and what of it may be logged.

use deadpool_redis::redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

use crate::store::Error;

/// Why a command has no usable reply.
pub(crate) enum CommandError {
    /// Redis does not know the script; nothing was applied.
    NoScript,
    /// The key is of another type than that of a session.
    WrongType,
    /// The node at this address serves the slot; nothing was applied.
    Moved(String),
    /// The node at this address is importing the slot and serves the key after `ASKING`; nothing was applied.
    Ask(String),
    /// The slot is migrating or down; nothing was applied.
    TryAgain,
    /// There is no connection; nothing was sent. Logged already.
    NotSent,
    /// Redis refuses the command and would refuse it again; nothing was applied. Logged already.
    Refused,
    /// The change was applied, but too few replicas have acknowledged it in time.
    NotReplicated,
    /// Anything else; the command may have been applied. Logged already.
    Unavailable,
}

impl CommandError {
    /// The same error for another command of the same batch.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::NotSent => Self::NotSent,
            _ => Self::Unavailable,
        }
    }
}

impl From<CommandError> for Error {
    fn from(failure: CommandError) -> Self {
        match failure {
            CommandError::NotReplicated => Self::NotReplicated,
            _ => Self::Unavailable,
        }
    }
}

/// The error of a node of a cluster about a slot that it does not serve; `None` for any other error.
pub(crate) fn elsewhere(error: &RedisError) -> Option<CommandError> {
    let address = || error.redirect_node().map(|(address, _)| address.to_owned());
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => address().map(CommandError::Moved),
        ErrorKind::Server(ServerErrorKind::Ask) => address().map(CommandError::Ask),
        ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => Some(CommandError::TryAgain),
        // A node replies so to a client that takes it for the only server.
        _ if error.code() == Some("CROSSSLOT") => Some(CommandError::TryAgain),
        // A key whose name a script has read is migrating. Every script accesses all keys before it writes.
        _ if error
            .detail()
            .is_some_and(|detail| detail.contains("access a non local key")) =>
        {
            Some(CommandError::TryAgain)
        }
        _ => None,
    }
}

/// Whether the connection should be given up: it is down, or leads to a server that cannot serve, such as a master that
/// became a replica. A new connection may lead to another server.
pub(crate) fn breaks_connection(error: &RedisError) -> bool {
    let known = |error: &ServerError| {
        matches!(error.code(), "READONLY" | "MASTERDOWN" | "LOADING" | "NOAUTH" | "UNKILLABLE")
            // Redis 6 wraps the error of a command in a script.
            || error.details().is_some_and(|details| details.contains("-READONLY"))
    };
    // One error, or the errors of the commands of a transaction.
    match error.clone().into_server_errors() {
        Some(errors) => errors.iter().any(|(_, error)| known(error)),
        None => true,
    }
}

/// A short text for the log. Never the detail of an error: Redis may quote the command there, which contains a token.
pub(crate) fn reason(error: &RedisError) -> String {
    if error.is_timeout() {
        return "no reply in time".to_owned();
    }
    if error.is_io_error() {
        // The text of the operating system quotes no command.
        return error.to_string();
    }
    // In a transaction, the error of the first refused command says more than that of EXEC.
    let refusals = error.clone().into_server_errors();
    let refusal = refusals.as_deref().and_then(<[_]>::first);
    let detail = refusal.map_or_else(|| error.detail(), |(_, refusal)| refusal.details());
    if let Some(words) = detail.and_then(plain_words) {
        return words;
    }
    match refusal {
        Some((_, refusal)) if refusal.code().starts_with('@') => {
            let code = refusal.details().and_then(code_inside);
            code.unwrap_or("an error in a script").to_owned()
        }
        Some((_, refusal)) => refusal.code().to_owned(),
        None => error.category().to_owned(),
    }
}

/// The code of an error in a script. Redis 6 replies `@user_script:LINE: -CODE …`; later versions reply the error
/// itself.
fn code_inside(detail: &str) -> Option<&str> {
    let mut codes = detail.split(' ').filter_map(|word| word.strip_prefix('-'));
    codes.find(|code| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// Details that may be logged because their code says too little: a part of the detail, and the text for the log.
const KNOWN: [(&str, &str); 8] = [
    (
        "running in protected mode",
        "DENIED: it is in protected mode and serves its own machine only: set a password in Redis (requirepass), or \
         protected-mode no if the network is closed to others",
    ),
    (
        "max number of clients reached",
        "max number of clients reached: raise maxclients of Redis, or use fewer connections",
    ),
    (
        "the script can't run this command",
        "NOPERM: no permission to run a command in a script",
    ),
    (
        "the script can't access",
        "NOPERM: no permission to access a key in a script",
    ),
    ("permissions to access a key", "NOPERM: no permission to access a key"),
    (
        "permissions to access one of the keys",
        "NOPERM: no permission to access a key",
    ),
    (
        "permissions to access a channel",
        "NOPERM: no permission to access a channel",
    ),
    (
        "DB index is out of range",
        "its database index is out of range: it has fewer databases",
    ),
];

/// The text for a known detail. It contains nothing of the command but its name.
fn plain_words(detail: &str) -> Option<String> {
    // The wording of versions 6 and 7, also for a command in a script.
    if let Some((_, rest)) = detail.split_once("has no permissions to run the '") {
        let name = rest.split('\'').next().unwrap_or_default();
        let is_one = |byte: u8| byte.is_ascii_lowercase() || byte == b'|' || byte == b'-';
        if name.len() <= 32 && name.bytes().all(is_one) {
            return Some(format!("NOPERM: no permission to run {name}"));
        }
    }
    let known = KNOWN.iter().find(|(text, _)| detail.contains(text));
    known.map(|(_, words)| (*words).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_error_in_a_script_is_found() {
        let detail = "12: -READONLY You can't write against a read only replica.";
        assert_eq!(code_inside(detail), Some("READONLY"));
        assert_eq!(code_inside("3: attempt to compare nil with number -secret"), None);
    }

    #[test]
    fn only_known_details_are_logged() {
        for (detail, words) in [
            (
                "User ann has no permissions to run the 'config|get' command",
                Some("NOPERM: no permission to run config|get"),
            ),
            (
                "user_script:9: NOPERM ACL failure in script: User ann has no permissions to run the 'hget' command",
                Some("NOPERM: no permission to run hget"),
            ),
            (
                "No permissions to access a key",
                Some("NOPERM: no permission to access a key"),
            ),
            ("unknown command 'x', with args beginning with: 'SECRET'", None),
            ("has no permissions to run the 'SECRET' command", None),
        ] {
            assert_eq!(plain_words(detail).as_deref(), words, "{detail}");
        }
    }
}
