//! The engine's tables: each file is read to its end and compared with the checksum that the engine keeps of it.

use std::{fs::File, io::Read, path::Path};

use fjall::AbstractTree;
use xxhash_rust::xxh3::Xxh3;

use super::Check;

impl Check<'_> {
    /// Reads every table. If one is damaged, nothing tells which entries it has lost, so nothing is repaired.
    pub(super) fn tables(&mut self) {
        let mut whole = true;
        let engine = self.engine.clone();
        for keyspace in engine.keyspaces() {
            for table in keyspace.tree.current_version().iter_tables() {
                let path = keyspace.path().join(format!("tables/{}", table.id()));
                match checksum(&path) {
                    Ok(sum) if sum == table.checksum().into_u128() => {}
                    Ok(_) => {
                        whole = false;
                        let path = engine.shown(&path);
                        self.report.unreadable("damaged table", &path.display());
                    }
                    Err(cause) => {
                        whole = false;
                        self.unreadable(&cause.into());
                    }
                }
            }
        }
        if !whole {
            self.repairs.give_up();
        }
    }
}

/// The checksum of a file, as the engine computes it for a table.
fn checksum(path: &Path) -> std::io::Result<u128> {
    let mut file = File::open(path)?;
    let (mut sum, mut buffer) = (Xxh3::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sum.digest128()),
            read => sum.update(&buffer[..read]),
        }
    }
}
