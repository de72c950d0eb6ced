//! The operations that need more than one step: lists, counts and removals.

mod activity;
mod list;
mod removals;
mod soid_soapp;

pub use self::list::Listing;
