//! Metrics and logs.

pub mod logging;
pub mod metrics;
pub(crate) mod per_thread;
