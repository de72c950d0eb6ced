//! Everything that is tested from outside: real servers, real HTTP, a real Redis. One binary, so it links once.

mod behaviour;
mod check;
mod config;
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
mod readme;
mod server;
mod support;
