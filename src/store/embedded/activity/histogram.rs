//! How many ids were last active in which second, to be summed up from any second on.

use std::collections::BTreeMap;

use crate::session::Seconds;

/// A level counts spans of 64 of the level below.
const BITS: usize = 6;

/// Counts by second, by 64 seconds and so on up to three days: a sum over weeks takes some two hundred steps.
#[derive(Default)]
pub(super) struct Counts {
    levels: [BTreeMap<Seconds, u64>; 4],
}

impl Counts {
    pub(super) fn add(&mut self, second: Seconds) {
        for (n, level) in self.levels.iter_mut().enumerate() {
            *level.entry(second >> (BITS * n)).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, second: Seconds) {
        for (n, level) in self.levels.iter_mut().enumerate() {
            take(level, second >> (BITS * n));
        }
    }

    /// Moves one from a second to another.
    pub(super) fn shift(&mut self, from: Seconds, to: Seconds) {
        for (n, level) in self.levels.iter_mut().enumerate() {
            let (from, to) = (from >> (BITS * n), to >> (BITS * n));
            if from == to {
                return;
            }
            take(level, from);
            *level.entry(to).or_default() += 1;
        }
    }

    /// The sum from a second on.
    pub(super) fn since(&self, mut first: Seconds) -> u64 {
        let [fine @ .., coarsest] = &self.levels;
        let mut sum = 0;
        for level in fine {
            // Up to where a query of the next level begins.
            let last = first | ((1 << BITS) - 1);
            sum += level.range(first..=last).map(|(_, count)| count).sum::<u64>();
            first = (first >> BITS) + 1;
        }
        sum + coarsest.range(first..).map(|(_, count)| count).sum::<u64>()
    }
}

fn take(level: &mut BTreeMap<Seconds, u64>, place: Seconds) {
    if let Some(count) = level.get_mut(&place) {
        *count -= 1;
        if *count == 0 {
            level.remove(&place);
        }
    }
}
