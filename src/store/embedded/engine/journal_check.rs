//! Checks the engine's journals before the engine opens them.
//!
//! At its start fjall cuts a journal off at the first entry that it cannot read. After a crash that is right: the last
//! batch may be torn, and its requests were never answered. But damage before the end would lose every batch behind it,
//! and no one would learn of it. So a journal counts as damaged if the bytes behind its last whole batch cannot be one
//! torn batch. fjall itself notices a wrong checksum, but only after it has begun to delete files.
//!
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

/// The last bytes of every batch.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// The first byte of every batch.
const START: u8 = 1;
/// The content of the part that is not written yet: the engine preallocates its journals.
const UNUSED: u8 = 0;

/// The paths of the engine's journals.
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

/// The newest journal of a folder: the one that the engine writes to.
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

    /// Whether the engine can have written this one after `before`: it is the same file and not shorter, or a newer
    /// one. A new one may be empty at first, because the engine creates a file before it sets its length.
    pub(crate) fn follows(&self, before: &Self) -> bool {
        match self.number.cmp(&before.number) {
            Ordering::Less => false,
            Ordering::Equal => self.identity == before.identity && self.bytes >= before.bytes.max(1),
            Ordering::Greater => true,
        }
    }
}

/// Waits until this process has no journal open. Why: the threads of a closed engine may drop a journal last, and then
/// write what they have buffered for it.
pub(crate) fn wait_until_closed(engine: &Path) {
    let engine = engine.canonicalize().unwrap_or_else(|_| engine.to_owned());
    let open = |fd: Result<fs::DirEntry>| {
        let target = fd.and_then(|fd| fs::read_link(fd.path()));
        target.is_ok_and(|path| path.parent() == Some(&engine) && path.extension().is_some_and(|name| name == "jnl"))
    };
    // On a system without /proc, the pauses have to do.
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(10));
        if fs::read_dir("/proc/self/fd").is_ok_and(|mut all| !all.any(open)) {
            break;
        }
    }
}

/// Whether a journal can be read up to its last batch, which may be torn. Reads only.
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

/// Writes the bytes of a journal to it once more. Why: after a failed write some of them may be in the page cache only;
/// now they reach the disk, or the error shows.
pub(crate) fn rewrite(path: &Path) -> Result<()> {
    let journal = File::options().read(true).write(true).open(path)?;
    let mut window = vec![0; 1 << 20];
    let mut place = 0;
    loop {
        let read = journal.read_at(&mut window, place)?;
        if read == 0 {
            return journal.sync_all();
        }
        // The unused end stays a hole in the file, which takes no space.
        if window[..read].iter().any(|byte| *byte != UNUSED) {
            journal.write_all_at(&window[..read], place)?;
        }
        place += read as u64;
    }
}

/// Whether the rest of a journal can be one torn batch, or nothing.
fn torn_at_most(mut rest: impl Read) -> Result<bool> {
    let mut window = Vec::new();
    let mut trailers = 0;
    let mut first = true;
    loop {
        if rest.by_ref().take(1 << 20).read_to_end(&mut window)? == 0 {
            // A torn batch has at most its own trailer, if its pages reached the disk out of order.
            return Ok(trailers <= 1);
        }
        if first && !matches!(window[0], START | UNUSED) {
            return Ok(false);
        }
        first = false;
        trailers += memmem::find_iter(&window, &TRAILER).count();
        // A trailer may lie across two windows. The bytes kept are too few to count one twice.
        let keep = window.len().min(TRAILER.len() - 1);
        window.drain(..window.len() - keep);
    }
}

enum Entry {
    End { expected: u64 },
    Other,
}

/// Reads the next entry and adds it to the checksum. `None` at the end, and at the first byte that begins no entry.
fn entry(journal: &mut BufReader<File>, checksum: &mut Xxh3) -> Result<Option<Entry>> {
    match read(journal, checksum) {
        Ok(entry) => Ok(entry),
        Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn read(journal: &mut BufReader<File>, checksum: &mut Xxh3) -> Result<Option<Entry>> {
    match bytes(journal)? {
        // The number of items and the sequence number. The checksum does not cover them.
        [START] => {
            bytes::<12>(journal)?;
        }
        // An item: its type, compression and keyspace, the length of its key, that of its value before and after
        // compression, then the key and the value.
        [2] => {
            let head: [u8; 20] = bytes(journal)?;
            let key = u64::from(u16::from_le_bytes([head[10], head[11]]));
            let value = u64::from(u32::from_le_bytes([head[16], head[17], head[18], head[19]]));
            checksum.update(&[2]);
            checksum.update(&head);
            covered(journal, key + value, checksum)?;
        }
        // The end of the batch: a checksum and the trailer.
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

/// Adds the next bytes to the checksum, as many as there are. The next read notices if some are missing.
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
