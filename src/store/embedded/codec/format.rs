//! Formats of the data folder: of its records, and of the folder as a whole.
//!
//! A record begins with its format. The folder's marker names the newest format that the folder may hold, and is raised
//! before the first record of a newer format is written, so that a version that does not know the format refuses the
//! folder at its start.

/// A format that this version reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Format {
    /// The fields of a session, nothing else.
    One = 1,
    /// The same, then a list of [extra fields](super::Fields).
    Two = 2,
}

/// Why a format is not one of [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A newer version of this program has written it.
    Newer,
    /// No version has: it is damaged.
    Damaged,
}

impl Format {
    /// The newest one.
    pub(crate) const NEWEST: Self = Self::Two;

    /// The format of this number.
    pub(crate) fn of(number: u64) -> Result<Self, Unreadable> {
        match number {
            0 => Err(Unreadable::Damaged),
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            _ => Err(Unreadable::Newer),
        }
    }

    /// Its number.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}
