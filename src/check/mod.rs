//! `rest-sessions check`: whether everything that a store holds agrees with everything else, and what does not.

mod redis;
mod report;

use std::io::{BufWriter, Write};

pub(crate) use self::report::{Place, Report};
use crate::{
    config::Config,
    service::Clock,
    store::embedded::{self, Refused},
};

/// Checks the store that the configuration names, mends what can be mended if `repair` is set, and writes to `out` what
/// it finds. True if everything agrees now; the error is why it could not be checked, in one line for the operator.
pub fn run(config: &Config, repair: bool, out: impl Write) -> Result<bool, String> {
    let mut report = Report::new(BufWriter::new(out));
    let now = Clock::System.now();
    if let Some(address) = config.redis()? {
        let (namespace, shards) = (&config.namespace, config.shards.into());
        redis::check(address, (namespace, shards), config.timeout.0, now, repair, &mut report)?;
        return finish(report);
    }
    match embedded::check(&config.data_dir, config.cache_size << 20, now, repair, &mut report) {
        Ok(()) => {}
        Err(Refused::Here(line)) => return Err(line),
        Err(Refused::Damaged(line)) => report.unreadable("damage", &line),
    }
    finish(report)
}

fn finish(report: Report<impl Write>) -> Result<bool, String> {
    report.finish().map_err(|cause| format!("cannot write: {cause}"))
}
