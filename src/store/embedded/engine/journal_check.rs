//! The engine's journals: a look at them before it opens them.
//!
//! At its start fjall cuts a journal off at the first entry that it cannot read. After a crash that is right: the last
//! batch may be torn, and nobody was told that it was done. Bytes damaged further up would be cut off as well, with every
//! batch behind them, and nobody would know. So a journal counts as damaged if what stands behind its last whole batch
//! cannot be one torn batch. One that fails its checksum fjall finds by itself, but only after it has begun to tidy up.
//! Source of the layout: `src/journal/entry.rs` and `batch_reader.rs` of fjall 3.

use std::{
    cmp::Ordering,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Result, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use memchr::memmem;
use xxhash_rust::xxh3::Xxh3;

use super::anchor::Identity;

/// Ends every batch.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Begins every batch.
const START: u8 = 1;
/// What stands where nothing was written yet: the engine makes its journals longer than they need to be.
const UNUSED: u8 = 0;

/// The engine's journals.
pub(crate) fn all(engine: &Path) -> Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(engine)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            journals.push(path);
        }
    }
    Ok(journals)
}

/// The newest journal, which is the one that the engine writes, as its folder shows it.
pub(crate) struct Newest {
    number: u64,
    identity: Identity,
    bytes: u64,
}

impl Newest {
    /// `None` where there is no journal.
    pub(crate) fn find(engine: &Path) -> Result<Option<Self>> {
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse().ok();
        let Some(number) = all(engine)?.iter().filter_map(number).max() else {
            return Ok(None);
        };
        let metadata = fs::metadata(engine.join(format!("{number}.jnl")))?;
        Ok(Some(Self {
            number,
            identity: Identity::of(&metadata),
            bytes: metadata.len(),
        }))
    }

    /// Whether the engine can have made it of what was seen before: the same file, which it only ever makes longer, or a
    /// later one. The engine makes a file and then its length, so a new one may be empty at first.
    pub(crate) fn follows(&self, before: &Self) -> bool {
        match self.number.cmp(&before.number) {
            Ordering::Less => false,
            Ordering::Equal => self.identity == before.identity && self.bytes >= before.bytes.max(1),
            Ordering::Greater => true,
        }
    }
}

/// Waits until no journal is open in this process: the threads of a closed engine may be the last to let go of one, and
/// write then what they still have for it.
pub(crate) fn wait_until_closed(engine: &Path) {
    let engine = engine.canonicalize().unwrap_or_else(|_| engine.to_owned());
    let open = |fd: Result<fs::DirEntry>| {
        let target = fd.and_then(|fd| fs::read_link(fd.path()));
        target.is_ok_and(|path| path.parent() == Some(&engine) && path.extension().is_some_and(|name| name == "jnl"))
    };
    // Where there is no /proc, the wait alone has to do.
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(10));
        if fs::read_dir("/proc/self/fd").is_ok_and(|mut all| !all.any(open)) {
            break;
        }
    }
}

/// Whether the journal can be read up to its last batch, which may be torn. Reads only.
pub(crate) fn intact(path: &Path) -> Result<bool> {
    let mut journal = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut behind_last_batch = 0;
    let mut checksum = Xxh3::new();
    while let Some(entry) = entry(&mut journal, &mut checksum)? {
        if let Entry::End { expected } = entry {
            if checksum.digest() != expected {
                return Ok(false);
            }
            checksum.reset();
            behind_last_batch = journal.stream_position()?;
        }
    }
    journal.seek(SeekFrom::Start(behind_last_batch))?;
    torn_at_most(journal)
}

/// Writes what a journal holds once more, in its place: what a failed write has left in the system's memory alone comes to
/// the disk, or the error is seen.
pub(crate) fn rewrite(path: &Path) -> Result<()> {
    let journal = File::options().read(true).write(true).open(path)?;
    let mut window = vec![0; 1 << 20];
    let mut place = 0;
    loop {
        let read = journal.read_at(&mut window, place)?;
        if read == 0 {
            return journal.sync_all();
        }
        // The unused end stays a hole, which takes no room.
        if window[..read].iter().any(|byte| *byte != UNUSED) {
            journal.write_all_at(&window[..read], place)?;
        }
        place += read as u64;
    }
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
    End { expected: u64 },
    Other,
}

/// The next entry, which the checksum learns of. `None` at the end, and at the first byte that makes no sense.
fn entry(journal: &mut BufReader<File>, checksum: &mut Xxh3) -> Result<Option<Entry>> {
    match read(journal, checksum) {
        Ok(entry) => Ok(entry),
        Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn read(journal: &mut BufReader<File>, checksum: &mut Xxh3) -> Result<Option<Entry>> {
    match bytes(journal)? {
        // The number of items and the sequence number, which no checksum covers.
        [START] => {
            bytes::<12>(journal)?;
        }
        // An item: its type, compression and keyspace, the length of its key, that of its value before compression and
        // after, then both.
        [2] => {
            let head: [u8; 20] = bytes(journal)?;
            let key = u64::from(u16::from_le_bytes([head[10], head[11]]));
            let value = u64::from(u32::from_le_bytes([head[16], head[17], head[18], head[19]]));
            checksum.update(&[2]);
            checksum.update(&head);
            covered(journal, key + value, checksum)?;
        }
        // The end: a checksum, and the trailer.
        [3] => {
            let expected = u64::from_le_bytes(bytes(journal)?);
            return Ok((bytes(journal)? == TRAILER).then_some(Entry::End { expected }));
        }
        // A keyspace that was cleared.
        [4] => {
            checksum.update(&[4]);
            covered(journal, 8, checksum)?;
        }
        _ => return Ok(None),
    }
    Ok(Some(Entry::Other))
}

fn bytes<const N: usize>(journal: &mut BufReader<File>) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    journal.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Shows the checksum the next bytes, as many as there are; the next read finds out if some are missing.
fn covered(journal: &mut BufReader<File>, mut bytes: u64, checksum: &mut Xxh3) -> Result<()> {
    while bytes > 0 {
        let buffer = journal.fill_buf()?;
        let taken = buffer.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        if taken == 0 {
            break;
        }
        checksum.update(&buffer[..taken]);
        journal.consume(taken);
        bytes -= taken as u64;
    }
    Ok(())
}
