//! Mutates a correct history into one that a faulty store would produce, to test the checker.

use fastrand::Rng;

use super::record::{Answer, Call, Operation, Outcome, Seen};

#[derive(Clone, Copy, Debug)]
pub(super) enum Mutation {
    /// An acknowledged set has no effect.
    LostSet,
    /// The keys of an acknowledged set are lost, though `w` counts the set.
    LostUpdate,
    /// A set counts twice in `w`.
    CountedTwice,
    /// A get returns the state before an acknowledged set.
    StaleRead,
    /// A get does not count in `r`.
    ReadNotCounted,
    /// The keys of `d` change their order.
    Reordered,
    /// A get finds a session after an acknowledged kill or killsoid.
    Ghost,
    /// A get does not find an existing session.
    Missing,
    /// A list omits an existing session.
    Unlisted,
    /// Two kills of one session both answer 1.
    KilledTwice,
}

impl Mutation {
    pub(super) const ALL: [Self; 10] = [
        Self::LostSet,
        Self::LostUpdate,
        Self::CountedTwice,
        Self::StaleRead,
        Self::ReadNotCounted,
        Self::Reordered,
        Self::Ghost,
        Self::Missing,
        Self::Unlisted,
        Self::KilledTwice,
    ];

    /// Mutates one random session for which the result is certainly not linearizable, and returns its number.
    /// `None` if the history has no such session.
    pub(super) fn apply(self, history: &mut [Operation], rng: &mut Rng) -> Option<usize> {
        let mut users: Vec<_> = history.iter().map(|operation| operation.user).collect();
        users.sort_unstable();
        users.dedup();
        rng.shuffle(&mut users);
        let (first, then) = users.into_iter().find_map(|user| {
            let mut pairs = pairs(history, user);
            pairs.retain(|(first, then)| self.fits(first, then));
            rng.choice(pairs)
        })?;
        let (first, then) = (first.clone(), then.clone());
        let session = then.call.session().or(first.call.session())?;
        let changed = |operation: &Operation| operation.began == then.began;
        let now = first.seen().cloned();
        for operation in history.iter_mut() {
            match self {
                Self::LostSet | Self::LostUpdate | Self::CountedTwice if operation.began != first.began => {
                    for seen in answers(operation).iter_mut().filter(|seen| seen.session == session) {
                        self.rewrite(seen, now.as_ref()?, &first.call);
                    }
                }
                Self::StaleRead if changed(operation) => {
                    let Call::Set { changes, .. } = &first.call else {
                        return None;
                    };
                    let seen = operation.seen_mut()?;
                    seen.writes = now.as_ref()?.writes - 1;
                    seen.data
                        .retain(|(key, _)| changes.iter().all(|(changed, _)| key != changed));
                }
                Self::ReadNotCounted if changed(operation) => operation.seen_mut()?.reads = now.as_ref()?.reads,
                Self::Reordered if changed(operation) => operation.seen_mut()?.data.reverse(),
                Self::Ghost if changed(operation) => {
                    operation.outcome = Outcome::Answered(Answer::Session(Some(Seen {
                        session,
                        reads: 1,
                        writes: 1,
                        data: vec![("n".into(), session as u64)],
                    })));
                }
                Self::Missing if operation.began == first.began => {
                    operation.outcome = Outcome::Answered(Answer::Session(None));
                }
                Self::Unlisted if operation.began == first.began => {
                    if let Outcome::Answered(Answer::List(list)) = &mut operation.outcome {
                        list.retain(|seen| seen.session != session);
                    }
                }
                Self::KilledTwice if changed(operation) => operation.outcome = Outcome::Answered(Answer::Killed(1)),
                _ => {}
            }
        }
        Some(session)
    }

    /// Whether this mutation of a pair is visible. The second operation began after the first had ended.
    fn fits(self, first: &Operation, then: &Operation) -> bool {
        let is_set = matches!(first.call, Call::Set { .. });
        let read_again = matches!(then.call, Call::Get { .. }) && then.seen().is_some();
        let (Some(before), Some(after)) = (first.seen(), then.seen()) else {
            return match self {
                Self::Ghost => {
                    let killed = matches!(first.call, Call::Kill { .. } | Call::KillUser) && !first.unknown();
                    let gone = then.outcome == Outcome::Answered(Answer::Session(None));
                    killed && gone && matches!(then.call, Call::Get { .. })
                }
                Self::KilledTwice => {
                    let one = first.outcome == Outcome::Answered(Answer::Killed(1));
                    let none = then.outcome == Outcome::Answered(Answer::Killed(0));
                    one && none && [first, then].iter().all(|kill| matches!(kill.call, Call::Kill { .. }))
                }
                Self::Unlisted => {
                    let listed = |list: &Vec<Seen>| list.iter().any(|seen| Some(seen.session) == then.call.session());
                    read_again && matches!(&first.outcome, Outcome::Answered(Answer::List(list)) if listed(list))
                }
                _ => false,
            };
        };
        match self {
            Self::LostSet | Self::StaleRead | Self::CountedTwice => is_set && read_again,
            Self::LostUpdate => is_set && read_again && after.data.iter().any(|(_, value)| is_of(*value, &first.call)),
            Self::ReadNotCounted => {
                matches!(first.call, Call::Get { .. }) && read_again && before.session == after.session
            }
            Self::Reordered => read_again && after.data.len() > 1,
            Self::Missing => matches!(first.call, Call::Get { .. }) && read_again,
            Self::Ghost | Self::Unlisted | Self::KilledTwice => false,
        }
    }

    /// Rewrites an answer as if the store had mishandled an earlier set.
    fn rewrite(self, seen: &mut Seen, set: &Seen, call: &Call) {
        if seen.writes < set.writes {
            return;
        }
        match self {
            Self::CountedTwice => seen.writes += 1,
            Self::LostUpdate => seen.data.retain(|(_, value)| !is_of(*value, call)),
            _ => {
                seen.writes -= 1;
                seen.data.retain(|(_, value)| !is_of(*value, call));
            }
        }
    }
}

/// Whether a set stored this value.
fn is_of(value: u64, set: &Call) -> bool {
    matches!(set, Call::Set { changes, .. } if changes.iter().any(|(_, stored)| *stored == Some(value)))
}

fn answers(operation: &mut Operation) -> &mut [Seen] {
    match &mut operation.outcome {
        Outcome::Answered(Answer::Session(Some(seen))) => std::slice::from_mut(seen),
        Outcome::Answered(Answer::List(list)) => list,
        _ => &mut [],
    }
}

/// Pairs of consecutive operations of one user. The second one names a session that was created before both and has no
/// operation of unknown outcome, since such an operation could explain the mutated answer.
fn pairs<'a>(history: &'a [Operation], user: usize) -> Vec<(&'a Operation, &'a Operation)> {
    let history: Vec<_> = history.iter().filter(|operation| operation.user == user).collect();
    let about = |session: usize, operation: &Operation| operation.call.session().is_none_or(|other| other == session);
    let mut pairs = Vec::new();
    for create in history
        .iter()
        .filter(|operation| matches!(operation.call, Call::Create { .. }))
    {
        let session = create.call.session().expect("a create names a session");
        let concerned: Vec<_> = history
            .iter()
            .copied()
            .filter(|operation| about(session, operation))
            .collect();
        if concerned.iter().any(|operation| operation.unknown()) {
            continue;
        }
        let later = |operation: &&&'a Operation, than: &Operation| operation.began > than.ended;
        for first in concerned.iter().filter(|first| later(first, create)) {
            let then = concerned
                .iter()
                .filter(|then| then.call.session().is_some() && later(then, first));
            pairs.extend(then.map(|then| (*first, *then)));
        }
    }
    pairs
}
