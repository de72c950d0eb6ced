//! One pipelined connection to a Redis server, and the decoder of its protocol.

pub(crate) mod blocking;
mod connect;
pub(crate) mod explain;
mod happy_eyeballs;
mod health;
mod in_flight;
pub(crate) mod pipeline;
mod queue;
pub(crate) mod resp;
pub(crate) mod retry;
mod scanner;
pub(crate) mod socket;
mod traffic;
