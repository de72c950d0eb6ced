//! The engine's files, from the first to the last byte.

use std::{fs::File, io::Read, path::Path};

use xxhash_rust::xxh3::Xxh3;

/// The checksum of a file, as the engine has it for each table.
pub(super) fn checksum(path: &Path) -> std::io::Result<u128> {
    let mut file = File::open(path)?;
    let (mut sum, mut window) = (Xxh3::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut window)? {
            0 => return Ok(sum.digest128()),
            read => sum.update(&window[..read]),
        }
    }
}
