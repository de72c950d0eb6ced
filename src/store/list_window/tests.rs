//! What windows hold, in which order, and within which memory.

use super::{budget::TOTAL, *};
use crate::session::Seconds;

fn position(second: Seconds, n: usize) -> Position {
    Position::new(second, format!("{n:064}").as_bytes()).unwrap()
}

fn all(mut window: Window) -> Vec<Position> {
    std::iter::from_fn(|| window.next()).collect()
}

#[test]
fn positions_are_ordered_as_their_cursors() {
    let mut positions = [
        position(7, 1),
        position(7, 2),
        position(8, 0),
        position(Seconds::MAX, 0),
    ];
    assert!(positions.is_sorted());
    assert!(positions.map(|position| position.cursor()).is_sorted());
    positions.reverse();
    assert_eq!(
        (positions[1].second(), positions[1].token()),
        (8, "0".repeat(64).as_bytes())
    );
    let short = Position::new(7, b"abc").unwrap();
    assert_eq!(short.token(), b"abc");
    assert!(Position::new(7, &[b'a'; 65]).is_none());
}

#[test]
fn a_window_has_the_first_positions_after_a_cursor() {
    let mut search = WindowSearch::new(Some(position(5000, 0).cursor()), 10_000, WindowBudget::new());
    for second in (0..6000).rev().chain(0..6000) {
        search.add(position(second, 0));
    }
    let window = search.finish();
    assert!(!window.is_cut());
    // Of two positions of one session it has the later one.
    assert_eq!(all(window), [position(4999, 0)]);
}

#[test]
fn a_small_window_has_the_first_positions() {
    for most in [0, 1, 2, 63, 65] {
        let mut search = WindowSearch::new(None, most, WindowBudget::new());
        for second in 0..100 {
            search.add(position(second, 0));
            assert!(search.len() <= most.max(1));
        }
        assert_eq!(search.floor(), search.cut.then(|| &search.heap.peek().unwrap().0));
        let window = search.finish();
        assert!(window.is_cut());
        assert_eq!(window.ahead(0), Some(&position(99, 0)), "{most}");
    }
}

#[test]
fn searches_one_after_the_other_find_everything_once() {
    let budget = WindowBudget::new();
    let count = 3 * MIN_WINDOW + 5;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let mut search = WindowSearch::new(after, MIN_WINDOW, budget.clone());
        for n in 0..count {
            // A cursor has the first ten bytes of a token.
            let token = format!("{:010}", n * 7919 % count);
            search.add(Position::new(n as Seconds / 3, token.as_bytes()).unwrap());
        }
        let window = search.finish();
        let cut = window.is_cut();
        let part = all(window);
        assert!(part.len() <= MIN_WINDOW);
        found.extend(part);
        if !cut {
            break;
        }
        after = found.last().map(Position::cursor);
    }
    assert_eq!(found.len(), count);
    assert!(found.is_sorted_by(|a, b| a > b));
}

#[test]
fn all_windows_together_stay_within_the_budget() {
    let budget = WindowBudget::new();
    let (mut windows, mut positions) = (Vec::new(), 0);
    for _ in 0..20 {
        let mut search = WindowSearch::new(None, usize::MAX, budget.clone());
        for n in 0..TOTAL / 4 {
            search.add(Position::new(1, &n.to_be_bytes()).unwrap());
        }
        assert!(search.heap.len() >= MIN_WINDOW && search.heap.capacity() <= search.granted);
        positions += search.heap.len();
        windows.push(search.finish());
    }
    assert!(positions <= TOTAL + 20 * MIN_WINDOW);
    drop(windows);
    assert_eq!(budget.0.available_permits(), TOTAL);
}
