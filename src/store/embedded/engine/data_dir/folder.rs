//! A claimed data folder.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::engine_seen::EngineSeen;
use crate::store::embedded::engine::{claim::Claim, marker::Marker};

/// A data folder that this process has claimed.
pub(crate) struct DataDir {
    pub(super) claim: Claim,
    pub(super) marker: Arc<Marker>,
    pub(super) seen: Mutex<Option<EngineSeen>>,
}

impl DataDir {
    /// The path that the operator has configured.
    pub(super) fn path(&self) -> &Path {
        self.claim.folder().path()
    }

    /// A path that leads to the folder wherever it is now.
    pub(super) fn base(&self) -> &Path {
        self.claim.folder().base()
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Option<EngineSeen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
