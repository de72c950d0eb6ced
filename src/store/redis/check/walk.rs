//! The walk through the keys of a namespace: all types first, then the sessions, then the indexes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use deadpool_redis::redis::RedisError;

use super::{
    connection::{CheckConnection, script},
    key_name::KeyName,
    keyspace::{CheckedKeyspace, CheckedShard},
};
use crate::{
    session::Seconds,
    store::{Findings, Location},
};

/// Sessions for one script, which reads their data too.
const SESSIONS_PER_SCRIPT: usize = 50;
/// Members or tokens for one script.
pub(super) const MEMBERS_PER_SCRIPT: usize = 200;

/// A check that is under way.
pub(super) struct Walk<'a> {
    pub(super) connection: CheckConnection,
    pub(super) keyspace: &'a CheckedKeyspace,
    pub(super) now: Seconds,
    pub(super) report: &'a mut dyn Findings,
    /// The apps found in each shard, by its number. Every shard in use has an entry.
    apps: BTreeMap<usize, BTreeSet<String>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        connection: CheckConnection,
        keyspace: &'a CheckedKeyspace,
        now: Seconds,
        report: &'a mut dyn Findings,
    ) -> Self {
        Self {
            connection,
            keyspace,
            now,
            report,
            apps: (0..keyspace.used()).map(|shard| (shard, BTreeSet::new())).collect(),
        }
    }

    /// Checks the whole namespace.
    pub(super) fn run(mut self) -> Result<(), RedisError> {
        self.check_types()?;
        self.check_sessions()?;
        for (number, apps) in std::mem::take(&mut self.apps) {
            let shard = self.keyspace.shard(number);
            for app in apps {
                self.check_members(shard, &app)?;
                self.check_users(shard, &app)?;
            }
            self.check_members(shard, "")?;
        }
        Ok(())
    }

    /// Calls `each` with the names of all keys, in batches of one shard. A key may come twice.
    fn for_each_name(
        &mut self,
        mut each: impl FnMut(&mut Self, CheckedShard<'a>, &[String]) -> Result<(), RedisError>,
    ) -> Result<(), RedisError> {
        let keyspace = self.keyspace;
        let mut waiting: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for server in 0..self.connection.masters.count() {
            let mut cursor = 0;
            loop {
                let (next, keys) = self.connection.keys(server, &keyspace.prefix, cursor)?;
                for key in keys {
                    let text = String::from_utf8_lossy(&key);
                    match keyspace.split(&text) {
                        // Every key of the service is valid UTF-8.
                        Some(_) if matches!(text, Cow::Owned(_)) => self.report.foreign(&key),
                        Some((shard, name)) => waiting.entry(shard).or_default().push(name.to_owned()),
                        None => {}
                    }
                }
                cursor = next;
                for (shard, names) in &mut waiting {
                    if names.len() >= MEMBERS_PER_SCRIPT || cursor == 0 {
                        each(self, keyspace.shard(*shard), names)?;
                        names.clear();
                    }
                }
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Checks the type of each key, first of all because a key of a wrong type hides other faults. Collects the apps.
    fn check_types(&mut self) -> Result<(), RedisError> {
        self.for_each_name(|walk, shard, names| {
            let prefix = shard.keys.prefix();
            let mut known = Vec::new();
            for text in names {
                match KeyName::of(text) {
                    Some(name) => {
                        let apps = walk.apps.entry(shard.number).or_default();
                        apps.extend(name.app().map(str::to_owned));
                        known.push((text, name));
                    }
                    None => walk.report.foreign(format!("{prefix}{text}").as_bytes()),
                }
            }
            for batch in known.chunks(MEMBERS_PER_SCRIPT) {
                let args = batch
                    .iter()
                    .flat_map(|(text, name)| [format!("{prefix}{text}"), name.expected().to_owned()]);
                let wrong: Vec<u8> = walk
                    .connection
                    .run(shard.keys, script!("types"), &args.collect::<Vec<_>>())?;
                for ((_, name), _) in batch.iter().zip(wrong).filter(|(_, wrong)| *wrong == 1) {
                    let (kind, id, token) = match *name {
                        KeyName::Ends => ("SESSIONS is of a wrong type", None, None),
                        KeyName::Sessions(_) => ("_sessions is of a wrong type", None, None),
                        KeyName::Users(_) => ("_users is of a wrong type", None, None),
                        KeyName::Tokens(_, id) => ("us: is of a wrong type", Some(id), None),
                        KeyName::Session(_, token) => ("session is of a wrong type", None, Some(token)),
                    };
                    let app = name.app().unwrap_or_default();
                    walk.report_fault(kind, shard.place(app, id, token), true);
                }
            }
            Ok(())
        })
    }

    /// Compares every session with the indexes, and every set of tokens with the sessions.
    fn check_sessions(&mut self) -> Result<(), RedisError> {
        self.for_each_name(|walk, shard, names| {
            let (mut sessions, mut sets) = (Vec::new(), Vec::new());
            for name in names {
                match KeyName::of(name) {
                    Some(KeyName::Session(app, token)) => sessions.push((app, token)),
                    Some(KeyName::Tokens(app, id)) => sets.push((app, id)),
                    _ => {}
                }
            }
            for batch in sessions.chunks(SESSIONS_PER_SCRIPT) {
                walk.compare_sessions(shard, batch)?;
            }
            walk.check_token_sets(shard, &sets)
        })
    }

    /// Finds tokens without a session in the sets of some ids.
    fn check_token_sets(&mut self, shard: CheckedShard<'_>, sets: &[(&str, &str)]) -> Result<(), RedisError> {
        let key = |(app, id): &(&str, &str)| (format!("{}{app}:us:{id}", shard.keys.prefix()), 0);
        let mut open: Vec<_> = sets.iter().map(|set| (*set, key(set))).collect();
        while !open.is_empty() {
            let asked: Vec<_> = open.iter().map(|(_, set)| set.clone()).collect();
            let found = self.connection.tokens(shard.keys, &asked)?;
            let mut entries = Vec::new();
            for (((app, id), (_, cursor)), (next, tokens)) in open.iter_mut().zip(found) {
                *cursor = next;
                entries.extend(tokens.into_iter().map(|token| (*app, *id, token)));
            }
            open.retain(|(_, (_, cursor))| *cursor != 0);
            for batch in entries.chunks(MEMBERS_PER_SCRIPT) {
                let args = batch
                    .iter()
                    .flat_map(|(app, id, token)| [app.as_bytes(), id.as_bytes(), token]);
                let orphans: Vec<u8> = self
                    .connection
                    .run(shard.keys, script!("tokens"), &args.collect::<Vec<_>>())?;
                for ((app, id, token), _) in batch.iter().zip(orphans).filter(|(_, orphan)| *orphan == 1) {
                    let (id, token) = (Some(*id), String::from_utf8_lossy(token));
                    let token = Some(&*token);
                    self.report_fault("entry of us: without a session", shard.place(app, id, token), true);
                }
            }
        }
        Ok(())
    }

    /// Reports a fault; a script that repairs such faults has repaired this one if a repair was asked for.
    pub(super) fn report_fault(&mut self, kind: &'static str, place: Location<'_>, script_repairs: bool) {
        self.report
            .disagreement(kind, place, script_repairs && self.connection.repair);
    }
}
