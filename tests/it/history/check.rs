//! Whether a history can be explained: whether there is an order of its operations, each at one moment between its
//! request and its answer, in which one client alone would have been answered the same (linearizability).
//!
//! The search goes along the history and keeps every state in which the service may be, each with the operations under
//! way that have happened in it already (the just-in-time linearization of G. Lowe, 2017). When an operation is
//! answered it must have happened: whatever else is under way may happen before it. If no state is left, nothing
//! explains that answer.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
};

use super::{
    model::{State, Step, View},
    record::{Answer, Call, Operation, Outcome},
};

/// What is atomic: an operation on all sessions of a user, or on each of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    User,
    Session,
}

/// What is expected of `r`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reads {
    /// It belongs to the session as all else.
    Exact,
    /// It is exact, but a concurrent set may be seen before a read that is counted before it.
    Apart,
    /// None is lost.
    AtLeast,
    /// None is made up.
    AtMost,
}

/// What a history is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) scope: Scope,
    pub(super) reads: Reads,
}

/// An answer that nothing explains.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) user: usize,
    pub(super) session: Option<usize>,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.session {
            Some(session) => write!(f, "session {session} of user {}: {}", self.user, self.text),
            None => write!(f, "the sessions of user {}: {}", self.user, self.text),
        }
    }
}

/// Looks for the first answer that nothing explains.
pub(super) fn check(history: &[Operation], rules: Rules) -> Result<(), Violation> {
    let whole = View {
        reads: true,
        record: true,
    };
    let record = View {
        reads: false,
        record: true,
    };
    let reads = View {
        reads: true,
        record: false,
    };
    match rules.reads {
        Reads::Exact => explain(history, rules.scope, whole),
        Reads::Apart => {
            explain(history, rules.scope, record)?;
            // A list looks at one session after the other.
            explain(history, Scope::Session, reads)
        }
        bound => {
            explain(history, rules.scope, record)?;
            count(history, bound)
        }
    }
}

fn explain(history: &[Operation], scope: Scope, view: View) -> Result<(), Violation> {
    let mut users: BTreeMap<usize, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        users.entry(operation.user).or_default().push(operation);
    }
    for (user, operations) in users {
        if scope == Scope::User {
            let operations: Vec<_> = operations.iter().copied().cloned().collect();
            let Err(all) = search(&operations, view) else { continue };
            // It may be one session that is wrong, and then that says more.
            each_session(user, &apart(&operations), view)?;
            return Err(Violation {
                user,
                session: None,
                text: all,
            });
        }
        let operations: Vec<_> = operations.into_iter().cloned().collect();
        each_session(user, &apart(&operations), view)?;
    }
    Ok(())
}

fn each_session(user: usize, sessions: &BTreeMap<usize, Vec<Operation>>, view: View) -> Result<(), Violation> {
    for (session, operations) in sessions {
        search(operations, view).map_err(|text| Violation {
            user,
            session: Some(*session),
            text,
        })?;
    }
    Ok(())
}

/// The history of each session, in which a list is a look and a killsoid is a kill.
fn apart(operations: &[Operation]) -> BTreeMap<usize, Vec<Operation>> {
    let mut sessions: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        if let Some(session) = operation.call.session() {
            sessions.entry(session).or_default().push(operation.clone());
        }
    }
    for (session, history) in &mut sessions {
        for operation in operations.iter().filter(|operation| operation.call.session().is_none()) {
            let mut one = operation.clone();
            match (&operation.call, &mut one.outcome) {
                (Call::List, Outcome::Answered(Answer::List(list))) => list.retain(|seen| seen.session == *session),
                (Call::KillUser, outcome) => {
                    one.call = Call::Kill { session: *session };
                    if *outcome != Outcome::Unknown {
                        *outcome = Outcome::Done;
                    }
                }
                _ => continue,
            }
            history.push(one);
        }
    }
    sessions
}

/// A state in which the service may be, and the operations under way that have happened already.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Possible {
    state: State,
    happened: BTreeSet<usize>,
}

struct Search<'a> {
    operations: &'a [Operation],
    view: View,
    /// Under way, in the order in which they began.
    open: BTreeSet<usize>,
}

/// Why the operations cannot be explained, if they cannot.
fn search(operations: &[Operation], view: View) -> Result<(), String> {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        let pointless = operation.unknown() && matches!(operation.call, Call::List);
        if !pointless {
            events.push((operation.began, false, number));
            events.push((operation.ended, true, number));
        }
    }
    events.sort_unstable();
    let mut search = Search {
        operations,
        view,
        open: BTreeSet::new(),
    };
    let mut possible = HashSet::from([Possible {
        state: State::default(),
        happened: BTreeSet::new(),
    }]);
    for (moment, end, number) in events {
        if !end {
            search.open.insert(number);
            continue;
        }
        if moment == u64::MAX {
            break;
        }
        let mut next = search.until(&possible, number);
        if operations[number].unknown() {
            // It may as well never have happened.
            next.extend(possible.iter().cloned());
        }
        if next.is_empty() {
            return Err(tell(operations, number, &possible));
        }
        search.open.remove(&number);
        possible = next.into_iter().map(|one| one.without(number)).collect();
    }
    Ok(())
}

impl Possible {
    fn without(mut self, number: usize) -> Self {
        self.happened.remove(&number);
        self
    }
}

impl Search<'_> {
    /// Every possibility in which the operation has happened.
    fn until(&self, possible: &HashSet<Possible>, target: usize) -> HashSet<Possible> {
        let mut found = HashSet::new();
        let mut seen = HashSet::new();
        let mut next: Vec<_> = possible.iter().cloned().map(|one| self.settled(one)).collect();
        while let Some(one) = next.pop() {
            if one.happened.contains(&target) {
                found.insert(one);
                continue;
            }
            for &number in self.open.iter().filter(|number| self.matters(**number, target, &one)) {
                if one.happened.contains(&number) || self.later(number, &one) {
                    continue;
                }
                let operation = &self.operations[number];
                let state = match one.state.step(operation, self.view) {
                    Step::Impossible => continue,
                    // Then it need not have happened.
                    Step::Same if operation.unknown() => continue,
                    Step::Same => one.state.clone(),
                    Step::New(state) => state,
                };
                let mut happened = one.happened.clone();
                happened.insert(number);
                let one = self.settled(Possible { state, happened });
                if number == target {
                    found.insert(one);
                } else if seen.insert(one.clone()) {
                    next.push(one);
                }
            }
        }
        found
    }

    /// Lets happen what changes nothing and is answered as it is now: it will never fit better. And forgets which
    /// unknown operations have happened to a session that has ended: nobody can tell any more.
    fn settled(&self, mut one: Possible) -> Possible {
        let over = |number: &usize| {
            let operation = &self.operations[*number];
            let session = operation
                .call
                .session()
                .filter(|_| !matches!(operation.call, Call::Create { .. }));
            operation.unknown() && session.is_some_and(|session| !one.state.has(session))
        };
        let forgotten: Vec<_> = one.happened.iter().copied().filter(over).collect();
        for number in forgotten {
            one.happened.remove(&number);
        }
        for &number in &self.open {
            let operation = &self.operations[number];
            let answered = matches!(operation.outcome, Outcome::Answered(_));
            if answered && matches!(one.state.step(operation, self.view), Step::Same) {
                one.happened.insert(number);
            }
        }
        one
    }

    /// Whether it can make a difference to the target that an operation happens before it.
    fn matters(&self, number: usize, target: usize, one: &Possible) -> bool {
        if number == target {
            return true;
        }
        let operation = &self.operations[number];
        if operation.unknown() {
            // It may still happen later, or never, unless somebody was answered who can have seen it.
            let mut waiting = self.open.iter().filter(|open| !one.happened.contains(open));
            return waiting.any(|open| self.shows(&self.operations[*open], operation, &one.state));
        }
        // That on another session can only if somebody looks at all of them or ends them.
        let session = |number: usize| self.operations[number].call.session();
        session(number) == session(target) || self.open.iter().any(|open| session(*open).is_none())
    }

    /// Whether the answer of one operation may show that the other one, an unknown one, has happened.
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
            // Counted, and counts only grow.
            _ => answered.answers().iter().any(|seen| {
                let (reads, writes) = state.counts(session);
                let more = (self.view.reads && seen.reads > reads) || (self.view.record && seen.writes > writes);
                seen.session == session && more
            }),
        }
    }

    /// Whether an unknown operation may wait, as another one like it comes first.
    fn later(&self, number: usize, one: &Possible) -> bool {
        let operation = &self.operations[number];
        operation.unknown()
            && self.open.range(..number).any(|earlier| {
                let other = &self.operations[*earlier];
                let same = other.unknown() && other.call == operation.call && other.ended == operation.ended;
                same && !one.happened.contains(earlier)
            })
    }
}

/// Looks at `r` alone, and only at how far it may be off.
fn count(history: &[Operation], bound: Reads) -> Result<(), Violation> {
    let mut gets: BTreeMap<usize, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        if let Call::Get { session } = operation.call {
            gets.entry(session).or_default().push(operation);
        }
    }
    for operation in history {
        for seen in operation.answers() {
            let gets = gets.get(&seen.session).into_iter().flatten();
            let wrong = if matches!(bound, Reads::AtLeast) {
                let before = gets.filter(|get| get.ended < operation.began && get.seen().is_some());
                seen.reads < 1 + before.count() as u64
            } else {
                let before = gets.filter(|get| get.began < operation.ended);
                // A get that answers does not count itself.
                let itself = usize::from(matches!(operation.call, Call::Get { .. }));
                seen.reads > (1 + before.count() - itself) as u64
            };
            if wrong {
                return Err(Violation {
                    user: operation.user,
                    session: Some(seen.session),
                    text: format!("r is not {bound:?} in\n{operation}"),
                });
            }
        }
    }
    Ok(())
}

/// The answer that nothing explains, what it might have been, and what came before.
fn tell(operations: &[Operation], wrong: usize, possible: &HashSet<Possible>) -> String {
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
        "nothing explains\n{wrong}\nafter ({} in all, with the ticks of their beginning and end)\n{}\n\
         which leads to ({} in all)\n{}",
        before.len(),
        before[before.len().saturating_sub(BEFORE)..].join("\n"),
        possible.len(),
        states.join("\n"),
    )
}
