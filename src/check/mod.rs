//! `rest-sessions check`: compares everything a store holds and reports each disagreement.
//!
//! The walks live with their stores. This module picks one and writes its report.

mod report;

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
    time::Duration,
};

use self::report::Report;
use crate::{
    session::Seconds,
    store::{
        Findings,
        embedded::{self, Refused},
        redis,
    },
};

/// The store to check. No `Debug`: the address may hold passwords.
pub enum Target {
    /// A data folder, with the memory that reading it may take, in bytes.
    Embedded {
        /// The folder.
        data_dir: PathBuf,
        /// Memory, in bytes.
        memory: u64,
    },
    /// A namespace of Redis.
    Redis {
        /// The servers.
        address: Box<redis::Address>,
        /// The first part of every key.
        namespace: String,
        /// How many shards a cluster divides the namespace into.
        shards: usize,
        /// Time limit for one connection attempt.
        timeout: Duration,
    },
}

/// Checks a store at `now`, repairs what it can if `repair` is set, and writes the findings to `out`. Returns true if
/// everything agrees afterwards. Fails with one line for the operator if the store cannot be checked.
pub fn run(target: Target, now: Seconds, repair: bool, out: impl Write) -> Result<bool, String> {
    let mut report = Report::new(BufWriter::new(out));
    match target {
        Target::Redis {
            address,
            namespace,
            shards,
            timeout,
        } => redis::check(*address, (&namespace, shards), timeout, now, repair, &mut report)?,
        Target::Embedded { data_dir, memory } => match embedded::check(&data_dir, memory, now, repair, &mut report) {
            Ok(()) => {}
            Err(Refused::Here(line)) => return Err(line),
            Err(Refused::Damaged(line)) => report.unreadable("damage", &line),
        },
    }
    report.finish().map_err(|cause| format!("cannot write: {cause}"))
}
