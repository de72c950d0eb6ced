//! rest-sessions: shared sessions for any backend in any language, over plain HTTP.
//!
//! A request takes one way, and one word names each of its steps (`create`, `get`, `auth`, `set`, `activity`, `soapp`, `soid`,
//! `kill`, `killsoid`, `killall`): route and handler in [`http`], the rules and the clock in [`service`], one operation of the
//! [`store`], an answer. Search for the word to see the whole slice.
//!
//! Layers, from the bottom up. A module imports from the layers below it only:
//!
//! - `text`, [`session`]: values and the rules for them;
//! - [`clock`], [`observability`], [`process`], [`config`]: what every layer above may use;
//! - [`store`]: both backends, and the walks that [`check`] reports on;
//! - [`service`]: one function for each route;
//! - [`http`]: routes, handlers, extractors, middleware, errors;
//! - [`server`]: listeners and connections;
//! - [`app`]: puts them together;
//! - [`cli`]: the subcommands.

pub mod app;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod observability;
pub mod process;
pub mod server;
pub mod service;
pub mod session;
pub mod store;
pub mod text;
