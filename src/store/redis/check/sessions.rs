//! Checks session hashes: each must be readable, in the right shard, and in every index.

use deadpool_redis::redis::{RedisError, Value, from_redis_value};

use super::{connection::script, keyspace::CheckedShard, walk::Walk};
use crate::{
    session::{Data, Seconds},
    store::Location,
};

/// By how many seconds an index may differ from the hash. Why: redis-sessions updates the indexes one second before
/// `la` and reads the clock twice, and the clocks of peers differ.
pub(super) const SLACK: u64 = 5;

impl Walk<'_> {
    /// Compares some sessions, each an app and a token, with the indexes.
    pub(super) fn compare_sessions(
        &mut self,
        shard: CheckedShard<'_>,
        sessions: &[(&str, &str)],
    ) -> Result<(), RedisError> {
        let slack = SLACK.to_string();
        let pairs = sessions.iter().flat_map(|(app, token)| [*app, *token]);
        let args: Vec<_> = [slack.as_str()].into_iter().chain(pairs).collect();
        let results: Vec<Vec<Value>> = self.connection.run(shard.keys, script!("sessions"), &args)?;
        for ((app, token), result) in sessions.iter().zip(results) {
            self.report_session(shard, app, token, result)?;
        }
        Ok(())
    }

    /// Reports what `scripts/sessions.lua` returned for one session, and removes it if it is unusable.
    fn report_session(
        &mut self,
        shard: CheckedShard<'_>,
        app: &str,
        token: &str,
        result: Vec<Value>,
    ) -> Result<(), RedisError> {
        let mut result = result.into_iter();
        let Some(id) = result.next() else { return Ok(()) };
        let raw: Vec<u8> = from_redis_value(id)?;
        let id = String::from_utf8_lossy(&raw);
        let place = shard.place(app, Some(&*id).filter(|id| !id.is_empty()), Some(token));
        let (Some(ends), Some(d)) = (result.next(), result.next()) else {
            self.report_fault("unreadable session", place, true);
            return Ok(());
        };
        let (ends, d): (Seconds, Vec<u8>) = (from_redis_value(ends)?, from_redis_value(d)?);
        if let Some(kind) = self.unusable(shard, place, &d) {
            let args = [app.as_bytes(), token.as_bytes(), &raw, &d];
            let removed: u8 = self.connection.run(shard.keys, script!("remove"), &args)?;
            self.report.disagreement(kind, place, removed == 1);
            return Ok(());
        }
        self.report.session(app, &id, token, ends < self.now);
        while let (Some(wrong), Some(repaired)) = (result.next(), result.next()) {
            let (wrong, repaired): (String, u8) = (from_redis_value(wrong)?, from_redis_value(repaired)?);
            self.report.disagreement(kind_of(&wrong), place, repaired == 1);
        }
        Ok(())
    }

    /// Why a session is unusable, if it is. A session in the wrong shard counts as such, because killsoid does not find
    /// it.
    fn unusable(
        &self,
        shard: CheckedShard<'_>,
        Location { app, id, token, .. }: Location<'_>,
        d: &[u8],
    ) -> Option<&'static str> {
        let data = || Data::stored(std::str::from_utf8(d).ok()?);
        if !d.is_empty() && data().is_none() {
            Some("unreadable d")
        } else if !self.keyspace.has_token(shard, token.unwrap_or_default()) {
            Some("session in a shard that its token does not lead to")
        } else if !self.keyspace.has_id(shard, app, id.unwrap_or_default()) {
            Some("session in a shard that its id does not lead to")
        } else {
            None
        }
    }
}

/// The kind of a fault in the report, by its name in `scripts/sessions.lua`.
fn kind_of(wrong: &str) -> &'static str {
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
