//! Faults: processes are killed or frozen, connections are cut, replies and scripts are lost.

use std::{thread::sleep, time::Duration};

use fastrand::Rng;
use tempfile::TempDir;

use super::workload::Workload;
use crate::{
    process::Process,
    support::{
        lossy_proxy::LossyProxy,
        redis_cluster::Cluster,
        redis_server::{self, Redis},
    },
};

/// Upper bound on the operations between two faults.
const FAULT_INTERVAL: usize = 200;
/// Upper bound on a freeze in milliseconds: longer than the service's one second deadline for Redis.
const MAX_FREEZE: u64 = 1300;

/// A store, the instances that serve it, and the faults that can hit them.
pub(super) trait Scene: Send {
    /// Starts the instances and publishes their addresses.
    fn open(&mut self, workload: &Workload);

    /// Injects one random fault and undoes it: all processes run when this returns.
    fn inject(&mut self, rng: &mut Rng, workload: &Workload);
}

/// Injects faults until the workload is done; returns how many.
pub(super) fn inject_until_done(scene: &mut dyn Scene, rng: &mut Rng, workload: &Workload) -> usize {
    let mut faults = 0;
    loop {
        let next = workload.operations() + rng.usize(FAULT_INTERVAL / 2..FAULT_INTERVAL);
        while workload.operations() < next {
            if workload.is_done() {
                return faults;
            }
            sleep(Duration::from_millis(2));
        }
        scene.inject(rng, workload);
        faults += 1;
    }
}

fn sleep_while_frozen(rng: &mut Rng) {
    sleep(Duration::from_millis(rng.u64(1..MAX_FREEZE)));
}

/// One instance on the embedded store.
pub(super) struct Embedded {
    data_dir: TempDir,
    process: Option<Process>,
    /// Whether faults include killing the process.
    kills: bool,
}

impl Embedded {
    pub(super) fn new(kills: bool) -> Self {
        Self {
            data_dir: tempfile::tempdir().expect("a temporary folder"),
            process: None,
            kills,
        }
    }
}

impl Scene for Embedded {
    fn open(&mut self, workload: &Workload) {
        let process = Process::start(self.data_dir.path(), &["--timeout", "1"]);
        workload.publish(0, process.address());
        self.process = Some(process);
    }

    fn inject(&mut self, rng: &mut Rng, workload: &Workload) {
        if self.kills && rng.u32(..3) > 0 {
            self.process.take().expect("the instance runs").kill();
            workload.instance_ended(0);
            self.open(workload);
        } else {
            let process = self.process.as_ref().expect("the instance runs");
            process.signal("STOP");
            sleep_while_frozen(rng);
            process.signal("CONT");
        }
    }
}

/// A single Redis server, reached through a proxy that can lose replies, or a cluster.
pub(super) enum Deployment {
    Single(Box<Redis>, LossyProxy),
    Cluster(Cluster),
}

/// Instances that share Redis.
pub(super) struct OnRedis {
    deployment: Deployment,
    /// Working directory of the instances; they write nothing there.
    working_dir: TempDir,
    /// Number of instances.
    count: usize,
    processes: Vec<Process>,
    /// `--touch`: seconds for which reads are buffered.
    touch: &'static str,
    /// `--cachetime`: seconds for which the near cache keeps a session.
    cachetime: &'static str,
    faults: &'static [Fault],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// All connections to a server are cut.
    CutConnections,
    /// Replies are lost for a moment, then all connections are cut. Single server only.
    LoseReplies,
    /// A server is frozen for a while.
    FreezeServer,
    /// A server drops its cached scripts.
    FlushScripts,
    /// The server is killed and restarted on its data. Single server only.
    KillServer,
    /// An instance is killed and replaced.
    KillInstance,
}

impl OnRedis {
    pub(super) async fn single(count: usize, touch: &'static str, faults: &'static [Fault]) -> Self {
        // With fsync on each write a killed server loses nothing that it has acknowledged.
        let options = ["--appendonly", "yes", "--appendfsync", "always"];
        let server = redis_server::start(&options).unwrap_or_else(|why| panic!("{why}"));
        let proxy = LossyProxy::to(server.port).await;
        Self::new(Deployment::Single(Box::new(server), proxy), count, touch, faults)
    }

    pub(super) fn cluster(count: usize, touch: &'static str, faults: &'static [Fault]) -> Self {
        let cluster = Cluster::start(3, 0).unwrap_or_else(|why| panic!("{why}"));
        Self::new(Deployment::Cluster(cluster), count, touch, faults)
    }

    fn new(deployment: Deployment, count: usize, touch: &'static str, faults: &'static [Fault]) -> Self {
        Self {
            deployment,
            working_dir: tempfile::tempdir().expect("a temporary folder"),
            count,
            processes: Vec::new(),
            touch,
            cachetime: "0",
            faults,
        }
    }

    /// Enables the near cache in every instance.
    pub(super) fn with_near_cache(self) -> Self {
        Self {
            cachetime: "60",
            ..self
        }
    }

    fn start(&self) -> Process {
        let (mode, urls) = match &self.deployment {
            Deployment::Single(_, proxy) => ("single", format!("redis://{}", proxy.address())),
            Deployment::Cluster(cluster) => ("cluster", cluster.urls()),
        };
        let args = [
            "--redis-mode",
            mode,
            "--redis-url",
            &urls,
            "--touch",
            self.touch,
            "--cachetime",
            self.cachetime,
            "--timeout",
            "1",
        ];
        Process::start(self.working_dir.path(), &args)
    }

    /// The single server, or a random node of the cluster.
    fn server(&mut self, rng: &mut Rng) -> &mut Redis {
        match &mut self.deployment {
            Deployment::Single(server, _) => server,
            Deployment::Cluster(cluster) => rng.choice(&mut cluster.nodes).expect("a cluster has nodes"),
        }
    }
}

impl Scene for OnRedis {
    fn open(&mut self, workload: &Workload) {
        for slot in 0..self.count {
            let process = self.start();
            workload.publish(slot, process.address());
            self.processes.push(process);
        }
    }

    fn inject(&mut self, rng: &mut Rng, workload: &Workload) {
        let fault = *rng.choice(self.faults).expect("a scene has faults");
        match fault {
            Fault::CutConnections => {
                let server = self.server(rng);
                for kind in ["normal", "pubsub"] {
                    let _: u64 = server.ask(&format!("CLIENT KILL TYPE {kind}"));
                }
            }
            Fault::LoseReplies => {
                let Deployment::Single(_, proxy) = &self.deployment else {
                    panic!("{fault:?}: a cluster has no proxy in front of it");
                };
                proxy.lose_replies();
                sleep(Duration::from_millis(rng.u64(1..30)));
                proxy.cut();
            }
            Fault::FreezeServer => {
                let server = self.server(rng);
                server.freeze();
                sleep_while_frozen(rng);
                server.thaw();
            }
            Fault::FlushScripts => self.server(rng).ask::<()>("SCRIPT FLUSH"),
            Fault::KillServer => {
                let server = self.server(rng);
                server.kill();
                sleep(Duration::from_millis(rng.u64(..50)));
                server.start_again().unwrap_or_else(|why| panic!("{why}"));
            }
            Fault::KillInstance => {
                let slot = rng.usize(..self.count);
                let new = self.start();
                workload.publish(slot, new.address());
                // Requests in flight to the old instance lose their connection.
                std::mem::replace(&mut self.processes[slot], new).kill();
            }
        }
    }
}
