//! The hashes: each makes a session, and every index has it.

use deadpool_redis::redis::{RedisError, Value, from_redis_value};

use super::{Shard, Walk, link::script};
use crate::{
    session::{Data, Seconds},
    store::Location,
};

/// By how many seconds an index may differ from the hash: redis-sessions moves the indexes one second before `la`, asks for
/// the time twice, and the clocks of peers are never quite the same.
pub(super) const SLACK: u64 = 5;

impl Walk<'_> {
    /// Looks at some sessions, each an app and a token.
    pub(super) fn batch(&mut self, shard: Shard<'_>, sessions: &[(&str, &str)]) -> Result<(), RedisError> {
        let slack = SLACK.to_string();
        let pairs = sessions.iter().flat_map(|(app, token)| [*app, *token]);
        let args: Vec<_> = [slack.as_str()].into_iter().chain(pairs).collect();
        let results: Vec<Vec<Value>> = self.link.run(shard.keys, script!("sessions"), &args)?;
        for ((app, token), result) in sessions.iter().zip(results) {
            self.session(shard, app, token, result)?;
        }
        Ok(())
    }

    fn session(&mut self, shard: Shard<'_>, app: &str, token: &str, result: Vec<Value>) -> Result<(), RedisError> {
        let mut result = result.into_iter();
        let Some(id) = result.next() else { return Ok(()) };
        let raw: Vec<u8> = from_redis_value(id)?;
        let id = String::from_utf8_lossy(&raw);
        let place = shard.place(app, Some(&*id).filter(|id| !id.is_empty()), Some(token));
        let (Some(ends), Some(d)) = (result.next(), result.next()) else {
            self.tell("hash that makes no session", place, true);
            return Ok(());
        };
        let (ends, d): (Seconds, Vec<u8>) = (from_redis_value(ends)?, from_redis_value(d)?);
        if let Some(kind) = self.useless(shard, place, &d) {
            let args = [app.as_bytes(), token.as_bytes(), &raw, &d];
            let removed: u8 = self.link.run(shard.keys, script!("remove"), &args)?;
            self.report.disagreement(kind, place, removed == 1);
            return Ok(());
        }
        self.report.session(app, &id, token, ends < self.now);
        while let (Some(wrong), Some(mended)) = (result.next(), result.next()) {
            let (wrong, mended): (String, u8) = (from_redis_value(wrong)?, from_redis_value(mended)?);
            self.report.disagreement(known(&wrong), place, mended == 1);
        }
        Ok(())
    }

    /// Why a session is of no use to anybody, or not to be trusted: what ends all sessions of an id does not find one that is
    /// elsewhere.
    fn useless(
        &self,
        shard: Shard<'_>,
        Location { app, id, token, .. }: Location<'_>,
        d: &[u8],
    ) -> Option<&'static str> {
        let readable = || Data::stored(std::str::from_utf8(d).ok()?);
        if !d.is_empty() && readable().is_none() {
            Some("unreadable d")
        } else if !self.layout.has_token(shard, token.unwrap_or_default()) {
            Some("session in a shard that its token does not lead to")
        } else if !self.layout.has_id(shard, app, id.unwrap_or_default()) {
            Some("session in a shard that its id does not lead to")
        } else {
            None
        }
    }
}

/// What `scripts/sessions.lua` finds wrong.
fn known(wrong: &str) -> &'static str {
    const KINDS: [(&str, &str); 8] = [
        ("missing from _sessions", "session missing from _sessions"),
        ("missing from SESSIONS", "session missing from SESSIONS"),
        ("missing from us:", "session missing from us:"),
        ("missing from _users", "session missing from _users"),
        ("_sessions is not at la", "last activity in _sessions is wrong"),
        ("SESSIONS ends too early", "end in SESSIONS is too early"),
        ("SESSIONS ends too late", "end in SESSIONS is too late"),
        ("_users is before la", "last activity in _users is too early"),
    ];
    let kind = KINDS.iter().find(|(name, _)| *name == wrong);
    kind.map_or("session that disagrees with an index", |(_, kind)| kind)
}
