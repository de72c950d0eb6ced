//! A cluster of this process's own: three masters, which tests share and stay apart in by namespace.

use std::{
    sync::LazyLock,
    thread::sleep,
    time::{Duration, Instant},
};

use deadpool_redis::redis::{Client, Connection, cmd};

use super::redis_server::{self, Redis, free_port};

const MASTERS: u16 = 3;
const SLOTS: u16 = 16384;

/// Started by whoever asks first.
static CLUSTER: LazyLock<Result<Vec<Redis>, String>> = LazyLock::new(start);

/// The addresses of all nodes, with commas between them.
pub(crate) fn urls() -> String {
    match &*CLUSTER {
        Ok(nodes) => nodes.iter().map(url).collect::<Vec<_>>().join(","),
        Err(why) => panic!("{why}"),
    }
}

fn url(node: &Redis) -> String {
    format!("redis://127.0.0.1:{}", node.port)
}

fn start() -> Result<Vec<Redis>, String> {
    let mut nodes = Vec::new();
    for _ in 0..MASTERS {
        // By default ten thousand above the other one, which may be too much for a port.
        let bus = free_port().to_string();
        nodes.push(redis_server::start(&[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
        ])?);
    }
    join(&nodes);
    let patience = Instant::now() + Duration::from_secs(20);
    while !nodes.iter().all(|node| info(node).contains("cluster_state:ok")) {
        if Instant::now() > patience {
            return Err("the Redis cluster does not come about".into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(nodes)
}

fn join(nodes: &[Redis]) {
    for (number, node) in (0..MASTERS).zip(nodes) {
        let mut connection = connect(node);
        let (first, behind) = (SLOTS / MASTERS * number, SLOTS / MASTERS * (number + 1));
        let behind = if number + 1 == MASTERS { SLOTS } else { behind };
        let slots: Vec<_> = (first..behind).collect();
        let mut ask = |words: &[&str], numbers: &[u16]| {
            let mut command = cmd("CLUSTER");
            command.arg(words).arg(numbers);
            let _: () = command.query(&mut connection).expect("a node of a cluster");
        };
        ask(&["ADDSLOTS"], &slots);
        ask(&["SET-CONFIG-EPOCH"], &[number + 1]);
        ask(&["MEET", "127.0.0.1"], &[nodes[0].port, bus(&nodes[0])]);
    }
}

/// The port on which a node talks to the others.
fn bus(node: &Redis) -> u16 {
    let (_, port): (String, u16) = cmd("CONFIG")
        .arg("GET")
        .arg("cluster-port")
        .query(&mut connect(node))
        .expect("an option");
    port
}

fn info(node: &Redis) -> String {
    cmd("CLUSTER")
        .arg("INFO")
        .query(&mut connect(node))
        .expect("a node of a cluster")
}

fn connect(node: &Redis) -> Connection {
    Client::open(url(node))
        .expect("an address")
        .get_connection()
        .expect("it is up")
}
