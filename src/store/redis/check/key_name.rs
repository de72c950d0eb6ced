//! Tells the keys of a namespace apart by name.

use crate::session::{App, Token};

/// A key of the classic layout, without the prefix of its shard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyName<'a> {
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

impl<'a> KeyName<'a> {
    /// `None` for a foreign key.
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

    /// The type that a key of this name must have.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Self::Ends | Self::Sessions(_) | Self::Users(_) => "zset",
            Self::Tokens(..) => "set",
            Self::Session(..) => "hash",
        }
    }

    /// The app that the key belongs to; `None` for `SESSIONS`.
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
        assert_eq!(KeyName::of("SESSIONS"), Some(KeyName::Ends));
        assert_eq!(KeyName::of("forum:_sessions"), Some(KeyName::Sessions("forum")));
        assert_eq!(KeyName::of("forum:_users"), Some(KeyName::Users("forum")));
        assert_eq!(KeyName::of("forum:us:a:b"), Some(KeyName::Tokens("forum", "a:b")));
        assert_eq!(KeyName::of(&session), Some(KeyName::Session("forum", &token)));
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
            assert_eq!(KeyName::of(foreign), None, "{foreign}");
        }
    }
}
