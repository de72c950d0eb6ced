//! The classic layout of redis-sessions: the only place that defines keys and index members.
//!
//! A [`KeyText`] is a list of parts that are copied straight into the buffer of a command, so a key costs no
//! allocation. Scripts that read an app, a token or an id themselves get the parts around it and only concatenate.

use std::{fmt, io::Write};

use deadpool_redis::redis::{RedisWrite, ToRedisArgs};

use crate::session::{App, Token};

/// Follows the app in the key of the sorted set of `TOKEN:ID` by last activity.
pub(crate) const SESSIONS: &str = ":_sessions";
/// Follows the app in the key of the sorted set of ids by last activity.
pub(crate) const USERS: &str = ":_users";
/// Stands between app and id in the key of the set of tokens of an id.
pub(crate) const TOKENS: &str = ":us:";

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16384;

/// A key, a member or the beginning of one, in parts.
#[derive(Clone, Copy)]
pub(crate) struct KeyText<'a, const N: usize>([&'a str; N]);

impl<const N: usize> ToRedisArgs for KeyText<'_, N> {
    fn write_redis_args<W: RedisWrite + ?Sized>(&self, out: &mut W) {
        let mut argument = out.writer_for_next_arg();
        for part in self.0 {
            // The buffer of a command grows as needed, so writing to it cannot fail.
            argument.write_all(part.as_bytes()).expect("memory takes every write");
        }
    }
}

impl<const N: usize> fmt::Display for KeyText<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| f.write_str(part))
    }
}

/// The keys of one shard.
pub(crate) struct Keys {
    /// The prefix of every key, `rs:`.
    prefix: String,
    /// `rs:cache`, the same for all shards.
    channel: String,
    /// The slot of all keys of a cluster with this prefix, which contains a hash tag.
    slot: u16,
}

impl Keys {
    pub(crate) fn new(shard: &str, namespace: &str) -> Self {
        let tag = shard.trim_start_matches('{').trim_end_matches('}');
        Self {
            prefix: format!("{shard}:"),
            channel: format!("{namespace}:cache"),
            slot: crc16(tag.as_bytes()) % SLOTS,
        }
    }

    /// The slot of a cluster that contains all these keys.
    pub(crate) fn slot(&self) -> u16 {
        self.slot
    }

    /// `rs:`, the prefix of every key.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `rs:APP:TOKEN`, the hash of one session.
    pub(crate) fn session<'a>(&'a self, app: &'a App, token: &'a Token) -> KeyText<'a, 4> {
        KeyText([&self.prefix, app.as_str(), ":", token.as_str()])
    }

    /// `rs:APP:`, the beginning of the hash key of every session of an app.
    pub(crate) fn session_prefix<'a>(&'a self, app: &'a App) -> KeyText<'a, 3> {
        KeyText([&self.prefix, app.as_str(), ":"])
    }

    /// `rs:APP:_sessions`, the sorted set of [`session_member`] by last activity.
    pub(crate) fn sessions<'a>(&'a self, app: &'a App) -> KeyText<'a, 3> {
        KeyText([&self.prefix, app.as_str(), SESSIONS])
    }

    /// `rs:APP:_users`, the sorted set of ids by last activity.
    pub(crate) fn users<'a>(&'a self, app: &'a App) -> KeyText<'a, 3> {
        KeyText([&self.prefix, app.as_str(), USERS])
    }

    /// `rs:APP:us:ID`, the set of the tokens of one id.
    pub(crate) fn tokens<'a>(&'a self, app: &'a App, id: &'a str) -> KeyText<'a, 4> {
        KeyText([&self.prefix, app.as_str(), TOKENS, id])
    }

    /// `rs:APP:us:`, the beginning of [`Keys::tokens`] for every id of an app.
    pub(crate) fn tokens_prefix<'a>(&'a self, app: &'a App) -> KeyText<'a, 3> {
        KeyText([&self.prefix, app.as_str(), TOKENS])
    }

    /// `rs:SESSIONS`, the sorted set of [`end_member`] by the second at which the session ends.
    pub(crate) fn ends(&self) -> KeyText<'_, 2> {
        KeyText([&self.prefix, "SESSIONS"])
    }

    /// `{rs:00}:_shards`, the number of shards; only on a cluster, and only in the first shard.
    pub(crate) fn shards(&self) -> KeyText<'_, 2> {
        KeyText([&self.prefix, "_shards"])
    }

    /// `rs:cache`, the channel of invalidations for peers with a local cache.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }
}

/// CRC-16/XMODEM, with which a cluster assigns keys to slots:
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

/// `TOKEN:ID`. Only the first colon separates: an id may hold more.
pub(crate) fn session_member<'a>(token: &'a Token, id: &'a str) -> KeyText<'a, 3> {
    KeyText([token.as_str(), ":", id])
}

/// `APP:TOKEN:ID`. Only the first two colons separate.
pub(crate) fn end_member<'a>(app: &'a App, token: &'a Token, id: &'a str) -> KeyText<'a, 5> {
    KeyText([app.as_str(), ":", token.as_str(), ":", id])
}

/// `APP:`, the beginning of [`end_member`] for any token, and of [`message`].
pub(crate) fn app_prefix(app: &App) -> KeyText<'_, 2> {
    KeyText([app.as_str(), ":"])
}

/// `APP:TOKEN`, what is published on [`Keys::channel`].
pub(crate) fn message<'a>(app: &'a App, token: &'a Token) -> KeyText<'a, 3> {
    KeyText([app.as_str(), ":", token.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_redis_sessions() {
        let keys = Keys::new("rs", "rs");
        let app = App::parse("forum").unwrap();
        let text = "a".repeat(64);
        let token = Token::parse(&text).unwrap();
        assert_eq!(keys.prefix().to_string(), "rs:");
        assert_eq!(keys.session(&app, &token).to_string(), format!("rs:forum:{text}"));
        assert_eq!(keys.session_prefix(&app).to_string(), "rs:forum:");
        assert_eq!(keys.sessions(&app).to_string(), "rs:forum:_sessions");
        assert_eq!(keys.users(&app).to_string(), "rs:forum:_users");
        assert_eq!(keys.tokens(&app, "a:b").to_string(), "rs:forum:us:a:b");
        assert_eq!(keys.tokens_prefix(&app).to_string(), "rs:forum:us:");
        assert_eq!(keys.ends().to_string(), "rs:SESSIONS");
        assert_eq!(keys.channel(), "rs:cache");
        assert_eq!(session_member(&token, "a:b").to_string(), format!("{text}:a:b"));
        assert_eq!(end_member(&app, &token, "a:b").to_string(), format!("forum:{text}:a:b"));
        assert_eq!(app_prefix(&app).to_string(), "forum:");
        assert_eq!(message(&app, &token).to_string(), format!("forum:{text}"));
    }

    #[test]
    fn keys_of_a_cluster_are_in_one_slot() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        let keys = Keys::new("{rs:0f}", "rs");
        let app = App::parse("forum").unwrap();
        assert_eq!(keys.sessions(&app).to_string(), "{rs:0f}:forum:_sessions");
        assert_eq!(keys.channel(), "rs:cache");
        assert_eq!(keys.slot(), crc16(b"rs:0f") % SLOTS);
    }
}
