//! What the operator says: flags, environment and file, one definition for all three.

mod file;
mod links;
mod order;
mod print;
mod redis;
mod refusal;
mod windows;
