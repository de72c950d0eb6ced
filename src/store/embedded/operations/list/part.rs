//! The bounds of one part of a list: how long it may work, and the snapshot that it reads.

use std::time::Duration;

use crate::store::{
    Error,
    embedded::{cache::Cache, engine::Snapshot, operations::limits::ENTRIES_PER_VISIT},
    yielder::Yielder,
};

/// About how long a part may work. Why: other large operations wait for it.
pub(super) const PART: Duration = Duration::from_millis(10);
/// The same for the first part, which no other operation waits for. Why: most lists end with it, and then need not queue
/// among the long ones.
pub(super) const FIRST_PART: Duration = Duration::from_millis(100);

/// Bounds the work of one part.
pub(super) struct PartBudget {
    entries: usize,
    time: Duration,
    yielder: Yielder,
}

impl PartBudget {
    pub(super) fn new(time: Duration) -> Self {
        Self {
            entries: ENTRIES_PER_VISIT,
            time,
            yielder: Yielder::new(),
        }
    }

    /// Counts one index entry or record. False: the part has done enough.
    pub(super) fn step(&mut self) -> bool {
        self.entries = self.entries.saturating_sub(1);
        self.yielder.step() < self.time && self.entries > 0
    }
}

/// The snapshot of a part, opened when it is first needed.
pub(super) fn open<'a, 'b>(
    snapshot: &'a mut Option<Snapshot<'b>>,
    cache: &'b Cache,
) -> Result<&'a Snapshot<'b>, Error> {
    match snapshot {
        Some(open) => Ok(open),
        none => Ok(none.insert(cache.disk.snapshot()?)),
    }
}
