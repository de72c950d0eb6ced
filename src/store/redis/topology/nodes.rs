//! The nodes of a cluster, each with connections of its own: an unreachable node costs only its own slots.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::store::redis::{
    endpoint::endpoints::Endpoints,
    log_throttle::LogThrottle,
    pool::{availability_log::AvailabilityLog, manager::Manager, request::PoolSettings, server::Server},
};

/// The known nodes.
pub(super) struct Nodes {
    endpoints: Endpoints,
    settings: PoolSettings,
    /// By address.
    known: Mutex<HashMap<String, Arc<Server>>>,
    /// Log lines about nodes that only redirects name.
    redirected: Arc<LogThrottle>,
}

impl Nodes {
    pub(super) fn new(endpoints: Endpoints, settings: PoolSettings) -> Self {
        Self {
            endpoints,
            settings,
            known: Mutex::default(),
            redirected: Arc::default(),
        }
    }

    /// The addresses that the operator has given.
    pub(super) fn seeds(&self) -> Vec<String> {
        self.endpoints.seeds()
    }

    /// How to connect to the node at an address.
    pub(super) fn manager(&self, address: &str) -> Manager {
        let (info, tls) = (self.endpoints.at(address), self.endpoints.tls.clone());
        Manager::fixed(info, tls, self.settings.timeout)
    }

    /// The node at an address, known or not.
    pub(super) fn node(&self, address: &str) -> Arc<Server> {
        self.node_with(address, AvailabilityLog::new)
    }

    /// The node that `from` redirects to. An address without a host means the host of `from`.
    pub(super) fn redirected(&self, address: &str, from: Option<&Arc<Server>>) -> Option<Arc<Server>> {
        let mut address = address.to_owned();
        if let Some(("" | "?", port)) = address.rsplit_once(':') {
            let from = from?;
            let known = self.lock();
            let (from, _) = known.iter().find(|(_, node)| Arc::ptr_eq(node, from))?;
            let (host, _) = from.rsplit_once(':')?;
            address = format!("{host}:{port}");
        }
        let log = |at| AvailabilityLog::of_redirected(at, self.redirected.clone());
        Some(self.node_with(&address, log))
    }

    fn node_with(&self, address: &str, log: impl FnOnce(String) -> AvailabilityLog) -> Arc<Server> {
        let mut known = self.lock();
        let start = || {
            let log = log(format!(" at {address}"));
            Arc::new(Server::new(&self.manager(address), log, self.settings))
        };
        known.entry(address.to_owned()).or_insert_with(start).clone()
    }

    /// Forgets all nodes but those that `stays` names.
    pub(super) fn retain(&self, stays: impl Fn(&str) -> bool) {
        self.lock().retain(|address, _| stays(address));
    }

    /// Accepts no more requests.
    pub(super) fn close(&self) {
        for node in self.lock().values() {
            node.close();
        }
    }

    /// A panic under the lock leaves the nodes whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Server>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
