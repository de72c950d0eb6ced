//! A walk through a namespace of Redis, while services may use it: in batches, and each batch by a script, so that what it
//! finds was so at one moment, and what it mends is what it found.
//!
//! On a cluster, every shard is looked at as a single server is, and besides whether what is there belongs there. Slots must
//! rest: a script that meets a key on its way to another node fails before it takes it for missing, and the last thing asked
//! of each shard fails if it is not where it was at the beginning, as keys may have been overlooked then.
//!
//! Live peers write a hash and its indexes together, so that these differ by what clocks do, and by a second or two in
//! which redis-sessions leaves `la` alone: see `SLACK`. Reads that a service has not written yet are in neither.

mod indexes;
mod layout;
mod link;
mod name;
mod servers;
mod sessions;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use deadpool_redis::redis::RedisError;

use self::{
    layout::{Layout, Shard},
    link::{Link, script},
    name::Name,
    servers::Servers,
};
use crate::{
    session::Seconds,
    store::{
        Findings, Location,
        redis::{
            endpoint::{
                address::{Address, Deployment},
                endpoints::Endpoints,
            },
            error::{elsewhere, reason},
        },
    },
};

/// Sessions for one script: each comes with its data.
const SESSIONS: usize = 50;
/// Members or tokens for one script.
const MEMBERS: usize = 200;

/// Checks a namespace, which is in so many shards if it is on a cluster; each server has so long to be reached. The error
/// is one line for the operator.
pub(crate) fn check(
    address: Address,
    (namespace, shards): (&str, usize),
    timeout: Duration,
    now: Seconds,
    repair: bool,
    report: &mut dyn Findings,
) -> Result<(), String> {
    let mode = address.mode.clone();
    let layout = Layout::new(&mode, namespace, shards);
    // Neither the URL nor what Redis quotes of a command: those may be secrets.
    let why = |cause: RedisError| {
        let why = match elsewhere(&cause) {
            None => reason(&cause),
            Some(_) if mode == Deployment::Cluster => {
                "slots of the cluster move: check again when they rest".to_owned()
            }
            Some(_) => "it is a node of a cluster, see --redis-mode".to_owned(),
        };
        format!("cannot check Redis: {why}")
    };
    let servers = Servers::open(Endpoints::new(address)?, timeout).map_err(why)?;
    let mut link = Link { servers, repair };
    if mode == Deployment::Cluster {
        let noted = link.shards(layout.shard(0).keys).map_err(why)?;
        agree(noted.as_deref(), layout.used())?;
    }
    let walk = Walk {
        link,
        layout: &layout,
        now,
        report,
        apps: (0..layout.used()).map(|shard| (shard, BTreeSet::new())).collect(),
    };
    walk.run().map_err(why)
}

/// Fails if what is noted in a cluster is another number of shards. Their sessions would be removed as in wrong places.
fn agree(noted: Option<&str>, shards: usize) -> Result<(), String> {
    match noted {
        Some(noted) if noted == shards.to_string() => Ok(()),
        Some(noted) => Err(format!(
            "the sessions in this cluster are in {noted} shards: --shards must be the same"
        )),
        None => Err("no service has used this namespace of the cluster: the number of its shards is not noted".into()),
    }
}

struct Walk<'a> {
    link: Link,
    layout: &'a Layout,
    now: Seconds,
    report: &'a mut dyn Findings,
    /// By the number of their shard. All that are used are there.
    apps: BTreeMap<usize, BTreeSet<String>>,
}

impl<'a> Walk<'a> {
    fn run(mut self) -> Result<(), RedisError> {
        self.types()?;
        self.sessions()?;
        for (number, apps) in std::mem::take(&mut self.apps) {
            let shard = self.layout.shard(number);
            for app in apps {
                self.members(shard, &app)?;
                self.users(shard, &app)?;
            }
            self.members(shard, "")?;
        }
        Ok(())
    }

    /// Calls `each` with the names of all keys, those of a shard together, in batches. A key may come twice.
    fn names(
        &mut self,
        mut each: impl FnMut(&mut Self, Shard<'a>, &[String]) -> Result<(), RedisError>,
    ) -> Result<(), RedisError> {
        let layout = self.layout;
        let mut waiting: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for server in 0..self.link.servers.count() {
            let mut cursor = 0;
            loop {
                let (next, keys) = self.link.keys(server, &layout.beginning, cursor)?;
                for key in keys {
                    let text = String::from_utf8_lossy(&key);
                    match layout.split(&text) {
                        // No app, id or token is anything but text.
                        Some(_) if matches!(text, Cow::Owned(_)) => self.report.foreign(&key),
                        Some((shard, name)) => waiting.entry(shard).or_default().push(name.to_owned()),
                        None => {}
                    }
                }
                cursor = next;
                for (shard, names) in &mut waiting {
                    if names.len() >= MEMBERS || cursor == 0 {
                        each(self, layout.shard(*shard), names)?;
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

    /// First of all, as a key of a wrong type hides what else is wrong. Finds the apps on its way.
    fn types(&mut self) -> Result<(), RedisError> {
        self.names(|walk, shard, names| {
            let prefix = shard.keys.prefix();
            let mut known = Vec::new();
            for text in names {
                match Name::of(text) {
                    Some(name) => {
                        let apps = walk.apps.entry(shard.number).or_default();
                        apps.extend(name.app().map(str::to_owned));
                        known.push((text, name));
                    }
                    None => walk.report.foreign(format!("{prefix}{text}").as_bytes()),
                }
            }
            for batch in known.chunks(MEMBERS) {
                let args = batch
                    .iter()
                    .flat_map(|(text, name)| [format!("{prefix}{text}"), name.expected().to_owned()]);
                let wrong: Vec<u8> = walk.link.run(shard.keys, script!("types"), &args.collect::<Vec<_>>())?;
                for ((_, name), _) in batch.iter().zip(wrong).filter(|(_, wrong)| *wrong == 1) {
                    let (kind, id, token) = match *name {
                        Name::Ends => ("SESSIONS is of a wrong type", None, None),
                        Name::Sessions(_) => ("_sessions is of a wrong type", None, None),
                        Name::Users(_) => ("_users is of a wrong type", None, None),
                        Name::Tokens(_, id) => ("us: is of a wrong type", Some(id), None),
                        Name::Session(_, token) => ("session is of a wrong type", None, Some(token)),
                    };
                    let app = name.app().unwrap_or_default();
                    walk.tell(kind, shard.place(app, id, token), true);
                }
            }
            Ok(())
        })
    }

    /// Every session against the indexes, and every set of tokens against the sessions.
    fn sessions(&mut self) -> Result<(), RedisError> {
        self.names(|walk, shard, names| {
            let (mut sessions, mut sets) = (Vec::new(), Vec::new());
            for name in names {
                match Name::of(name) {
                    Some(Name::Session(app, token)) => sessions.push((app, token)),
                    Some(Name::Tokens(app, id)) => sets.push((app, id)),
                    _ => {}
                }
            }
            for batch in sessions.chunks(SESSIONS) {
                walk.batch(shard, batch)?;
            }
            walk.sets(shard, &sets)
        })
    }

    fn sets(&mut self, shard: Shard<'_>, sets: &[(&str, &str)]) -> Result<(), RedisError> {
        let key = |(app, id): &(&str, &str)| (format!("{}{app}:us:{id}", shard.keys.prefix()), 0);
        let mut open: Vec<_> = sets.iter().map(|set| (*set, key(set))).collect();
        while !open.is_empty() {
            let asked: Vec<_> = open.iter().map(|(_, set)| set.clone()).collect();
            let found = self.link.tokens(shard.keys, &asked)?;
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
                let nowhere: Vec<u8> = self
                    .link
                    .run(shard.keys, script!("tokens"), &args.collect::<Vec<_>>())?;
                for ((app, id, token), _) in batch.iter().zip(nowhere).filter(|(_, nowhere)| *nowhere == 1) {
                    let (id, token) = (Some(*id), String::from_utf8_lossy(token));
                    let token = Some(&*token);
                    self.tell("entry of us: without a session", shard.place(app, id, token), true);
                }
            }
        }
        Ok(())
    }

    /// Tells of what the script has mended, if it was told to.
    fn tell(&mut self, kind: &'static str, place: Location<'_>, mends: bool) {
        self.report.disagreement(kind, place, mends && self.link.repair);
    }
}
