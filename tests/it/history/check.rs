//! Checks a history for linearizability: there must be an order of its operations, each at one moment between its
//! request and its answer, in which a single client would have received the same answers.
//!
//! Users share no sessions, so each user's operations are checked alone; [`super::search`] finds the order.

use std::{collections::BTreeMap, fmt};

use super::{
    model::View,
    read_bounds::check_read_bounds,
    record::{Answer, Call, Operation, Outcome},
    search::search,
};

/// Whether killsoid and soid are atomic for all sessions of a user, or only for each session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    User,
    Session,
}

/// How exactly `r` must count the gets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reads {
    /// Exactly, and atomically with the rest of the session.
    Exact,
    /// Exactly, but independently of the rest: a get may see a set that is ordered after a read it does not count yet.
    Separate,
    /// No read is lost; some may count twice.
    AtLeast,
    /// No read counts twice; some may be lost.
    AtMost,
}

/// The guarantees that a history is checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) scope: Scope,
    pub(super) reads: Reads,
}

/// The first answer that no order of the operations gives.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) user: usize,
    pub(super) session: Option<usize>,
    pub(super) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.session {
            Some(session) => write!(f, "session {session} of user {}: {}", self.user, self.text),
            None => write!(f, "the sessions of user {}: {}", self.user, self.text),
        }
    }
}

/// Fails with the first answer that no order of the operations gives.
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
        Reads::Separate => {
            explain(history, rules.scope, record)?;
            // A list reads the counters of its sessions one after the other.
            explain(history, Scope::Session, reads)
        }
        bound => {
            explain(history, rules.scope, record)?;
            check_read_bounds(history, bound)
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
            // If a single session violates the rules by itself, its shorter history says more.
            explain_each(user, &by_session(&operations), view)?;
            return Err(Violation {
                user,
                session: None,
                text: all,
            });
        }
        let operations: Vec<_> = operations.into_iter().cloned().collect();
        explain_each(user, &by_session(&operations), view)?;
    }
    Ok(())
}

fn explain_each(user: usize, sessions: &BTreeMap<usize, Vec<Operation>>, view: View) -> Result<(), Violation> {
    for (session, operations) in sessions {
        search(operations, view).map_err(|text| Violation {
            user,
            session: Some(*session),
            text,
        })?;
    }
    Ok(())
}

/// Splits a history by session: a list becomes a read and a killsoid a kill of each session.
fn by_session(operations: &[Operation]) -> BTreeMap<usize, Vec<Operation>> {
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
