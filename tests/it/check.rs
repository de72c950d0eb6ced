//! Tests of `rest-sessions check`: it finds each kind of disagreement between records and indexes, repairs it with
//! `--repair`, and finds nothing afterwards.

mod busy_namespace;
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

/// Asserts the exit code of a check and its output: exactly these lines, in any order, and either all of them mended or
/// none.
#[track_caller]
pub(crate) fn finds(found: &Finished, code: i32, lines: &[&str], mended: bool) {
    assert_eq!((found.code, found.stderr.as_str()), (Some(code), ""), "{found:?}");
    let mut printed: Vec<_> = found.stdout.lines().collect();
    let summary = printed.pop().expect("a summary");
    let mends = if mended { lines.len() } else { 0 };
    let counts = format!("; {} disagreements, {mends} of them mended", lines.len());
    assert!(summary.contains(&counts), "{found:?}");
    for line in lines {
        let place = printed
            .iter()
            .position(|printed| printed.starts_with(line) && printed.ends_with(": mended") == mended);
        printed.remove(place.unwrap_or_else(|| panic!("{line:?} is missing: {found:?}")));
    }
    assert!(printed.is_empty(), "{found:?}");
}
