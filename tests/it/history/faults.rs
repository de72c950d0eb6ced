//! What goes wrong meanwhile: processes that are killed or stand still, connections that are cut, scripts that are
//! lost.

use std::{thread::sleep, time::Duration};

use fastrand::Rng;
use tempfile::TempDir;

use super::run::World;
use crate::{
    process::Process,
    support::{
        line::Line,
        redis_cluster::Cluster,
        redis_server::{self, Redis},
    },
};

/// Operations from one fault to the next, at most.
const APART: usize = 200;
/// How long something may stand still, in milliseconds: longer than the service waits for Redis.
const PAUSE: u64 = 1300;

/// A store with services, and what can happen to it.
pub(super) trait Scene: Send {
    /// Says where the services are.
    fn open(&mut self, world: &World);

    /// One random fault. At its end everything runs.
    fn disturb(&mut self, rng: &mut Rng, world: &World);
}

/// Disturbs until the clients have had enough; answers how often.
pub(super) fn disturb(scene: &mut dyn Scene, rng: &mut Rng, world: &World) -> usize {
    let mut times = 0;
    loop {
        let next = world.done() + rng.usize(APART / 2..APART);
        while world.done() < next {
            if world.over() {
                return times;
            }
            sleep(Duration::from_millis(2));
        }
        scene.disturb(rng, world);
        times += 1;
    }
}

fn pause(rng: &mut Rng) {
    sleep(Duration::from_millis(rng.u64(1..PAUSE)));
}

/// The program on a folder of its own.
pub(super) struct Embedded {
    folder: TempDir,
    process: Option<Process>,
    /// Whether it is killed, too.
    kills: bool,
}

impl Embedded {
    pub(super) fn new(kills: bool) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            process: None,
            kills,
        }
    }
}

impl Scene for Embedded {
    fn open(&mut self, world: &World) {
        let process = Process::start(self.folder.path(), &["--timeout", "1"]);
        world.publish(0, process.address());
        self.process = Some(process);
    }

    fn disturb(&mut self, rng: &mut Rng, world: &World) {
        if self.kills && rng.u32(..3) > 0 {
            self.process.take().expect("it runs").kill();
            world.died(0);
            self.open(world);
        } else {
            let process = self.process.as_ref().expect("it runs");
            process.signal("STOP");
            pause(rng);
            process.signal("CONT");
        }
    }
}

/// Redis, one server or a cluster.
pub(super) enum Servers {
    One(Box<Redis>, Line),
    Many(Cluster),
}

/// Programs that share Redis.
pub(super) struct OnRedis {
    servers: Servers,
    /// Where the programs run; nothing is written there.
    folder: TempDir,
    /// How many programs.
    count: usize,
    processes: Vec<Process>,
    /// As `RS_TOUCH`.
    touch: &'static str,
    /// As `RS_CACHETIME`.
    cachetime: &'static str,
    faults: &'static [Fault],
}

/// What can happen to Redis and those who use it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Every connection to a server is cut.
    Cut,
    /// The same, but before that no reply arrives for a moment; only to one that stands alone.
    Deafen,
    /// A server stands still.
    Pause,
    /// A server forgets all scripts.
    Flush,
    /// The server is killed and comes back; only one that stands alone.
    KillServer,
    /// One of the programs is killed, and another takes its place.
    KillProgram,
}

impl OnRedis {
    pub(super) async fn single(count: usize, touch: &'static str, faults: &'static [Fault]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // What it has answered is on disk.
        let options = ["--appendonly", "yes", "--appendfsync", "always"];
        let server = redis_server::start(&options).unwrap_or_else(|why| panic!("{why}"));
        let line = Line::to(server.port).await;
        Self::new(Servers::One(Box::new(server), line), folder, count, touch, faults)
    }

    pub(super) fn cluster(count: usize, touch: &'static str, faults: &'static [Fault]) -> Self {
        let cluster = Cluster::start(3, 0).unwrap_or_else(|why| panic!("{why}"));
        let folder = tempfile::tempdir().expect("a folder");
        Self::new(Servers::Many(cluster), folder, count, touch, faults)
    }

    fn new(servers: Servers, folder: TempDir, count: usize, touch: &'static str, faults: &'static [Fault]) -> Self {
        Self {
            servers,
            folder,
            count,
            processes: Vec::new(),
            touch,
            cachetime: "0",
            faults,
        }
    }

    /// The same with a near cache in each program.
    pub(super) fn with_near_cache(self) -> Self {
        Self {
            cachetime: "60",
            ..self
        }
    }

    fn start(&self) -> Process {
        let (mode, urls) = match &self.servers {
            Servers::One(_, line) => ("single", format!("redis://{}", line.address())),
            Servers::Many(cluster) => ("cluster", cluster.urls()),
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
        Process::start(self.folder.path(), &args)
    }

    fn server(&mut self, rng: &mut Rng) -> &mut Redis {
        match &mut self.servers {
            Servers::One(server, _) => server,
            Servers::Many(cluster) => rng.choice(&mut cluster.nodes).expect("there are some"),
        }
    }
}

impl Scene for OnRedis {
    fn open(&mut self, world: &World) {
        for place in 0..self.count {
            let process = self.start();
            world.publish(place, process.address());
            self.processes.push(process);
        }
    }

    fn disturb(&mut self, rng: &mut Rng, world: &World) {
        let fault = *rng.choice(self.faults).expect("there are some");
        match fault {
            Fault::Cut => {
                let server = self.server(rng);
                for kind in ["normal", "pubsub"] {
                    let _: u64 = server.ask(&format!("CLIENT KILL TYPE {kind}"));
                }
            }
            Fault::Deafen => {
                let Servers::One(_, line) = &self.servers else {
                    panic!("{fault:?}: there is no line to a cluster");
                };
                line.deafen();
                sleep(Duration::from_millis(rng.u64(1..30)));
                line.cut();
            }
            Fault::Pause => {
                let server = self.server(rng);
                server.freeze();
                pause(rng);
                server.thaw();
            }
            Fault::Flush => self.server(rng).ask::<()>("SCRIPT FLUSH"),
            Fault::KillServer => {
                let server = self.server(rng);
                server.kill();
                sleep(Duration::from_millis(rng.u64(..50)));
                server.start_again().unwrap_or_else(|why| panic!("{why}"));
            }
            Fault::KillProgram => {
                let place = rng.usize(..self.count);
                let new = self.start();
                world.publish(place, new.address());
                // Those that are still on their way to the old one are cut off.
                std::mem::replace(&mut self.processes[place], new).kill();
            }
        }
    }
}
