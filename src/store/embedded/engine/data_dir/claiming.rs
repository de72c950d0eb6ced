//! Claims a data folder for this process.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, Mutex},
};

use super::{
    folder::DataDir,
    layout::{foreign, is_file},
    refused::{bad_marker, unusable_folder},
};
use crate::store::embedded::engine::{
    claim::Claim,
    marker::{Content, MARKER, Marker},
};

impl DataDir {
    /// Claims the folder at `path`, and creates it if it does not exist. The error is one line for the operator.
    pub(crate) fn claim(path: &Path) -> Result<Self, String> {
        let io = |cause: io::Error| unusable_folder(path, &cause.to_string());
        // Tokens are secrets, so only the owner may read the folder.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io)?;
        // Before the claim, which creates a lock file if there is none: a folder that is refused stays as it was.
        if read_marker(path)?.is_none() && foreign(path).map_err(io)? {
            return Err(format!(
                "the data folder {} is not empty and not a data folder of rest-sessions; it is left as it was",
                path.display()
            ));
        }
        let claim = Claim::take(path)?;
        // Once more: until the claim, another process may have changed it.
        let marker = match read_marker(path)? {
            Some(content) => Marker::found(claim.folder().clone(), content),
            None => Marker::create(claim.folder().clone()).map_err(io)?,
        };
        Ok(Self {
            claim,
            marker: Arc::new(marker),
            seen: Mutex::new(None),
        })
    }

    /// Claims a folder that has been used before.
    pub(crate) fn claim_existing(path: &Path) -> Result<Self, String> {
        match read_marker(path)? {
            Some(_) => Self::claim(path),
            None => Err(format!("{} is no data folder of rest-sessions", path.display())),
        }
    }
}

/// The marker in a folder, `None` if it has none. The error is one line for the operator.
fn read_marker(path: &Path) -> Result<Option<Content>, String> {
    let io = |cause: io::Error| unusable_folder(path, &cause.to_string());
    let marker = path.join(MARKER);
    if !is_file(&marker).map_err(io)? {
        return Ok(None);
    }
    let bytes = fs::read(&marker).map_err(io)?;
    Content::parse(&bytes).map(Some).map_err(|bad| bad_marker(path, bad))
}
