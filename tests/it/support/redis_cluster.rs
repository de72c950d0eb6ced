//! Clusters of this process's own. One of three masters is shared by tests, which stay apart in it by namespace.

use std::{
    collections::BTreeSet,
    sync::LazyLock,
    thread::sleep,
    time::{Duration, Instant},
};

use deadpool_redis::redis::{FromRedisValue, cmd};

use super::redis_server::{self, Redis};

const SLOTS: usize = 16384;
const PATIENCE: Duration = Duration::from_secs(20);

/// Started by whoever asks first.
static SHARED: LazyLock<Result<Cluster, String>> = LazyLock::new(|| Cluster::start(3, 0));

/// The shared one.
pub(crate) fn shared() -> &'static Cluster {
    match &*SHARED {
        Ok(cluster) => cluster,
        Err(why) => panic!("{why}"),
    }
}

/// The addresses of all nodes of the shared one, with commas between them.
pub(crate) fn urls() -> String {
    shared().urls()
}

/// Masters, then a replica of each if there are any. It ends with whoever holds it.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    /// `replicas` of each master, each master with an even share of the slots.
    pub(crate) fn start(masters: usize, replicas: usize) -> Result<Self, String> {
        let mut nodes = Vec::new();
        for _ in 0..masters * (1 + replicas) {
            let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
            // A part that is away is no reason for the others to stop.
            let partial = [
                "--cluster-require-full-coverage",
                "no",
                "--cluster-replica-validity-factor",
                "0",
            ];
            nodes.push(redis_server::start_node(&[&options[..], &partial].concat())?);
        }
        let cluster = Self { nodes };
        cluster.join(masters);
        cluster.until("all know all", |node| {
            node.ask::<String>("CLUSTER NODES")
                .lines()
                .filter(|line| line.contains(" connected"))
                .count()
                == cluster.nodes.len()
        })?;
        for (number, replica) in cluster.nodes.iter().enumerate().skip(masters) {
            let master: String = cluster.nodes[number % masters].ask("CLUSTER MYID");
            replica.ask::<()>(&format!("CLUSTER REPLICATE {master}"));
        }
        cluster.until("it is well", |node| {
            node.ask::<String>("CLUSTER INFO").contains("cluster_state:ok")
        })?;
        cluster.until("replicas are up", |node| {
            let replication: String = node.ask("INFO replication");
            replication.contains("role:master") || replication.contains("master_link_status:up")
        })?;
        Ok(cluster)
    }

    pub(crate) fn urls(&self) -> String {
        self.nodes.iter().map(Redis::url).collect::<Vec<_>>().join(",")
    }

    /// What a command answers where its key is, written as in redis-cli; no argument holds a space.
    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        for node in &self.nodes {
            match node.try_ask(command) {
                Err(error) if error.redirect_node().is_some() => {}
                answer => return answer.unwrap_or_else(|error| panic!("{command}: {error}")),
            }
        }
        panic!("{command}: no node has it");
    }

    /// Every key of a namespace, in order.
    pub(crate) fn keys(&self, namespace: &str) -> Vec<String> {
        let keys = |node: &Redis| node.ask::<Vec<String>>(&format!("KEYS {{{namespace}:*"));
        self.nodes
            .iter()
            .flat_map(keys)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Begins to move a slot from one node to another, as `redis-cli --cluster reshard` does.
    pub(crate) fn open_slot(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let (source_id, target_id): (String, String) = (source.ask("CLUSTER MYID"), target.ask("CLUSTER MYID"));
        target.ask::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {source_id}"));
        source.ask::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {target_id}"));
    }

    /// Moves a few keys of such a slot: requests come in between, with some keys here and some there. False if there was none.
    pub(crate) fn move_keys(&self, slot: u16, from: usize, to: usize) -> bool {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let keys: Vec<String> = source.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 3"));
        if keys.is_empty() {
            return false;
        }
        let mut migrate = cmd("MIGRATE");
        migrate
            .arg("127.0.0.1")
            .arg(target.port)
            .arg("")
            .arg(0)
            .arg(5000)
            .arg("KEYS")
            .arg(keys);
        let _: String = migrate.query(&mut source.connect()).expect("they are moved");
        true
    }

    /// Gives a slot that has no keys any more to its new owner.
    pub(crate) fn close_slot(&self, slot: u16, from: usize, to: usize) {
        let target: String = self.nodes[to].ask("CLUSTER MYID");
        // Whoever gets it first, so that there is an owner at any time.
        for node in [to, from] {
            self.nodes[node].ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {target}"));
        }
    }

    fn join(&self, masters: usize) {
        for (number, node) in self.nodes.iter().enumerate() {
            if number < masters {
                let slots: Vec<_> = (SLOTS * number / masters..SLOTS * (number + 1) / masters).collect();
                let mut add = cmd("CLUSTER");
                add.arg("ADDSLOTS").arg(slots);
                let _: () = add.query(&mut node.connect()).expect("a node of a cluster");
            }
            node.ask::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
            node.ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", self.nodes[0].port));
        }
    }

    /// Waits until all nodes know the same owners, by the same changes of theirs. Before, a change too many at another node
    /// may undo the last one.
    pub(crate) fn agreed(&self) -> Result<(), String> {
        let view = |node: &Redis| {
            // The address, the number of the last change, and the slots.
            let told: String = node.ask("CLUSTER NODES");
            let parts = told.lines().map(|line| {
                let words = line.split(' ').enumerate();
                words
                    .filter(|(n, _)| [1, 6].contains(n) || *n > 7)
                    .map(|(_, word)| word.to_owned())
                    .collect::<Vec<_>>()
            });
            parts.collect::<BTreeSet<_>>()
        };
        self.until("agreed", |node| view(node) == view(&self.nodes[0]))
    }

    fn until(&self, what: &str, holds: impl Fn(&Redis) -> bool) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while !self.nodes.iter().all(&holds) {
            if Instant::now() > end {
                return Err(format!("the Redis cluster does not come about: not {what}"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
