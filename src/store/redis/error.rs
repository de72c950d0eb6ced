//! Why there is no reply, and what an error of Redis means for those who asked and for the connection it came from.

use deadpool_redis::redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

use crate::store::Error;

/// Why there is no reply.
pub(crate) enum CommandError {
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
    /// Redis refuses the command, and will refuse it again; nothing was done. Already logged.
    Refused,
    /// It was done, but too few replicas have said in time that they have it.
    NotReplicated,
    /// Anything else; already logged.
    Unavailable,
}

impl CommandError {
    /// The same for one more of those whose commands went together.
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

/// What a node of a cluster says of a slot that it does not have, or not yet, or not any more.
pub(crate) fn elsewhere(error: &RedisError) -> Option<CommandError> {
    let address = || error.redirect_node().map(|(address, _)| address.to_owned());
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => address().map(CommandError::Moved),
        ErrorKind::Server(ServerErrorKind::Ask) => address().map(CommandError::Ask),
        ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => Some(CommandError::TryAgain),
        // Says a node to who takes it for the only server.
        _ if error.code() == Some("CROSSSLOT") => Some(CommandError::TryAgain),
        // A key that a script learned of inside is on its way. Every script looks at all keys before it writes.
        _ if error
            .detail()
            .is_some_and(|detail| detail.contains("access a non local key")) =>
        {
            Some(CommandError::TryAgain)
        }
        _ => None,
    }
}

/// Whether the connection an error came from is of no more use: it is down, or leads to a server that cannot serve, such
/// as a master that became a replica. Connecting anew may lead to one that can.
pub(crate) fn useless(error: &RedisError) -> bool {
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
pub(crate) fn reason(error: &RedisError) -> String {
    if error.is_timeout() {
        return "no reply in time".to_owned();
    }
    if error.is_io_error() {
        // The operating system's words: no command had a part in them.
        return error.to_string();
    }
    // Of a transaction: the first command that was refused says more than EXEC does.
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

/// The code of an error inside a script. Redis 6 answers `@user_script:LINE: -CODE …` where later versions answer the error
/// itself.
fn code_inside(detail: &str) -> Option<&str> {
    let mut codes = detail.split(' ').filter_map(|word| word.strip_prefix('-'));
    codes.find(|code| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// What errors say of which the code tells too little, and how it is told.
const KNOWN: [(&str, &str); 8] = [
    (
        "running in protected mode",
        "DENIED: it is in protected mode and serves its own machine only: set a password in Redis (requirepass), or \
         protected-mode no where nobody else reaches it",
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

/// What a detail says, where its code says too little and its words are known: nothing of the command but its name.
fn plain_words(detail: &str) -> Option<String> {
    // As versions 6 and 7 say it, also of a command in a script, whose error has the code of the script.
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
    fn an_error_inside_a_script_has_its_own_code() {
        let detail = "12: -READONLY You can't write against a read only replica.";
        assert_eq!(code_inside(detail), Some("READONLY"));
        assert_eq!(code_inside("3: attempt to compare nil with number -secret"), None);
    }

    #[test]
    fn only_known_words_are_told() {
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
