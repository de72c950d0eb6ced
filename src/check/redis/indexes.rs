//! The sorted sets: every member has its session.

use std::io::Write;

use deadpool_redis::redis::RedisError;

use super::{MEMBERS, Shard, Walk, link::script};

impl<W: Write> Walk<'_, W> {
    /// The members of `APP:_sessions`, or of `SESSIONS` if there is no app.
    pub(super) fn members(&mut self, shard: Shard<'_>, app: &str) -> Result<(), RedisError> {
        let (key, kind) = if app.is_empty() {
            ("SESSIONS".into(), "entry of SESSIONS without a session")
        } else {
            (format!("{app}:_sessions"), "entry of _sessions without a session")
        };
        self.sorted(
            shard,
            &key,
            script!("members"),
            app,
            |_, _| true,
            |walk, member| {
                let member = String::from_utf8_lossy(member);
                let (app, rest) = if app.is_empty() {
                    member.split_once(':').unwrap_or(("", &*member))
                } else {
                    (app, &*member)
                };
                let (token, id) = rest
                    .split_once(':')
                    .map_or((rest, None), |(token, id)| (token, Some(id)));
                walk.tell(kind, shard.place(app, id, Some(token)), true);
            },
        )
    }

    /// The ids of `APP:_users`. After the sessions: the script finds those of an id by its tokens, which may be missing.
    pub(super) fn users(&mut self, shard: Shard<'_>, app: &str) -> Result<(), RedisError> {
        let unknown = |walk: &Self, id: &[u8]| {
            let id = String::from_utf8_lossy(id);
            !(walk.layout.has_id(shard, app, &id) && walk.report.has_session(app, &id))
        };
        let key = format!("{app}:_users");
        self.sorted(shard, &key, script!("users"), app, unknown, |walk, id| {
            let id = String::from_utf8_lossy(id);
            walk.tell(
                "entry of _users without a session",
                shard.place(app, Some(&*id), None),
                true,
            );
        })
    }

    /// Asks a script about those members of a sorted set that are worth it, and tells of those that it says 1 of.
    fn sorted(
        &mut self,
        shard: Shard<'_>,
        key: &str,
        script: &str,
        app: &str,
        asked: impl Fn(&Self, &[u8]) -> bool,
        tell: impl Fn(&mut Self, &[u8]),
    ) -> Result<(), RedisError> {
        let key = format!("{}{key}", shard.keys.prefix());
        let mut cursor = 0;
        loop {
            let (next, members) = self.link.members(shard.keys, &key, cursor)?;
            let members: Vec<_> = members.into_iter().filter(|member| asked(self, member)).collect();
            for batch in members.chunks(MEMBERS) {
                let args: Vec<_> = [app.as_bytes()]
                    .into_iter()
                    .chain(batch.iter().map(Vec::as_slice))
                    .collect();
                let nowhere: Vec<u8> = self.link.run(shard.keys, script, &args)?;
                for (member, _) in batch.iter().zip(nowhere).filter(|(_, nowhere)| *nowhere == 1) {
                    tell(self, member);
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}
