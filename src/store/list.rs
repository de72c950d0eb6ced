//! What both backends agree on about lists of sessions.

use crate::session::{Cursor, Seconds, Session};

/// Approximate maximum of data in one part of a list, in bytes. It bounds the memory that a stalled client pins.
pub(crate) const PART_BYTES: usize = 128 * 1024;

/// Maximum number of sessions, and approximate maximum of their data in bytes, that a soid reads as one snapshot. On Redis the
/// snapshot is one script. `docs/scaling.md` describes longer lists.
pub(crate) const SNAPSHOT_SESSIONS: usize = 200;
pub(crate) const SNAPSHOT_BYTES: usize = 256 * 1024;

/// Selects the sessions of an app or an id that a list contains.
#[derive(Clone, Copy, Debug)]
pub struct ListQuery {
    /// Earliest last activity. Lists of an id ignore it.
    pub since: Seconds,
    /// End of the previous page. The list starts after it.
    pub after: Option<Cursor>,
    /// The current second.
    pub now: Seconds,
}

/// A session in a list.
#[derive(Debug)]
pub struct Listed {
    /// Its position in the list.
    pub cursor: Cursor,
    /// The session as a client sees it.
    pub session: Session,
}
