//! Addresses, credentials and certificates as the operator gives them, made into connection settings.

pub(crate) mod address;
pub(crate) mod endpoints;
