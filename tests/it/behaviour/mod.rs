//! What a client can rely on, written once and run on every store; and what a Redis peer can rely on.

mod activity;
mod auth;
mod data;
mod expiry;
mod ids;
mod kills;
mod lists;
mod no_resave;
mod pages;
mod pages_of_id;
mod races;
mod redis_further_fields;
mod redis_layout;
mod redis_messages;
mod redis_touch;
mod redis_unreadable;
mod redis_wrong_types;
mod sessions;
mod size;
mod spread;
mod stalled_readers;
mod values;
mod wiper;
