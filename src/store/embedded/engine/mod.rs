//! The engine: an fjall database with three keyspaces, from its opening until it fails or is closed.
//!
//! After an error of the disk, a full one included, fjall takes no more writes, because its memory may be ahead of its
//! files. Reads still work. The only way back is to open the folder again; [`EngineHandle`] does that.

mod anchor;
mod catch_panic;
mod claim;
mod commit_marker;
mod data_dir;
mod database;
mod handle;
mod journal_check;
mod marker;
mod newer_records;
mod reader;
mod snapshot;
mod write_batch;

pub(crate) use self::{
    data_dir::{DataDir, Refused, unusable},
    database::{Engine, STEP},
    handle::EngineHandle,
    snapshot::Snapshot,
    write_batch::WriteBatch,
};
