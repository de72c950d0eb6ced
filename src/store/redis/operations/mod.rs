//! The operations of the store, a file for each group.

mod limits;
pub(crate) mod list;
mod live;
mod query;
mod remove;
mod session;
mod soapp;
mod soid;
