//! A look at the engine's journals before it opens them.
//!
//! At its start fjall cuts a journal off at the first entry that it cannot read. After a crash that is right: the last
//! batch may be torn, and nobody was told that it was done. Bytes damaged further up would be cut off as well, with every
//! batch behind them, and nobody would know. So whoever finds whole batches behind the first unreadable entry calls the
//! journal damaged. Source of the layout: `src/journal/entry.rs` of fjall 3.

use std::{fs::File, io::Read, path::Path};

/// Ends every batch.
const TRAILER: &[u8; 4] = b"FJL\x03";

/// Whether the journal can be read up to its last batch, which may be torn. Reads only.
pub(super) fn intact(path: &Path) -> std::io::Result<bool> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut behind_last_batch = rest;
    while let Some(entry) = Entry::read(&mut rest) {
        if matches!(entry, Entry::End) {
            behind_last_batch = rest;
        }
    }
    // A torn batch has at most its own trailer, if the disk wrote its pages out of order.
    let trailers = behind_last_batch
        .windows(TRAILER.len())
        .filter(|window| *window == TRAILER)
        .count();
    Ok(trailers <= 1)
}

enum Entry {
    End,
    Other,
}

impl Entry {
    /// Takes one entry off the front. `None` at the end, and at the first byte that makes no sense.
    fn read(rest: &mut &[u8]) -> Option<Self> {
        match take(rest)? {
            // Start: number of items, sequence number.
            [1] => skip(rest, 4 + 8)?,
            [2] => {
                let [_value_type] = take(rest)?;
                // LZ4 has no level; None has none either.
                let [_compression] = take(rest)?;
                skip(rest, 8)?;
                let key = u16::from_le_bytes(take(rest)?);
                skip(rest, 4)?;
                let value = u32::from_le_bytes(take(rest)?);
                skip(rest, usize::from(key))?;
                skip(rest, usize::try_from(value).ok()?)?;
            }
            [3] => {
                skip(rest, 8)?;
                return (take(rest)? == *TRAILER).then_some(Self::End);
            }
            // Clear: the keyspace.
            [4] => skip(rest, 8)?,
            _ => return None,
        }
        Some(Self::Other)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

fn skip(rest: &mut &[u8], bytes: usize) -> Option<()> {
    *rest = rest.get(bytes..)?;
    Some(())
}
