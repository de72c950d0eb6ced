//! The order of a long list: a bounded window of the places that come next.
//!
//! The sessions of an id have no order in either store, and those of an app only a rough one in the embedded store. A list looks at
//! all of them, keeps the places of the first ones that follow its cursor, and then reads their records a few at a time. What
//! does not fit is found by another look, after the last place of this one.
//!
//! Memory: 71 bytes a place. A window of [`MIN_WINDOW`] places (142 KiB) is always granted; larger ones share a [`WindowBudget`].

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::session::{Cursor, Seconds, Token};

/// Places that every window may have, whatever the others hold.
pub(crate) const MIN_WINDOW: usize = 2048;

/// The most places of all larger windows together: 64 MiB. One of them takes half of what is left at most.
const TOTAL: usize = 64 * 1024 * 1024 / size_of::<Position>();

/// Where a session stands in a list: by last activity, then by token. Lists run from the greatest to the least, as
/// [`Cursor`]s do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The last 48 bits, which is what a cursor holds.
    second: [u8; 6],
    token: [u8; Token::LEN],
    length: u8,
}

impl Position {
    /// The place of a session that was active at `second`. `None` if the token is longer than any peer makes one.
    pub(crate) fn new(second: Seconds, token: &[u8]) -> Option<Self> {
        let mut bytes = [0; Token::LEN];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        let [_, _, second @ ..] = second.min(Cursor::LAST).to_be_bytes();
        Some(Self {
            second,
            token: bytes,
            length: u8::try_from(token.len()).ok()?,
        })
    }

    /// The second of the last activity.
    pub(crate) fn second(&self) -> Seconds {
        self.second
            .iter()
            .fold(0, |number, byte| (number << 8) | Seconds::from(*byte))
    }

    pub(crate) fn token(&self) -> &[u8] {
        self.token.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The same, if it is one that this service makes.
    pub(crate) fn parsed(&self) -> Option<Token> {
        Token::parse(std::str::from_utf8(self.token()).ok()?).ok()
    }

    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::new(self.second(), self.token())
    }
}

/// The memory that all larger windows of a store share.
#[derive(Clone, Debug)]
pub(crate) struct WindowBudget(Arc<Semaphore>);

impl WindowBudget {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL)))
    }

    /// Room for so many more places, unless others would be left with less than that.
    fn more(&self, places: usize) -> Option<OwnedSemaphorePermit> {
        let enough = self.0.available_permits() / 2 >= places;
        let count = u32::try_from(places).ok().filter(|_| enough)?;
        self.0.clone().try_acquire_many_owned(count).ok()
    }
}

/// The first places after a cursor, while they are being looked for.
pub(crate) struct WindowSearch {
    after: Option<Cursor>,
    /// The least one on top.
    places: BinaryHeap<Reverse<Position>>,
    /// How many places there may be now, and how many at most.
    room: usize,
    most: usize,
    budget: WindowBudget,
    granted: Option<OwnedSemaphorePermit>,
    /// Whether places were left out for want of room.
    cut: bool,
}

impl WindowSearch {
    /// Looks for the first `most` places after a cursor, or for as many as the budget grants.
    pub(crate) fn new(after: Option<Cursor>, most: usize, budget: WindowBudget) -> Self {
        Self {
            after,
            places: BinaryHeap::new(),
            room: MIN_WINDOW.min(most.max(1)),
            most: most.max(1),
            budget,
            granted: None,
            cut: false,
        }
    }

    /// A place was seen.
    pub(crate) fn add(&mut self, place: Position) {
        if self.after.is_some_and(|after| place.cursor() >= after) {
            return;
        }
        if self.places.len() == self.room && !self.grow() {
            self.cut = true;
            if let Some(mut least) = self.places.peek_mut()
                && least.0 < place
            {
                *least = Reverse(place);
            }
            return;
        }
        if self.places.len() == self.places.capacity() {
            // Never more than granted, which the usual doubling would take.
            let more = self.places.len().max(64);
            self.places.reserve_exact(more.min(self.room - self.places.len()));
        }
        self.places.push(Reverse(place));
    }

    /// How many places it holds.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The least place that is still of use, once there is no room for more.
    pub(crate) fn floor(&self) -> Option<&Position> {
        let full = self.cut || self.places.len() >= self.most;
        self.places.peek().filter(|_| full).map(|least| &least.0)
    }

    /// Leaves out whatever may follow.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    fn grow(&mut self) -> bool {
        let more = self.room.min(self.most - self.room);
        let granted = if more > 0 { self.budget.more(more) } else { None };
        let Some(granted) = granted else {
            return false;
        };
        match &mut self.granted {
            Some(all) => all.merge(granted),
            none => *none = Some(granted),
        }
        self.room += more;
        true
    }

    /// What was found. A session that was seen twice is in it once, at the later of its places.
    pub(crate) fn finish(self) -> Window {
        let mut places: Vec<_> = self.places.into_iter().map(|place| place.0).collect();
        places.sort_unstable_by(|a, b| a.token().cmp(b.token()).then(b.cmp(a)));
        places.dedup_by(|later, first| later.token() == first.token());
        places.sort_unstable();
        Window {
            places,
            cut: self.cut,
            _granted: self.granted,
        }
    }
}

/// The first places after a cursor.
pub(crate) struct Window {
    /// The next one last.
    places: Vec<Position>,
    cut: bool,
    _granted: Option<OwnedSemaphorePermit>,
}

impl Window {
    /// The place that is `n` places ahead, 0 for the next one.
    pub(crate) fn ahead(&self, n: usize) -> Option<&Position> {
        self.places.len().checked_sub(n + 1).map(|at| &self.places[at])
    }

    /// Takes the next place.
    pub(crate) fn next(&mut self) -> Option<Position> {
        self.places.pop()
    }

    /// Whether there are more places than these, which another search finds.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(second: Seconds, n: usize) -> Position {
        Position::new(second, format!("{n:064}").as_bytes()).unwrap()
    }

    fn all(mut window: Window) -> Vec<Position> {
        std::iter::from_fn(|| window.next()).collect()
    }

    #[test]
    fn places_are_ordered_as_their_cursors() {
        let mut places = [place(7, 1), place(7, 2), place(8, 0), place(Seconds::MAX, 0)];
        assert!(places.is_sorted());
        assert!(places.map(|place| place.cursor()).is_sorted());
        places.reverse();
        assert_eq!((places[1].second(), places[1].token()), (8, "0".repeat(64).as_bytes()));
        let short = Position::new(7, b"abc").unwrap();
        assert_eq!(short.token(), b"abc");
        assert!(Position::new(7, &[b'a'; 65]).is_none());
    }

    #[test]
    fn a_window_has_the_first_places_after_a_cursor() {
        let mut search = WindowSearch::new(Some(place(5000, 0).cursor()), 10_000, WindowBudget::new());
        for second in (0..6000).rev().chain(0..6000) {
            search.add(place(second, 0));
        }
        let window = search.finish();
        assert!(!window.is_cut());
        // Of two places of one session it has the later one.
        assert_eq!(all(window), [place(4999, 0)]);
    }

    #[test]
    fn a_small_window_has_the_first_places() {
        for most in [0, 1, 2, 63, 65] {
            let mut search = WindowSearch::new(None, most, WindowBudget::new());
            for second in 0..100 {
                search.add(place(second, 0));
                assert!(search.len() <= most.max(1));
            }
            assert_eq!(search.floor(), search.cut.then(|| &search.places.peek().unwrap().0));
            let window = search.finish();
            assert!(window.is_cut());
            assert_eq!(window.ahead(0), Some(&place(99, 0)), "{most}");
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
        let (mut windows, mut places) = (Vec::new(), 0);
        for _ in 0..20 {
            let mut search = WindowSearch::new(None, usize::MAX, budget.clone());
            for n in 0..TOTAL / 4 {
                search.add(Position::new(1, &n.to_be_bytes()).unwrap());
            }
            assert!(search.places.len() >= MIN_WINDOW && search.places.capacity() <= search.room);
            places += search.places.len();
            windows.push(search.finish());
        }
        assert!(places <= TOTAL + 20 * MIN_WINDOW);
        drop(windows);
        assert_eq!(budget.0.available_permits(), TOTAL);
    }
}
