//! The server or servers behind the store, and which shard lives on which of them.

pub(crate) mod cluster;
pub(crate) mod failover;
pub(crate) mod routing;
pub(crate) mod shards;
pub(crate) mod slot_map;
