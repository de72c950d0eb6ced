//! One pipelined connection to a Redis server, and the decoder of its protocol.

pub(crate) mod blocking;
pub(crate) mod explain;
mod happy_eyeballs;
pub(crate) mod pipeline;
pub(crate) mod resp;
pub(crate) mod socket;
mod traffic;
