//! Decodes replies of Redis into records, lists and counts.

pub(crate) mod counts;
pub(crate) mod list;
pub(crate) mod nonsense;
pub(crate) mod of_id;
pub(crate) mod record;
