//! The sorted sets: every member has its session.

use deadpool_redis::redis::RedisError;

use super::{MEMBERS, Shard, Walk, link::script, sessions::SLACK};

/// By how many seconds the clock of a peer may be ahead of ours.
const AHEAD: u64 = 3600;

impl Walk<'_> {
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
                walk.tell(kind, shard.place(app, id, Some(token)), true);
            },
        )
    }

    /// The ids of `APP:_users`. After the sessions: the script finds those of an id by its tokens, which may be missing.
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
    pub(super) fn users(&mut self, shard: Shard<'_>, app: &str) -> Result<(), RedisError> {
        let present = self.now + AHEAD;
        let has_session = |walk: &Self, id: &[u8]| {
            let id = String::from_utf8_lossy(id);
            walk.layout.has_id(shard, app, &id) && walk.report.has_session(app, &id)
        };
        let doubtful = |walk: &Self, id: &[u8], score: f64| score > present as f64 || !has_session(walk, id);
        let key = format!("{app}:_users");
        let (present, slack) = (present.to_string(), SLACK.to_string());
        let args = [app, &present, &slack];
        self.sorted(shard, &key, script!("users"), &args, doubtful, |walk, id, wrong| {
            let kind = match wrong {
                // One that is missing from us:, which has been told of, or that has ended meanwhile.
                1 if has_session(walk, id) => return,
                1 => "entry of _users without a session",
                _ => "last activity in _users is in the future",
            };
            let id = String::from_utf8_lossy(id);
            walk.tell(kind, shard.place(app, Some(&*id), None), true);
        })
    }

    /// Asks a script, with some arguments, about those members of a sorted set that are worth it by their score, and tells
    /// of those that it does not say 0 of.
    fn sorted(
        &mut self,
        shard: Shard<'_>,
        key: &str,
        script: &str,
        args: &[&str],
        asked: impl Fn(&Self, &[u8], f64) -> bool,
        tell: impl Fn(&mut Self, &[u8], u8),
    ) -> Result<(), RedisError> {
        let key = format!("{}{key}", shard.keys.prefix());
        let mut cursor = 0;
        loop {
            let (next, members) = self.link.members(shard.keys, &key, cursor)?;
            let members = members
                .into_iter()
                .filter(|(member, score)| asked(self, member, *score));
            let members: Vec<_> = members.map(|(member, _)| member).collect();
            for batch in members.chunks(MEMBERS) {
                let args = args.iter().map(|arg| arg.as_bytes());
                let args: Vec<_> = args.chain(batch.iter().map(Vec::as_slice)).collect();
                let wrong: Vec<u8> = self.link.run(shard.keys, script, &args)?;
                for (member, wrong) in batch.iter().zip(wrong).filter(|(_, wrong)| *wrong != 0) {
                    tell(self, member, wrong);
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}
