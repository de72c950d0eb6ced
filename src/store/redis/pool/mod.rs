//! The connections to one server, and what happens when it is unreachable.

pub(crate) mod availability_log;
mod connections;
pub(crate) mod manager;
pub(crate) mod request;
pub(crate) mod server;
mod wait_replicas;
