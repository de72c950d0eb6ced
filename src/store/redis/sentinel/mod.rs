//! Sentinels, which monitor a master and its replicas and know the address of the master.

pub(crate) mod query;
pub(crate) mod subscription;
