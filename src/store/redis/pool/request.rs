//! What callers ask of a server, and how its connections are used.

use std::time::Duration;

use deadpool_redis::redis::Cmd;

use crate::store::redis::scripts::Script;

/// How the connections to a server are used.
#[derive(Clone, Copy)]
pub(crate) struct PoolSettings {
    /// The longest wait for a connection, and then for the reply.
    pub(crate) timeout: Duration,
    /// How many connections all requests share.
    pub(crate) connections: usize,
    /// How many replicas must acknowledge a change before it is answered; 0: none.
    pub(crate) replicas: u16,
}

/// One request to a server. Closures add the number of keys, the keys and the arguments of a script.
pub(crate) enum ServerRequest<'a> {
    /// A command that reads a key.
    Read(&'a Cmd),
    /// A script whose changes need not be replicated.
    Script(&'a Script, &'a (dyn Fn(&mut Cmd) + Sync)),
    /// A script whose changes must reach the replicas.
    Change(&'a Script, &'a (dyn Fn(&mut Cmd) + Sync)),
    /// Any other command that may be sent again.
    Command(&'a Cmd),
}
