//! The process around the service: how its start fails, how background work is supervised, how it shuts down.

pub mod shutdown;
pub(crate) mod supervisor;

/// Why the service did not start, in one line for the operator. The line holds no secret.
#[derive(Debug)]
pub enum StartError {
    /// The configuration cannot work anywhere: exit code 2.
    Config(String),
    /// The configuration is valid, but this machine or its services refuse it now: exit code 1.
    Start(String),
}
