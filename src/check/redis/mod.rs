//! A walk through a namespace of Redis, while services may use it: in batches, and each batch by a script, so that what it
//! finds was so at one moment, and what it mends is what it found.
//!
//! Live peers write a hash and its indexes together, so that these differ by what clocks do, and by a second or two in
//! which redis-sessions leaves `la` alone: see `SLACK`. Reads that a service has not written yet are in neither.

mod indexes;
mod link;
mod name;
mod sessions;

use std::{collections::BTreeSet, io::Write};

use deadpool_redis::redis::{ConnectionInfo, RedisError};

use self::{
    link::{Link, script},
    name::Name,
};
use super::{Place, Report};
use crate::session::Seconds;

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

    /// Tells of what the script has mended, if it was told to.
    fn tell(&mut self, kind: &'static str, place: Place<'_>, mends: bool) {
        self.report.disagreement(kind, place, mends && self.link.repair);
    }
}
