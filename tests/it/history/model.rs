//! The sequential model: how each call changes the sessions of a user and which answer it gives.

use std::collections::BTreeMap;

use super::record::{Answer, Call, Changes, Data, Operation, Outcome, Seen};

/// Which parts of a session are compared: `r`, and all other fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) reads: bool,
    pub(super) record: bool,
}

/// An existing session. Parts outside the view stay zero, so that equal views make equal states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Live {
    reads: u64,
    writes: u64,
    data: Data,
}

impl Live {
    fn matches(&self, seen: &Seen, view: View) -> bool {
        (!view.reads || self.reads == seen.reads)
            && (!view.record || (self.writes == seen.writes && self.data == seen.data))
    }
}

/// The existing sessions of one user, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State(BTreeMap<usize, Live>);

/// The result of applying an operation to a state.
pub(super) enum Step {
    /// In this state the call would have been answered differently.
    Impossible,
    Unchanged,
    New(State),
}

impl State {
    /// Whether the session exists.
    pub(super) fn has(&self, session: usize) -> bool {
        self.0.contains_key(&session)
    }

    /// The reads and writes of a session, as far as the view includes them.
    pub(super) fn counts(&self, session: usize) -> (u64, u64) {
        self.0.get(&session).map_or((0, 0), |live| (live.reads, live.writes))
    }

    /// Applies one operation atomically.
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
                    return possible_if(
                        answer.is_none_or(|answer| *answer == Answer::Session(None)),
                        Step::Unchanged,
                    );
                };
                if !answer.is_none_or(|answer| matches_session(answer, live, view)) {
                    return Step::Impossible;
                }
                if !view.reads {
                    return Step::Unchanged;
                }
                let mut live = live.clone();
                live.reads += 1;
                self.with(*session, Some(live))
            }
            Call::Set { session, changes } => {
                let Some(live) = self.0.get(session) else {
                    return possible_if(
                        answer.is_none_or(|answer| *answer == Answer::Session(None)),
                        Step::Unchanged,
                    );
                };
                let mut live = live.clone();
                if view.record {
                    live.writes += 1;
                    merge(&mut live.data, changes);
                }
                if !answer.is_none_or(|answer| matches_session(answer, &live, view)) {
                    return Step::Impossible;
                }
                if view.record {
                    self.with(*session, Some(live))
                } else {
                    Step::Unchanged
                }
            }
            Call::Kill { session } => {
                let exists = self.has(*session);
                let killed = answer.is_none_or(|answer| *answer == Answer::Killed(usize::from(exists)));
                let step = if exists {
                    self.with(*session, None)
                } else {
                    Step::Unchanged
                };
                possible_if(killed, step)
            }
            Call::KillUser => {
                let killed = answer.is_none_or(|answer| *answer == Answer::Killed(self.0.len()));
                let step = if self.0.is_empty() {
                    Step::Unchanged
                } else {
                    Step::New(Self::default())
                };
                possible_if(killed, step)
            }
            Call::List => possible_if(
                answer.is_none_or(|answer| self.matches_list(answer, view)),
                Step::Unchanged,
            ),
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

    fn matches_list(&self, answer: &Answer, view: View) -> bool {
        let Answer::List(list) = answer else { return false };
        let listed = |seen: &Seen| self.0.get(&seen.session).is_some_and(|live| live.matches(seen, view));
        // Equal lengths exclude a session that is listed twice, since every session must be listed.
        list.len() == self.0.len()
            && list.iter().all(listed)
            && self
                .0
                .keys()
                .all(|session| list.iter().any(|seen| seen.session == *session))
    }
}

fn possible_if(answer_fits: bool, step: Step) -> Step {
    if answer_fits { step } else { Step::Impossible }
}

fn matches_session(answer: &Answer, live: &Live, view: View) -> bool {
    matches!(answer, Answer::Session(Some(seen)) if live.matches(seen, view))
}

/// Applies changes to `d`: existing keys keep their position, new keys are appended, null removes a key.
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
