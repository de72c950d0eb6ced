//! Listens on the channel of changes, and renews the lease of the near cache for as long as all is heard.
//!
//! To every server that has sessions there is one connection: whoever changes a session there says so there. A cluster
//! would carry messages to all of its nodes, but only while they reach each other; a node that is cut off says nothing to
//! the others, and is heard here. Sharded channels would do as well, and save the other nodes the messages, but ask for
//! Redis 7 and tell peers of another version nothing.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, ServerErrorKind, Value,
    aio::MultiplexedConnection,
};
use futures_util::future::try_join_all;
use tokio::time::{sleep, timeout};

use crate::{
    session::{App, Token},
    store::{
        Key,
        redis::{
            error::reason,
            near_cache::{cache::NearCache, lease::LEASE},
            pool::manager::{Manager, be_master, role},
            sentinel::query::Sentinels,
            topology::{cluster::Cluster, shards::Shards},
        },
    },
};

/// Between two signs of life. Several fit into a lease: one that is late costs nothing.
const BEAT: Duration = Duration::from_millis(250);

/// Where the servers are that have sessions.
pub(crate) enum Source {
    One(Manager),
    Sentinels(Manager, Arc<Sentinels>),
    Cluster(Cluster, Arc<Shards>),
}

/// Who listens.
pub(crate) struct Listener {
    cache: Arc<NearCache>,
    channel: String,
    source: Source,
    /// How long it may take to connect.
    timeout: Duration,
}

/// A connection that listens. That of the client library, which hears what the server says of its own accord.
struct Ear {
    connection: MultiplexedConnection,
    ended: Arc<AtomicBool>,
}

/// What a server is asked as a sign of life.
enum Question {
    Anything,
    /// Whether it is a master: one that was replaced hears of nothing.
    Role,
    /// For a key in each of its shards. It may have lost them, or be cut off from its cluster, and knows.
    Shards(Pipeline),
}

impl Listener {
    pub(crate) fn new(cache: Arc<NearCache>, channel: &str, source: Source, timeout: Duration) -> Self {
        Self {
            cache,
            channel: channel.to_owned(),
            source,
            timeout: timeout.max(LEASE),
        }
    }

    /// Listens for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut silent = None;
        let mut links = HashMap::new();
        loop {
            let heard = self.round(&mut links).await;
            if heard.is_err() {
                self.cache.lose();
                self.source.request_refresh();
            }
            tell(&mut silent, heard.err());
            sleep(BEAT).await;
        }
    }

    /// Listens to all servers there are, and asks each for a sign of life.
    async fn round(&self, links: &mut HashMap<String, Ear>) -> Result<(), String> {
        let servers = self.source.servers().await?;
        let before = links.len();
        links.retain(|address, link| servers.contains_key(address) && !link.ended.load(Ordering::Acquire));
        if links.len() < before.max(servers.len()) {
            self.cache.lose();
        }
        for address in servers.keys() {
            if !links.contains_key(address) {
                links.insert(address.clone(), self.listen(address).await?);
            }
        }
        let (asked, term) = (Instant::now(), self.cache.lease.term());
        let signs = servers.iter().map(async |(address, question)| {
            let Some(link) = links.get(address) else {
                return Err((address, "no connection".to_owned()));
            };
            match timeout(LEASE, question.ask(link.connection.clone())).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err((address, reason(&error))),
                Err(_) => Err((address, "no sign of life in time".to_owned())),
            }
        });
        if let Err((address, why)) = try_join_all(signs).await {
            links.remove(address);
            return Err(why);
        }
        self.cache.lease.renew(asked, term);
        Ok(())
    }

    /// Begins to listen to one server.
    async fn listen(&self, address: &str) -> Result<Ear, String> {
        let (cache, ended) = (self.cache.clone(), Arc::new(AtomicBool::new(false)));
        let end = ended.clone();
        // Called by the reader of the connection, one message after the other: what came before an answer is done before it.
        let hear = move |push: PushInfo| {
            match push.kind {
                PushKind::Message => {
                    if let Some(key) = session(&push.data) {
                        cache.forget(&key);
                    }
                }
                PushKind::Disconnection => {
                    end.store(true, Ordering::Release);
                    cache.lose();
                }
                _ => {}
            }
            Ok::<_, Infallible>(())
        };
        let manager = self.source.manager(address);
        let open = async {
            let (info, named) = manager.find().await?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(manager.timeout))
                .set_response_timeout(None)
                .set_push_sender(hear);
            let client = Client::open(info)?;
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            if named.is_some() {
                be_master(&connection.send_packed_command(&role()).await?)?;
            }
            connection.subscribe(&self.channel).await?;
            Ok(Ear { connection, ended })
        };
        match timeout(self.timeout, open).await {
            Ok(opened) => opened.map_err(|error: RedisError| reason(&error)),
            Err(_) => Err("no connection in time".to_owned()),
        }
    }
}

/// Logs when the cache is bypassed and when it is used again. `before`: why it was bypassed.
fn tell(before: &mut Option<String>, why: Option<String>) {
    match (&before, &why) {
        (None, Some(why)) => tracing::warn!("the near cache is bypassed, as invalidations may be missed: {why}"),
        (Some(_), None) => tracing::info!("the near cache is used again"),
        _ => {}
    }
    *before = why;
}

/// The session that a message is about. Peers may have others, which cannot be here.
fn session(message: &[Value]) -> Option<Key> {
    let [_channel, Value::BulkString(text)] = message else {
        return None;
    };
    let (app, token) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(Key {
        app: App::parse(app).ok()?,
        token: Token::parse(token).ok()?,
    })
}

impl Question {
    /// Fails unless the answer is one of a server that has its sessions.
    async fn ask(&self, mut connection: MultiplexedConnection) -> Result<(), RedisError> {
        let answers = match self {
            Self::Anything => {
                let mut ping = Cmd::with_capacity(1, 4);
                ping.arg("PING");
                vec![connection.send_packed_command(&ping).await?]
            }
            Self::Role => return be_master(&connection.send_packed_command(&role()).await?),
            Self::Shards(pipe) => connection.send_packed_commands(pipe, 0, pipe.len()).await?,
        };
        for answer in answers {
            if let Value::ServerError(error) = answer {
                let error = RedisError::from(error);
                // A shard on its way has its changes here until it has arrived.
                if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Source {
    /// Every server that has sessions, by address, and what to ask it.
    async fn servers(&self) -> Result<HashMap<String, Question>, String> {
        match self {
            Self::One(_) => Ok(HashMap::from([(String::new(), Question::Anything)])),
            Self::Sentinels(_, sentinels) => {
                let mut address = sentinels.seen();
                if address.is_empty() {
                    address = sentinels.address().await.map_err(|error| reason(&error))?;
                }
                Ok(HashMap::from([(address, Question::Role)]))
            }
            Self::Cluster(cluster, shards) => {
                let mut servers = HashMap::new();
                for keys in shards.all() {
                    let Some(address) = cluster.master(keys.slot()).await else {
                        return Err("a part of the cluster has no master".to_owned());
                    };
                    let question = servers.entry(address).or_insert_with(Pipeline::new);
                    question.cmd("EXISTS").arg(keys.ends());
                }
                let servers = servers.into_iter();
                Ok(servers
                    .map(|(address, pipe)| (address, Question::Shards(pipe)))
                    .collect())
            }
        }
    }

    /// What connects to one of them.
    fn manager(&self, address: &str) -> Manager {
        match self {
            Self::One(manager) | Self::Sentinels(manager, _) => manager.clone(),
            Self::Cluster(cluster, _) => cluster.manager(address),
        }
    }

    /// They may be elsewhere.
    fn request_refresh(&self) {
        if let Self::Cluster(cluster, _) = self {
            cluster.request_refresh();
        }
    }
}
