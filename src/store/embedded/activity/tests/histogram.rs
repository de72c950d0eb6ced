//! Sums of the histogram against a plain count.

use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::super::histogram::Histogram;

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, max_shrink_iters: 200, ..Config::default() })]

#[test]
    fn sums_are_what_a_plain_count_gives(
        mut seconds in vec(prop_oneof![0..200_u64, 0..2_000_000_u64, any::<u64>()], 1..40),
        to in any::<u64>(),
        since in vec(prop_oneof![0..300_u64, 0..3_000_000_u64, any::<u64>()], 1..40),
    ) {
        let mut histogram = Histogram::default();
        for second in &seconds {
            histogram.add(*second);
        }
        histogram.shift(seconds[0], to);
        seconds[0] = to;
        histogram.remove(seconds.pop().unwrap());
        for first in since.into_iter().chain(seconds.clone()) {
            let expected = seconds.iter().filter(|second| **second >= first).count();
            prop_assert_eq!(histogram.since(first), expected as u64);
        }
    }
}
