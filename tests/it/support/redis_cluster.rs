//! Clusters of this process's own. One of three masters is shared by tests, which stay apart in it by namespace.

use std::{
    collections::BTreeSet,
    sync::LazyLock,
    thread::sleep,
    time::{Duration, Instant},
};

use deadpool_redis::redis::cmd;

use super::redis_server::{self, Redis, free_port};

const SLOTS: usize = 16384;
const PATIENCE: Duration = Duration::from_secs(20);

/// Started by whoever asks first.
static SHARED: LazyLock<Result<Cluster, String>> = LazyLock::new(|| Cluster::start(3, 0));

/// The addresses of all nodes of the shared one, with commas between them.
pub(crate) fn urls() -> String {
    match &*SHARED {
        Ok(cluster) => cluster.urls(),
        Err(why) => panic!("{why}"),
    }
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
            // By default ten thousand above the other one, which may be too much for a port.
            let bus = free_port().to_string();
            let options = [
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "1000",
            ];
            // A part that is away is no reason for the others to stop.
            let partial = [
                "--cluster-require-full-coverage",
                "no",
                "--cluster-replica-validity-factor",
                "0",
            ];
            nodes.push(redis_server::start(&[&options[..], &partial].concat())?);
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

    fn join(&self, masters: usize) {
        for (number, node) in self.nodes.iter().enumerate() {
            if number < masters {
                let slots: Vec<_> = (SLOTS * number / masters..SLOTS * (number + 1) / masters).collect();
                let mut add = cmd("CLUSTER");
                add.arg("ADDSLOTS").arg(slots);
                let _: () = add.query(&mut node.connect()).expect("a node of a cluster");
            }
            node.ask::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
            let first = &self.nodes[0];
            let (_, bus): (String, u16) = first.ask("CONFIG GET cluster-port");
            node.ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", first.port));
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
