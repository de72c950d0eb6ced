//! The integration tests: real servers, real HTTP, a real Redis. All are in one binary, so that it links only once.

mod architecture;
mod behaviour;
mod check;
mod config;
mod documents;
mod durability;
mod history;
mod input;
mod metrics;
mod near;
mod openapi;
mod outage;
mod peers;
mod process;
mod properties;
mod server;
mod support;
