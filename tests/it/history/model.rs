//! The contract for one client at a time: what each call makes of the sessions, and what it answers.

use std::collections::BTreeMap;

use super::record::{Answer, Call, Changes, Data, Operation, Outcome, Seen};

/// What of a session is looked at: `r`, and all else. Together they are the whole session.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) reads: bool,
    pub(super) record: bool,
}

/// A session that is there. What is not looked at stays zero, so that states differ in what matters only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Live {
    reads: u64,
    writes: u64,
    data: Data,
}

impl Live {
    fn answers(&self, seen: &Seen, view: View) -> bool {
        (!view.reads || self.reads == seen.reads)
            && (!view.record || (self.writes == seen.writes && self.data == seen.data))
    }
}

/// The sessions of one user that are there, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State(BTreeMap<usize, Live>);

/// What becomes of a state.
pub(super) enum Step {
    /// The call is answered otherwise.
    Impossible,
    Same,
    New(State),
}

impl State {
    /// Whether a session is there.
    pub(super) fn has(&self, session: usize) -> bool {
        self.0.contains_key(&session)
    }

    /// The reads and writes of a session, as far as they are looked at.
    pub(super) fn counts(&self, session: usize) -> (u64, u64) {
        self.0.get(&session).map_or((0, 0), |live| (live.reads, live.writes))
    }

    /// Lets one operation happen, all of it at this moment.
    pub(super) fn step(&self, operation: &Operation, view: View) -> Step {
        let answer = match &operation.outcome {
            Outcome::Answered(answer) => Some(answer),
            Outcome::Done | Outcome::Unknown => None,
        };
        match &operation.call {
            Call::Create { session, data } => {
                let mut live = Live::default();
                live.reads += u64::from(view.reads);
                if view.record {
                    live.writes = 1;
                    live.data.clone_from(data);
                }
                self.with(*session, Some(live))
            }
            Call::Get { session } => {
                let Some(live) = self.0.get(session) else {
                    return possible(answer.is_none_or(|answer| *answer == Answer::Session(None)), Step::Same);
                };
                if !answer.is_none_or(|answer| is(answer, live, view)) {
                    return Step::Impossible;
                }
                if !view.reads {
                    return Step::Same;
                }
                let mut live = live.clone();
                live.reads += 1;
                self.with(*session, Some(live))
            }
            Call::Set { session, changes } => {
                let Some(live) = self.0.get(session) else {
                    return possible(answer.is_none_or(|answer| *answer == Answer::Session(None)), Step::Same);
                };
                let mut live = live.clone();
                if view.record {
                    live.writes += 1;
                    merge(&mut live.data, changes);
                }
                if !answer.is_none_or(|answer| is(answer, &live, view)) {
                    return Step::Impossible;
                }
                if view.record {
                    self.with(*session, Some(live))
                } else {
                    Step::Same
                }
            }
            Call::Kill { session } => {
                let there = self.has(*session);
                let killed = answer.is_none_or(|answer| *answer == Answer::Killed(usize::from(there)));
                possible(killed, if there { self.with(*session, None) } else { Step::Same })
            }
            Call::KillUser => {
                let killed = answer.is_none_or(|answer| *answer == Answer::Killed(self.0.len()));
                possible(
                    killed,
                    if self.0.is_empty() {
                        Step::Same
                    } else {
                        Step::New(Self::default())
                    },
                )
            }
            Call::List => possible(answer.is_none_or(|answer| self.lists(answer, view)), Step::Same),
        }
    }

    fn with(&self, session: usize, live: Option<Live>) -> Step {
        let mut state = self.clone();
        match live {
            Some(live) => state.0.insert(session, live),
            None => state.0.remove(&session),
        };
        Step::New(state)
    }

    fn lists(&self, answer: &Answer, view: View) -> bool {
        let Answer::List(list) = answer else { return false };
        let listed = |seen: &Seen| self.0.get(&seen.session).is_some_and(|live| live.answers(seen, view));
        // No session is listed twice, for then their number would not do.
        list.len() == self.0.len()
            && list.iter().all(listed)
            && self
                .0
                .keys()
                .all(|session| list.iter().any(|seen| seen.session == *session))
    }
}

fn possible(answered: bool, step: Step) -> Step {
    if answered { step } else { Step::Impossible }
}

fn is(answer: &Answer, live: &Live, view: View) -> bool {
    matches!(answer, Answer::Session(Some(seen)) if live.answers(seen, view))
}

/// Keys that are there keep their place, new ones follow.
pub(super) fn merge(data: &mut Data, changes: &Changes) {
    for (key, value) in changes {
        let place = data.iter().position(|(old, _)| old == key);
        match (place, value) {
            (Some(place), Some(value)) => data[place].1 = *value,
            (Some(place), None) => drop(data.remove(place)),
            (None, Some(value)) => data.push((key.clone(), *value)),
            (None, None) => {}
        }
    }
}
