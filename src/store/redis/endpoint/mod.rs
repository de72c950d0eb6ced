//! Addresses, credentials and certificates as the operator gives them, made into connection settings.

pub(crate) mod address;
mod certificates;
pub(crate) mod endpoints;
mod url;
