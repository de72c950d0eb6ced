//! Reads that Redis does not know of yet, and the task that writes them.

pub(crate) mod buffer;
mod entry;
pub(crate) mod flusher;
pub(crate) mod set_guard;
#[cfg(test)]
mod tests;
