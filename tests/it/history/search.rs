//! The search for an order of one user's operations, by just-in-time linearization (G. Lowe, 2017).
//!
//! It walks along the history and keeps every state that the service may be in, each with the operations in flight
//! that have already taken effect in it. By its answer an operation must have taken effect, and any other operation in
//! flight may take effect before it. If no state is left, no order gives that answer.

use std::collections::{BTreeSet, HashSet};

use super::{
    model::{State, Step, View},
    record::{Call, Operation, Outcome},
};

/// A state that the service may be in, with the operations in flight that have already taken effect in it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Possible {
    state: State,
    applied: BTreeSet<usize>,
}

struct Search<'a> {
    operations: &'a [Operation],
    view: View,
    /// Operations in flight, in the order in which they began.
    in_flight: BTreeSet<usize>,
}

/// Searches an order of the operations that gives all answers; fails with a report on the first answer without one.
pub(super) fn search(operations: &[Operation], view: View) -> Result<(), String> {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        let irrelevant = operation.unknown() && matches!(operation.call, Call::List);
        if !irrelevant {
            events.push((operation.began, false, number));
            events.push((operation.ended, true, number));
        }
    }
    events.sort_unstable();
    let mut search = Search {
        operations,
        view,
        in_flight: BTreeSet::new(),
    };
    let mut possible = HashSet::from([Possible {
        state: State::default(),
        applied: BTreeSet::new(),
    }]);
    for (moment, end, number) in events {
        if !end {
            search.in_flight.insert(number);
            continue;
        }
        if moment == u64::MAX {
            break;
        }
        let mut next = search.with_applied(&possible, number);
        if operations[number].unknown() {
            // It may also never take effect.
            next.extend(possible.iter().cloned());
        }
        if next.is_empty() {
            return Err(report(operations, number, &possible));
        }
        search.in_flight.remove(&number);
        possible = next.into_iter().map(|one| one.without(number)).collect();
    }
    Ok(())
}

impl Possible {
    fn without(mut self, number: usize) -> Self {
        self.applied.remove(&number);
        self
    }
}

impl Search<'_> {
    /// All states reachable from the possible ones in which the target has taken effect.
    fn with_applied(&self, possible: &HashSet<Possible>, target: usize) -> HashSet<Possible> {
        let mut found = HashSet::new();
        let mut seen = HashSet::new();
        let mut next: Vec<_> = possible.iter().cloned().map(|one| self.settled(one)).collect();
        while let Some(one) = next.pop() {
            if one.applied.contains(&target) {
                found.insert(one);
                continue;
            }
            for &number in self
                .in_flight
                .iter()
                .filter(|number| self.matters(**number, target, &one))
            {
                if one.applied.contains(&number) || self.is_duplicate(number, &one) {
                    continue;
                }
                let operation = &self.operations[number];
                let state = match one.state.step(operation, self.view) {
                    Step::Impossible => continue,
                    // Without an effect an unknown operation need not be ordered.
                    Step::Unchanged if operation.unknown() => continue,
                    Step::Unchanged => one.state.clone(),
                    Step::New(state) => state,
                };
                let mut applied = one.applied.clone();
                applied.insert(number);
                let one = self.settled(Possible { state, applied });
                if number == target {
                    found.insert(one);
                } else if seen.insert(one.clone()) {
                    next.push(one);
                }
            }
        }
        found
    }

    /// Normalizes a state to keep the search small. An operation in flight that fits now and changes nothing takes
    /// effect at once, since waiting cannot make it fit better. Unknown operations on an ended session are forgotten,
    /// since no later answer depends on them.
    fn settled(&self, mut one: Possible) -> Possible {
        let obsolete = |number: &usize| {
            let operation = &self.operations[*number];
            let session = operation
                .call
                .session()
                .filter(|_| !matches!(operation.call, Call::Create { .. }));
            operation.unknown() && session.is_some_and(|session| !one.state.has(session))
        };
        let obsolete: Vec<_> = one.applied.iter().copied().filter(obsolete).collect();
        for number in obsolete {
            one.applied.remove(&number);
        }
        for &number in &self.in_flight {
            let operation = &self.operations[number];
            let answered = matches!(operation.outcome, Outcome::Answered(_));
            if answered && matches!(one.state.step(operation, self.view), Step::Unchanged) {
                one.applied.insert(number);
            }
        }
        one
    }

    /// Whether applying an operation before the target can affect the target's answer.
    fn matters(&self, number: usize, target: usize, one: &Possible) -> bool {
        if number == target {
            return true;
        }
        let operation = &self.operations[number];
        if operation.unknown() {
            // It may be applied later or never, unless an answer in flight may show its effect.
            let mut waiting = self.in_flight.iter().filter(|open| !one.applied.contains(open));
            return waiting.any(|open| self.shows(&self.operations[*open], operation, &one.state));
        }
        // An operation on another session matters only while a list or a killsoid is in flight.
        let session = |number: usize| self.operations[number].call.session();
        session(number) == session(target) || self.in_flight.iter().any(|open| session(*open).is_none())
    }

    /// Whether the answer of one operation may show the effect of the unknown one.
    fn shows(&self, answered: &Operation, unknown: &Operation, state: &State) -> bool {
        if answered.unknown() {
            return false;
        }
        let (Some(session), wide) = (unknown.call.session(), answered.call.session().is_none()) else {
            return true;
        };
        match unknown.call {
            Call::Create { .. } => wide,
            Call::Kill { .. } => wide || answered.call.session() == Some(session),
            // A get or a set raises a counter, and counters never fall.
            _ => answered.answers().iter().any(|seen| {
                let (reads, writes) = state.counts(session);
                let more = (self.view.reads && seen.reads > reads) || (self.view.record && seen.writes > writes);
                seen.session == session && more
            }),
        }
    }

    /// Whether an identical unknown operation comes first. Trying both orders would only repeat states.
    fn is_duplicate(&self, number: usize, one: &Possible) -> bool {
        let operation = &self.operations[number];
        operation.unknown()
            && self.in_flight.range(..number).any(|earlier| {
                let other = &self.operations[*earlier];
                let same = other.unknown() && other.call == operation.call && other.ended == operation.ended;
                same && !one.applied.contains(earlier)
            })
    }
}

/// Describes the answer without an explanation, the operations before it and the states they lead to.
fn report(operations: &[Operation], wrong: usize, possible: &HashSet<Possible>) -> String {
    const BEFORE: usize = 30;
    let wrong = &operations[wrong];
    let concerned = |operation: &&Operation| match (wrong.call.session(), operation.call.session()) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let before: Vec<_> = operations
        .iter()
        .filter(|operation| operation.began < wrong.ended)
        .filter(concerned)
        .map(ToString::to_string)
        .collect();
    let states: Vec<_> = possible.iter().take(5).map(|one| format!("{:?}", one.state)).collect();
    format!(
        "no order of the operations gives this answer:\n{wrong}\n\
         operations before it ({} in all, with the ticks of request and answer):\n{}\n\
         possible states before it ({} in all):\n{}",
        before.len(),
        before[before.len().saturating_sub(BEFORE)..].join("\n"),
        possible.len(),
        states.join("\n"),
    )
}
