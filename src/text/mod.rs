//! Text that operators write and read: their files, and values made fit for one line of a log.

pub(crate) mod file;
pub mod printable;
