//! A walk through a namespace of Redis, while services may use it: in batches, and each batch by a script, so that what it
//! finds was so at one moment, and what it mends is what it found.
//!
//! Live peers write a hash and its indexes together, so that these differ by what clocks do, and by a second or two in
//! which redis-sessions leaves `la` alone: see [`SLACK`]. Reads that a service has not written yet are in neither.

mod link;
mod name;

use std::{collections::BTreeSet, io::Write};

use deadpool_redis::redis::{ConnectionInfo, RedisError, Value, from_redis_value};

use self::{
    link::{Link, script},
    name::Name,
};
use super::{Place, Report};
use crate::session::{Data, Seconds};

/// By how many seconds an index may differ from the hash: redis-sessions moves the indexes one second before `la`, asks for
/// the time twice, and the clocks of peers are never quite the same.
const SLACK: u64 = 5;
/// Sessions for one script: each comes with its data.
const SESSIONS: usize = 50;
/// Members or tokens for one script.
const MEMBERS: usize = 200;

/// Checks everything with this prefix, `rs:`. The error is one line for the operator.
pub(super) fn check<W: Write>(
    server: &ConnectionInfo,
    (prefix, channel): (&str, &str),
    now: Seconds,
    repair: bool,
    report: &mut Report<W>,
) -> Result<(), String> {
    let walked = Link::open(server, prefix, channel, repair).and_then(|link| {
        let mut walk = Walk {
            link,
            prefix,
            now,
            report,
            apps: BTreeSet::new(),
        };
        walk.types()?;
        walk.sessions()?;
        for app in std::mem::take(&mut walk.apps) {
            walk.members(&app)?;
            walk.users(&app)?;
        }
        walk.members("")
    });
    // Neither the URL nor what Redis quotes of a command: those may be secrets.
    let why = |cause: RedisError| match cause.code() {
        _ if cause.is_io_error() => cause.to_string(),
        Some(code) => code.to_owned(),
        None => cause.category().to_owned(),
    };
    walked.map_err(|cause| format!("cannot check Redis: {}", why(cause)))
}

struct Walk<'a, W> {
    link: Link,
    prefix: &'a str,
    now: Seconds,
    report: &'a mut Report<W>,
    apps: BTreeSet<String>,
}

impl<W: Write> Walk<'_, W> {
    /// Calls `each` with the names of all keys, in batches. A key may come twice.
    fn names(
        &mut self,
        mut each: impl FnMut(&mut Self, &[String]) -> Result<(), RedisError>,
    ) -> Result<(), RedisError> {
        let mut cursor = 0;
        loop {
            let (next, keys) = self.link.keys(cursor)?;
            let names = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
            let names = names.filter_map(|key| key.strip_prefix(self.prefix).map(str::to_owned));
            each(self, &names.collect::<Vec<_>>())?;
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// First of all, as a key of a wrong type hides what else is wrong. Finds the apps on its way.
    fn types(&mut self) -> Result<(), RedisError> {
        self.names(|walk, names| {
            let mut known = Vec::new();
            for text in names {
                match Name::of(text) {
                    Some(name) => {
                        walk.apps.extend(name.app().map(str::to_owned));
                        known.push((text, name));
                    }
                    None => walk.report.foreign(text),
                }
            }
            for batch in known.chunks(MEMBERS) {
                let prefix = walk.prefix;
                let args = batch
                    .iter()
                    .flat_map(|(text, name)| [format!("{prefix}{text}"), name.expected().to_owned()]);
                let wrong: Vec<u8> = walk.link.run(script!("types"), &args.collect::<Vec<_>>())?;
                for ((_, name), _) in batch.iter().zip(wrong).filter(|(_, wrong)| *wrong == 1) {
                    let (kind, id, token) = match *name {
                        Name::Ends => ("SESSIONS is of a wrong type", None, None),
                        Name::Sessions(_) => ("_sessions is of a wrong type", None, None),
                        Name::Users(_) => ("_users is of a wrong type", None, None),
                        Name::Tokens(_, id) => ("us: is of a wrong type", Some(id), None),
                        Name::Session(_, token) => ("session is of a wrong type", None, Some(token)),
                    };
                    let app = name.app().unwrap_or_default();
                    walk.tell(kind, Place { app, id, token }, true);
                }
            }
            Ok(())
        })
    }

    /// Every session against the indexes, and every set of tokens against the sessions.
    fn sessions(&mut self) -> Result<(), RedisError> {
        self.names(|walk, names| {
            let (mut sessions, mut sets) = (Vec::new(), Vec::new());
            for name in names {
                match Name::of(name) {
                    Some(Name::Session(app, token)) => sessions.push((app, token)),
                    Some(Name::Tokens(app, id)) => sets.push((app, id)),
                    _ => {}
                }
            }
            for batch in sessions.chunks(SESSIONS) {
                walk.batch(batch)?;
            }
            walk.sets(&sets)
        })
    }

    fn batch(&mut self, sessions: &[(&str, &str)]) -> Result<(), RedisError> {
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

    fn sets(&mut self, sets: &[(&str, &str)]) -> Result<(), RedisError> {
        let key = |(app, id): &(&str, &str)| (format!("{}{app}:us:{id}", self.prefix), 0);
        let mut open: Vec<_> = sets.iter().map(|set| (*set, key(set))).collect();
        while !open.is_empty() {
            let asked: Vec<_> = open.iter().map(|(_, set)| set.clone()).collect();
            let found = self.link.tokens(&asked)?;
            let mut entries = Vec::new();
            for (((app, id), (_, cursor)), (next, tokens)) in open.iter_mut().zip(found) {
                *cursor = next;
                entries.extend(tokens.into_iter().map(|token| (*app, *id, token)));
            }
            open.retain(|(_, (_, cursor))| *cursor != 0);
            for batch in entries.chunks(MEMBERS) {
                let args = batch
                    .iter()
                    .flat_map(|(app, id, token)| [app.as_bytes(), id.as_bytes(), token]);
                let nowhere: Vec<u8> = self.link.run(script!("tokens"), &args.collect::<Vec<_>>())?;
                for ((app, id, token), _) in batch.iter().zip(nowhere).filter(|(_, nowhere)| *nowhere == 1) {
                    let (id, token) = (Some(*id), String::from_utf8_lossy(token));
                    let token = Some(&*token);
                    self.tell("entry of us: without a session", Place { app, id, token }, true);
                }
            }
        }
        Ok(())
    }

    /// The members of `APP:_sessions`, or of `SESSIONS` if there is no app.
    fn members(&mut self, app: &str) -> Result<(), RedisError> {
        let (key, kind) = if app.is_empty() {
            ("SESSIONS".into(), "entry of SESSIONS without a session")
        } else {
            (format!("{app}:_sessions"), "entry of _sessions without a session")
        };
        self.sorted(
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
                let token = Some(token);
                walk.tell(kind, Place { app, id, token }, true);
            },
        )
    }

    /// The ids of `APP:_users`. After the sessions: the script finds those of an id by its tokens, which may be missing.
    fn users(&mut self, app: &str) -> Result<(), RedisError> {
        let unknown = |walk: &Self, id: &[u8]| !walk.report.has_session(app, &String::from_utf8_lossy(id));
        self.sorted(&format!("{app}:_users"), script!("users"), app, unknown, |walk, id| {
            let id = String::from_utf8_lossy(id);
            let place = Place {
                app,
                id: Some(&*id),
                token: None,
            };
            walk.tell("entry of _users without a session", place, true);
        })
    }

    /// Asks a script about those members of a sorted set that are worth it, and tells of those that it says 1 of.
    fn sorted(
        &mut self,
        key: &str,
        script: &str,
        app: &str,
        asked: impl Fn(&Self, &[u8]) -> bool,
        tell: impl Fn(&mut Self, &[u8]),
    ) -> Result<(), RedisError> {
        let key = format!("{}{key}", self.prefix);
        let mut cursor = 0;
        loop {
            let (next, members) = self.link.members(&key, cursor)?;
            let members: Vec<_> = members.into_iter().filter(|member| asked(self, member)).collect();
            for batch in members.chunks(MEMBERS) {
                let args: Vec<_> = [app.as_bytes()]
                    .into_iter()
                    .chain(batch.iter().map(Vec::as_slice))
                    .collect();
                let nowhere: Vec<u8> = self.link.run(script, &args)?;
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

    /// Tells of what the script has mended, if it was told to.
    fn tell(&mut self, kind: &'static str, place: Place<'_>, mends: bool) {
        self.report.disagreement(kind, place, mends && self.link.repair);
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
