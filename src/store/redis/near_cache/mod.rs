//! The near cache: sessions in memory as Redis had them a moment ago. Off by default.

pub(crate) mod cache;
pub(crate) mod invalidation;
mod lease;
mod local_writes;
pub(crate) mod masters;
mod removals;
#[cfg(test)]
mod tests;
