//! What a key of a shard is, by its name.

use crate::session::{App, Token};

/// A key of the classic layout, without the prefix of its shard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// `SESSIONS`
    Ends,
    /// `APP:_sessions`
    Sessions(&'a str),
    /// `APP:_users`
    Users(&'a str),
    /// `APP:us:ID`
    Tokens(&'a str, &'a str),
    /// `APP:TOKEN`
    Session(&'a str, &'a str),
}

impl<'a> Name<'a> {
    /// `None` for a key that is none of a session store's.
    pub(super) fn of(name: &'a str) -> Option<Self> {
        if name == "SESSIONS" {
            return Some(Self::Ends);
        }
        let (app, rest) = name.split_once(':')?;
        App::parse(app).ok()?;
        match rest {
            "_sessions" => Some(Self::Sessions(app)),
            "_users" => Some(Self::Users(app)),
            _ => match rest.strip_prefix("us:") {
                Some(id) => Some(Self::Tokens(app, id)),
                None => Token::parse(rest).ok().map(|_| Self::Session(app, rest)),
            },
        }
    }

    /// The type that such a key has.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Self::Ends | Self::Sessions(_) | Self::Users(_) => "zset",
            Self::Tokens(..) => "set",
            Self::Session(..) => "hash",
        }
    }

    /// Whose key it is.
    pub(super) fn app(&self) -> Option<&'a str> {
        match self {
            Self::Ends => None,
            Self::Sessions(app) | Self::Users(app) | Self::Tokens(app, _) | Self::Session(app, _) => Some(app),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let token = "a".repeat(64);
        let session = format!("forum:{token}");
        assert_eq!(Name::of("SESSIONS"), Some(Name::Ends));
        assert_eq!(Name::of("forum:_sessions"), Some(Name::Sessions("forum")));
        assert_eq!(Name::of("forum:_users"), Some(Name::Users("forum")));
        assert_eq!(Name::of("forum:us:a:b"), Some(Name::Tokens("forum", "a:b")));
        assert_eq!(Name::of(&session), Some(Name::Session("forum", &token)));
        for foreign in [
            "",
            "cache",
            "us:ann",
            "forum",
            "forum:",
            "forum:x",
            "forum:abc:us:1",
            "abc:SESSIONS",
        ] {
            assert_eq!(Name::of(foreign), None, "{foreign}");
        }
    }
}
