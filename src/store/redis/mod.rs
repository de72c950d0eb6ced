//! Sessions in Redis, in the layout that redis-sessions peers share ("classic", see `layout`), or on a cluster in
//! many shards of the same form.
//!
//! The layers, each of which uses only those above it:
//!
//! - `layout`, `error`, `log_throttle`: key names, what an error of Redis means, a limit for repeated log lines;
//! - `connection`: one pipelined connection and the decoder of the protocol;
//! - `endpoint`: URLs, credentials and certificates, made into connection settings;
//! - `sentinel`: asks sentinels for the address of the master;
//! - `scripts`: the Lua scripts and how they are called;
//! - `pool`: the connections to one server, and retries;
//! - `decode`: replies of scripts, made into records and counts;
//! - `topology`: one server, a master behind sentinels or a cluster, and which shard lives where;
//! - `near_cache`, `read_buffer`: sessions kept in memory, and reads that are written to Redis later;
//! - `store` and `operations`: the store itself, and a file for each group of its operations;
//! - `check`: the consistency check, which needs no service.

mod background_tasks;
mod check;
mod clock_sync;
mod connection;
mod decode;
mod endpoint;
mod error;
mod layout;
mod log_throttle;
mod near_cache;
mod operations;
mod pool;
mod read_buffer;
mod scripts;
mod sentinel;
mod store;
#[cfg(test)]
mod tests;
mod topology;

pub(crate) use self::check::check;
pub use self::{
    endpoint::address::{Address, Deployment},
    operations::list::RedisListing,
    store::{Options, Redis},
};
