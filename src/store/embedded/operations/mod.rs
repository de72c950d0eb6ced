//! The operations of the embedded store, one file each: the store function and, where it changes something, its change.

mod activity;
mod create;
mod get;
mod kill;
mod killall;
mod killsoid;
mod limits;
mod list;
mod ping;
mod remove;
mod set;
mod soid_soapp;
mod wipe;

pub use self::list::Listing;
