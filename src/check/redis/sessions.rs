//! The hashes: each makes a session, and every index has it.

use std::io::Write;

use deadpool_redis::redis::{RedisError, Value, from_redis_value};

use super::{Place, Walk, link::script};
use crate::session::{Data, Seconds};

/// By how many seconds an index may differ from the hash: redis-sessions moves the indexes one second before `la`, asks for
/// the time twice, and the clocks of peers are never quite the same.
const SLACK: u64 = 5;

impl<W: Write> Walk<'_, W> {
    /// Looks at some sessions, each an app and a token.
    pub(super) fn batch(&mut self, sessions: &[(&str, &str)]) -> Result<(), RedisError> {
        let slack = SLACK.to_string();
        let pairs = sessions.iter().flat_map(|(app, token)| [*app, *token]);
        let args: Vec<_> = [slack.as_str()].into_iter().chain(pairs).collect();
        let results: Vec<Vec<Value>> = self.link.run(script!("sessions"), &args)?;
        for ((app, token), result) in sessions.iter().zip(results) {
            self.session(app, token, result)?;
        }
        Ok(())
    }

    fn session(&mut self, app: &str, token: &str, result: Vec<Value>) -> Result<(), RedisError> {
        let mut result = result.into_iter();
        let Some(id) = result.next() else { return Ok(()) };
        let raw: Vec<u8> = from_redis_value(id)?;
        let id = String::from_utf8_lossy(&raw);
        let (token, id) = (Some(token), Some(&*id).filter(|id| !id.is_empty()));
        let place = Place { app, id, token };
        let (Some(ends), Some(d)) = (result.next(), result.next()) else {
            self.tell("hash that makes no session", place, true);
            return Ok(());
        };
        let (ends, d): (Seconds, Vec<u8>) = (from_redis_value(ends)?, from_redis_value(d)?);
        let text = String::from_utf8(d.clone()).ok();
        if !d.is_empty() && text.and_then(Data::stored).is_none() {
            let args = [app.as_bytes(), token.unwrap_or_default().as_bytes(), &raw, &d];
            let removed: u8 = self.link.run(script!("remove"), &args)?;
            self.report.disagreement("unreadable d", place, removed == 1);
            return Ok(());
        }
        let (id, token) = (id.unwrap_or_default(), token.unwrap_or_default());
        self.report.session(app, id, token, ends < self.now);
        while let (Some(wrong), Some(mended)) = (result.next(), result.next()) {
            let (wrong, mended): (String, u8) = (from_redis_value(wrong)?, from_redis_value(mended)?);
            self.report.disagreement(known(&wrong), place, mended == 1);
        }
        Ok(())
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
