//! Changes that are answered once replicas have them.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use deadpool::managed;
use deadpool_redis::redis::{Cmd, Value};

use super::{failure::Failure, link::Manager, queue::Queue, script::Script};

/// Changes that wait for replicas.
pub(super) struct Replicated {
    pub(super) links: managed::Pool<Manager>,
    pub(super) queue: Queue,
    pub(super) replicas: u16,
    /// Scripts, by hash, that the server has run on this connection.
    known: Mutex<HashSet<String>>,
}

impl Replicated {
    /// `links` has one connection, as the replies of a group are those of one.
    pub(super) fn new(links: managed::Pool<Manager>, replicas: u16) -> Self {
        Self {
            links,
            queue: Queue::new(),
            replicas,
            known: Mutex::default(),
        }
    }

    /// Runs a script: by its hash only if the server is sure to know it. A refusal takes as long as the changes that it
    /// goes with, and a change has no time for several of them.
    pub(super) async fn answer(
        &self,
        script: &Script,
        arguments: &(dyn Fn(&mut Cmd) + Sync),
    ) -> Result<Value, Failure> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let by_hash = known().contains(script.hash());
        let mut reply = Err(Failure::NoScript);
        if by_hash {
            reply = self.queue.answer(script.by_hash(arguments)).await;
        }
        if let Err(Failure::NoScript) = reply {
            reply = self.queue.answer(script.by_source(arguments)).await;
        }
        match reply {
            Ok(_) | Err(Failure::NotReplicated) if by_hash => {}
            Ok(_) | Err(Failure::NotReplicated) => {
                known().insert(script.hash().to_owned());
            }
            // The next connection may lead to a server that knows none.
            Err(_) => known().clear(),
        }
        reply
    }
}
