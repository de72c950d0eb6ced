//! Private Redis Clusters. Tests share one of three masters, each in a namespace of its own.

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

/// Started on first use. A failed start is kept, so that every test reports it.
static SHARED: LazyLock<Result<Cluster, String>> = LazyLock::new(|| Cluster::start(3, 0));

/// The shared cluster.
pub(crate) fn shared() -> &'static Cluster {
    match &*SHARED {
        Ok(cluster) => cluster,
        Err(why) => panic!("{why}"),
    }
}

/// The addresses of the shared cluster's nodes, separated by commas.
pub(crate) fn urls() -> String {
    shared().urls()
}

/// A cluster that ends when it is dropped. The masters come first in `nodes`, then the replicas in the same order.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts `masters` with an even share of the slots, and `replicas` for each of them.
    pub(crate) fn start(masters: usize, replicas: usize) -> Result<Self, String> {
        let mut nodes = Vec::new();
        for _ in 0..masters * (1 + replicas) {
            let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
            // The other shards keep serving when one shard is down.
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
        cluster.until("all nodes connected", |node| {
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
        cluster.until("cluster_state:ok", |node| {
            node.ask::<String>("CLUSTER INFO").contains("cluster_state:ok")
        })?;
        cluster.until("all replicas in sync", |node| {
            let replication: String = node.ask("INFO replication");
            replication.contains("role:master") || replication.contains("master_link_status:up")
        })?;
        Ok(cluster)
    }

    pub(crate) fn urls(&self) -> String {
        self.nodes.iter().map(Redis::url).collect::<Vec<_>>().join(",")
    }

    /// Runs a command on the node that owns its key. The command is written as in redis-cli, without quoting.
    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        for node in &self.nodes {
            match node.try_ask(command) {
                Err(error) if error.redirect_node().is_some() => {}
                answer => return answer.unwrap_or_else(|error| panic!("{command}: {error}")),
            }
        }
        panic!("{command}: no node owns the key");
    }

    /// All keys of a namespace, sorted.
    pub(crate) fn keys(&self, namespace: &str) -> Vec<String> {
        let keys = |node: &Redis| node.ask::<Vec<String>>(&format!("KEYS {{{namespace}:*"));
        self.nodes
            .iter()
            .flat_map(keys)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Starts migrating a slot to another node, as `redis-cli --cluster reshard` does.
    pub(crate) fn open_slot(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let (source_id, target_id): (String, String) = (source.ask("CLUSTER MYID"), target.ask("CLUSTER MYID"));
        target.ask::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {source_id}"));
        source.ask::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {target_id}"));
    }

    /// Moves a few keys of a migrating slot, so that requests meet keys on both nodes. False if no key was left.
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
        let _: String = migrate.query(&mut source.connect()).expect("MIGRATE succeeds");
        true
    }

    /// Ends the migration of a slot without keys: the target becomes its owner.
    pub(crate) fn close_slot(&self, slot: u16, from: usize, to: usize) {
        let target: String = self.nodes[to].ask("CLUSTER MYID");
        // The new owner learns of it first, so that the slot has an owner at any time.
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
                let _: () = add.query(&mut node.connect()).expect("CLUSTER ADDSLOTS succeeds");
            }
            node.ask::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
            node.ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", self.nodes[0].port));
        }
    }

    /// Waits until all nodes agree on the slot owners and their config epochs. Before that, a further change on another
    /// node may undo the last one.
    pub(crate) fn agreed(&self) -> Result<(), String> {
        let view = |node: &Redis| {
            // Fields 1 and 6 are the address and the config epoch; the slots follow field 7.
            let nodes: String = node.ask("CLUSTER NODES");
            let fields = nodes.lines().map(|line| {
                let fields = line.split(' ').enumerate();
                fields
                    .filter(|(n, _)| [1, 6].contains(n) || *n > 7)
                    .map(|(_, field)| field.to_owned())
                    .collect::<Vec<_>>()
            });
            fields.collect::<BTreeSet<_>>()
        };
        self.until("all nodes agree on the slots", |node| {
            view(node) == view(&self.nodes[0])
        })
    }

    fn until(&self, expectation: &str, holds: impl Fn(&Redis) -> bool) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while !self.nodes.iter().all(&holds) {
            if Instant::now() > end {
                return Err(format!(
                    "the Redis Cluster did not reach this state in time: {expectation}"
                ));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
