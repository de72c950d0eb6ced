//! What the last check saw of the folder of the open engine.

use std::path::Path;

use crate::store::embedded::engine::{anchor::Identity, journal_check::Newest};

/// The folder of the open engine, as it was seen last.
pub(super) struct EngineSeen {
    pub(super) identity: Identity,
    pub(super) journal: Option<Newest>,
}

impl EngineSeen {
    pub(super) fn new(identity: Identity, engine: &Path) -> Self {
        Self {
            identity,
            journal: Newest::find(engine).ok().flatten(),
        }
    }
}
