//! The embedded store: an fjall database in a folder of this process, with a cache of records in front of it.
//!
//! - `operations`: the store functions, one file each.
//! - `writer`: the only thread that changes the disk. It commits changes in batches.
//! - `cache`: records in memory, with the reads that are not on disk yet.
//! - `activity`: counts of active ids, kept up to date as sessions are used.
//! - `codec`: the layout of keys, records and index entries.
//! - `engine`: the data folder, and the database in it, which may fail and be opened again.
//! - `check()`: the walk of `rest-sessions check`.
//!
//! Durability: create, set and kill are on disk before they are answered. The read count and the last activity are on
//! disk within a second; a crash loses at most that second of them.
//!
//! Limits: while the disk takes no writes, changes get a 503, reads continue, and the engine is opened again once there
//! is room. If the path of the data folder no longer leads to it, reads get a 503 too, because another process may own
//! what is at the path now.

mod activity;
mod cache;
mod check;
mod codec;
mod engine;
mod operations;
mod store;
mod writer;

pub(crate) use self::{check::check, engine::Refused};
pub use self::{operations::Listing, store::Embedded};
