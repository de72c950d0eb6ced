//! How many ids were last active in each second, with sums from any second on.
//!
//! Four levels count by 1, 64, 4,096 and 262,144 seconds (three days). A sum over weeks takes about two hundred steps.

use std::collections::BTreeMap;

use crate::session::Seconds;

/// Each level counts spans of 2^6 = 64 spans of the level below.
const BITS: usize = 6;

/// Ids by the second of their last activity.
#[derive(Default)]
pub(super) struct Histogram {
    /// By span, the finest level first. No span has a count of zero.
    levels: [BTreeMap<Seconds, u64>; 4],
}

impl Histogram {
    pub(super) fn add(&mut self, second: Seconds) {
        for (n, level) in self.levels.iter_mut().enumerate() {
            *level.entry(second >> (BITS * n)).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, second: Seconds) {
        for (n, level) in self.levels.iter_mut().enumerate() {
            decrement(level, second >> (BITS * n));
        }
    }

    /// Moves one id from one second to another.
    pub(super) fn shift(&mut self, from: Seconds, to: Seconds) {
        for (n, level) in self.levels.iter_mut().enumerate() {
            let (from, to) = (from >> (BITS * n), to >> (BITS * n));
            if from == to {
                return;
            }
            decrement(level, from);
            *level.entry(to).or_default() += 1;
        }
    }

    /// How many ids were last active at `first` or later.
    pub(super) fn since(&self, mut first: Seconds) -> u64 {
        let [fine @ .., coarsest] = &self.levels;
        let mut sum = 0;
        for level in fine {
            // Up to the first span of the next level that is wholly included.
            let last = first | ((1 << BITS) - 1);
            sum += level.range(first..=last).map(|(_, count)| count).sum::<u64>();
            first = (first >> BITS) + 1;
        }
        sum + coarsest.range(first..).map(|(_, count)| count).sum::<u64>()
    }
}

fn decrement(level: &mut BTreeMap<Seconds, u64>, span: Seconds) {
    if let Some(count) = level.get_mut(&span) {
        *count -= 1;
        if *count == 0 {
            level.remove(&span);
        }
    }
}
