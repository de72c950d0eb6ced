//! Tests of the behaviour that clients rely on: each is written once and runs on every store. The modules `redis_*`
//! test what redis-sessions peers rely on.

mod activity;
mod auth;
mod cluster_spread;
mod data;
mod expiry;
mod first_page;
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
mod redis_read_buffer;
mod redis_unreadable;
mod redis_wrong_types;
mod sessions;
mod size;
mod stalled_readers;
mod values;
mod wiper;
