//! Why a store operation failed.

use crate::session::ApplyError;

/// The outcome of a store operation that failed. The cause is logged where it occurs and never reaches a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The store is unreachable or missed its deadline. The change may or may not have been applied.
    Unavailable,
    /// The change was applied, but fewer replicas than `RS_REDIS_WAIT` acknowledged it.
    NotReplicated,
    /// `d` would exceed [`crate::session::MAX_DATA_BYTES`]. Nothing was changed.
    TooLarge,
    /// A defect of this service.
    Internal,
}

impl From<ApplyError> for Error {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::TooLarge => Self::TooLarge,
            ApplyError::Unreadable => Self::Internal,
        }
    }
}
