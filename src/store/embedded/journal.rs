//! A look at the engine's journals before it opens them.
//!
//! At its start fjall cuts a journal off at the first entry that it cannot read. After a crash that is right: the last
//! batch may be torn, and nobody was told that it was done. Bytes damaged further up would be cut off as well, with every
//! batch behind them, and nobody would know. So a journal counts as damaged if what stands behind its last whole batch
//! cannot be one torn batch. Source of the layout: `src/journal/entry.rs` of fjall 3.

use std::{
    fs::File,
    io::{BufReader, Read, Result, Seek, SeekFrom},
    path::Path,
};

use memchr::memmem;

/// Ends every batch.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Begins every batch.
const START: u8 = 1;
/// What stands where nothing was written yet: the engine makes its journals longer than they need to be.
const UNUSED: u8 = 0;

/// Whether the journal can be read up to its last batch, which may be torn. Reads only.
pub(super) fn intact(path: &Path) -> Result<bool> {
    let mut journal = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut behind_last_batch = 0;
    while let Some(entry) = entry(&mut journal)? {
        if matches!(entry, Entry::End) {
            behind_last_batch = journal.stream_position()?;
        }
    }
    journal.seek(SeekFrom::Start(behind_last_batch))?;
    torn_at_most(journal)
}

/// Whether the rest can be one torn batch, or none.
fn torn_at_most(mut rest: impl Read) -> Result<bool> {
    let mut window = Vec::new();
    let mut trailers = 0;
    let mut first = true;
    loop {
        if rest.by_ref().take(1 << 20).read_to_end(&mut window)? == 0 {
            // A torn batch has at most its own trailer, if the disk wrote its pages out of order.
            return Ok(trailers <= 1);
        }
        if first && !matches!(window[0], START | UNUSED) {
            return Ok(false);
        }
        first = false;
        trailers += memmem::find_iter(&window, &TRAILER).count();
        // A trailer may lie across two windows. What is kept is too short to count one twice.
        let keep = window.len().min(TRAILER.len() - 1);
        window.drain(..window.len() - keep);
    }
}

enum Entry {
    End,
    Other,
}

/// The next entry. `None` at the end, and at the first byte that makes no sense.
fn entry(journal: &mut BufReader<File>) -> Result<Option<Entry>> {
    match read(journal) {
        Ok(entry) => Ok(entry),
        Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn read(journal: &mut BufReader<File>) -> Result<Option<Entry>> {
    match bytes(journal)? {
        // The number of items and the sequence number.
        [START] => skip(journal, 4 + 8)?,
        // An item.
        [2] => {
            // Its type, its compression and its keyspace.
            skip(journal, 1 + 1 + 8)?;
            let key = u16::from_le_bytes(bytes(journal)?);
            // The length of the value before its compression, and after.
            skip(journal, 4)?;
            let value = u32::from_le_bytes(bytes(journal)?);
            skip(journal, i64::from(key) + i64::from(value))?;
        }
        // The end: a checksum, and the trailer.
        [3] => {
            skip(journal, 8)?;
            return Ok((bytes(journal)? == TRAILER).then_some(Entry::End));
        }
        // A keyspace that was cleared.
        [4] => skip(journal, 8)?,
        _ => return Ok(None),
    }
    Ok(Some(Entry::Other))
}

fn bytes<const N: usize>(journal: &mut BufReader<File>) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    journal.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// May skip beyond the end; the next read finds out.
fn skip(journal: &mut BufReader<File>, bytes: i64) -> Result<()> {
    journal.seek_relative(bytes)
}
