//! Checks the sorted sets: every member must have its session.

use deadpool_redis::redis::RedisError;

use super::{
    connection::script,
    keyspace::CheckedShard,
    sessions::SLACK,
    walk::{MEMBERS_PER_SCRIPT, Walk},
};

/// By how many seconds the clock of a peer may be ahead of this one.
const CLOCK_AHEAD: u64 = 3600;

impl Walk<'_> {
    /// Checks the members of `APP:_sessions`, or of `SESSIONS` if `app` is empty.
    pub(super) fn check_members(&mut self, shard: CheckedShard<'_>, app: &str) -> Result<(), RedisError> {
        let (key, kind) = if app.is_empty() {
            ("SESSIONS".into(), "entry of SESSIONS without a session")
        } else {
            (format!("{app}:_sessions"), "entry of _sessions without a session")
        };
        self.check_sorted_set(
            shard,
            &key,
            script!("members"),
            &[app],
            |_, _, _| true,
            |walk, member, _| {
                let member = String::from_utf8_lossy(member);
                let (app, rest) = if app.is_empty() {
                    member.split_once(':').unwrap_or(("", &*member))
                } else {
                    (app, &*member)
                };
                let (token, id) = rest
                    .split_once(':')
                    .map_or((rest, None), |(token, id)| (token, Some(id)));
                walk.report_fault(kind, shard.place(app, id, Some(token)), true);
            },
        )
    }

    /// Checks the ids of `APP:_users`. Comes after the sessions, because the script finds the sessions of an id by its
    /// tokens, which a repair may have to restore first.
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
    pub(super) fn check_users(&mut self, shard: CheckedShard<'_>, app: &str) -> Result<(), RedisError> {
        let present = self.now + CLOCK_AHEAD;
        let has_session = |walk: &Self, id: &[u8]| {
            let id = String::from_utf8_lossy(id);
            walk.keyspace.has_id(shard, app, &id) && walk.report.has_session(app, &id)
        };
        let doubtful = |walk: &Self, id: &[u8], score: f64| score > present as f64 || !has_session(walk, id);
        let key = format!("{app}:_users");
        let (present, slack) = (present.to_string(), SLACK.to_string());
        let args = [app, &present, &slack];
        self.check_sorted_set(shard, &key, script!("users"), &args, doubtful, |walk, id, wrong| {
            let kind = match wrong {
                // Its session is missing from us:, which was reported, or has ended since.
                1 if has_session(walk, id) => return,
                1 => "entry of _users without a session",
                _ => "last activity in _users is in the future",
            };
            let id = String::from_utf8_lossy(id);
            walk.report_fault(kind, shard.place(app, Some(&*id), None), true);
        })
    }

    /// Runs a script on the members of a sorted set that `selected` accepts, and calls `report` for each one that the
    /// script returns other than 0 for.
    fn check_sorted_set(
        &mut self,
        shard: CheckedShard<'_>,
        key: &str,
        script: &str,
        args: &[&str],
        selected: impl Fn(&Self, &[u8], f64) -> bool,
        report: impl Fn(&mut Self, &[u8], u8),
    ) -> Result<(), RedisError> {
        let key = format!("{}{key}", shard.keys.prefix());
        let mut cursor = 0;
        loop {
            let (next, members) = self.connection.members(shard.keys, &key, cursor)?;
            let members = members
                .into_iter()
                .filter(|(member, score)| selected(self, member, *score));
            let members: Vec<_> = members.map(|(member, _)| member).collect();
            for batch in members.chunks(MEMBERS_PER_SCRIPT) {
                let args = args.iter().map(|arg| arg.as_bytes());
                let args: Vec<_> = args.chain(batch.iter().map(Vec::as_slice)).collect();
                let wrong: Vec<u8> = self.connection.run(shard.keys, script, &args)?;
                for (member, wrong) in batch.iter().zip(wrong).filter(|(_, wrong)| *wrong != 0) {
                    report(self, member, wrong);
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}
