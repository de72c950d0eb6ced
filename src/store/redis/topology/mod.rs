//! The server or servers behind the store, and which shard lives on which of them.

pub(crate) mod cluster;
pub(crate) mod failover;
mod nodes;
pub(crate) mod routing;
mod shard_count;
pub(crate) mod shards;
pub(crate) mod slot_map;
mod slot_table;
