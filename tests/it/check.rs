//! `rest-sessions check`: what it finds, what it mends, and that it finds nothing afterwards.

mod cluster;
mod embedded;
mod redis;

use std::path::Path;

use crate::process::{Finished, finish, program};

/// Runs a check in `folder`.
pub(crate) fn check(folder: &Path, args: &[&str]) -> Finished {
    let args: Vec<_> = ["check"].into_iter().chain(args.iter().copied()).collect();
    finish(program(folder, &args))
}

/// What it found: exactly these lines, in any order, and all of them mended or none.
#[track_caller]
pub(crate) fn finds(found: &Finished, code: i32, lines: &[&str], mended: bool) {
    assert_eq!((found.code, found.stderr.as_str()), (Some(code), ""), "{found:?}");
    let mut told: Vec<_> = found.stdout.lines().collect();
    let summary = told.pop().expect("a summary");
    let mends = if mended { lines.len() } else { 0 };
    let counts = format!("; {} disagreements, {mends} of them mended", lines.len());
    assert!(summary.contains(&counts), "{found:?}");
    for line in lines {
        let place = told
            .iter()
            .position(|told| told.starts_with(line) && told.ends_with(": mended") == mended);
        told.remove(place.unwrap_or_else(|| panic!("{line:?} is missing: {found:?}")));
    }
    assert!(told.is_empty(), "{found:?}");
}
