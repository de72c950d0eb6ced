//! The tracker by itself: events, sightings, and what it forgets.

use super::{
    super::{
        memory_budget::MemoryBudget,
        tracker::{Sighting, TRACKER_COST, Tracker},
    },
    *,
};
use crate::store::embedded::engine::STEP;

fn tracker(ids: usize) -> (Arc<MemoryBudget>, Tracker) {
    let budget = Arc::new(MemoryBudget::of_ids(ids + TRACKER_COST));
    let tracker = Tracker::new(&budget).unwrap();
    (budget, tracker)
}

fn see(tracker: &mut Tracker, id: u64, second: Seconds, lagging: bool) {
    assert!(tracker.record_sighting(&Sighting { id, second, lagging }).is_ok());
}

#[test]
fn a_sighting_of_an_id_that_was_removed_during_the_scan_does_not_count() {
    let (_, mut tracker) = tracker(10);
    tracker.begin_scan(100);
    tracker.remove(1);
    see(&mut tracker, 1, 105, false);
    see(&mut tracker, 2, 105, false);
    assert!(tracker.record(3, 106).is_ok());
    tracker.remove(3);
    see(&mut tracker, 3, 105, false);
    assert!(tracker.record(3, 102).is_ok());
    tracker.end_scan(100, true);
    assert_eq!((tracker.count(100), tracker.count(103)), (Some(2), Some(1)));
}

#[test]
fn a_scan_that_failed_does_not_make_the_tracker_complete() {
    let (_, mut tracker) = tracker(10);
    tracker.begin_scan(100);
    see(&mut tracker, 1, 105, false);
    tracker.end_scan(100, false);
    assert_eq!(tracker.count(100), None);
}

#[test]
fn a_scan_reads_only_the_entries_that_may_decide_and_once() {
    let (_, mut tracker) = tracker(10);
    assert_eq!(tracker.begin_scan(100), (100 - STEP..=Seconds::MAX, true));
    see(&mut tracker, 1, 105, true);
    see(&mut tracker, 2, 120, true);
    tracker.end_scan(100, true);
    assert_eq!(tracker.count(105), Some(2));
    assert_eq!(tracker.count(106), None);
    assert_eq!(tracker.begin_scan(106), (105..=105, false));
    see(&mut tracker, 1, 107, false);
    tracker.end_scan(106, true);
    assert_eq!(
        (tracker.count(106), tracker.count(107), tracker.count(108)),
        (Some(2), Some(2), Some(1))
    );
    // Further back, it reads only what it has not read before.
    assert_eq!(tracker.begin_scan(50), (50 - STEP..=100, true));
}

#[test]
fn ids_that_no_question_is_about_are_forgotten_for_new_ones() {
    let (budget, mut tracker) = tracker(8);
    tracker.begin_scan(100);
    for id in 0..8 {
        see(&mut tracker, id, 100 + 10 * id, false);
    }
    tracker.end_scan(100, true);
    tracker.record_question(140);
    assert!(tracker.record(8, 180).is_ok());
    // Those from 130 on are kept: a session with an entry there may have been active at 140.
    assert!(!budget.try_take(4) && budget.try_take(2));
    assert_eq!((tracker.count(140), tracker.count(139)), (Some(5), None));
    drop(tracker);
    assert!(budget.try_take(TRACKER_COST + 6));
}

#[test]
fn the_tracker_is_not_complete_where_it_forgot_ids_during_a_scan() {
    let (_, mut tracker) = tracker(8);
    tracker.begin_scan(100);
    for id in 0..8 {
        see(&mut tracker, id, 100 + 10 * id, false);
    }
    tracker.end_scan(100, true);
    tracker.record_question(140);
    tracker.begin_scan(110);
    see(&mut tracker, 8, 180, false);
    tracker.end_scan(110, true);
    assert_eq!((tracker.count(140), tracker.count(139)), (Some(5), None));
}
