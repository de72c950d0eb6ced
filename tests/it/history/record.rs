//! A history: what was asked, what was answered, and in which order that began and ended.

use std::fmt;

/// The keys of `d` with their values, in order. Every value is of one write only, so it tells which one was read.
pub(super) type Data = Vec<(String, u64)>;

/// Keys to store, and keys to remove.
pub(super) type Changes = Vec<(String, Option<u64>)>;

/// What is asked. Users and sessions have numbers, in the order in which they were thought of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create {
        session: usize,
        data: Data,
    },
    Get {
        session: usize,
    },
    Set {
        session: usize,
        changes: Changes,
    },
    Kill {
        session: usize,
    },
    /// A killsoid.
    KillUser,
    /// A soid.
    List,
}

impl Call {
    /// The session that it is about, if it is about one.
    pub(super) fn session(&self) -> Option<usize> {
        match self {
            Self::Create { session, .. }
            | Self::Get { session }
            | Self::Set { session, .. }
            | Self::Kill { session } => Some(*session),
            Self::KillUser | Self::List => None,
        }
    }
}

/// A session as it was answered. A list tells which one it is by the first key of its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) session: usize,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) data: Data,
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Created,
    Session(Option<Seen>),
    Killed(usize),
    List(Vec<Seen>),
}

/// What is known of a request's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A 503, a lost connection, a client that did not wait: it was done, or will be, or never.
    Unknown,
    /// It was done; what it answered is not looked at.
    Done,
    Answered(Answer),
}

/// One request. Its moments are ticks of one clock that all clients share.
#[derive(Clone)]
pub(super) struct Operation {
    pub(super) user: usize,
    pub(super) call: Call,
    /// Before it was sent.
    pub(super) began: u64,
    /// After it was answered. If the outcome is unknown: from when on it cannot happen any more.
    pub(super) ended: u64,
    pub(super) outcome: Outcome,
}

impl Operation {
    pub(super) fn unknown(&self) -> bool {
        self.outcome == Outcome::Unknown
    }

    /// Every session that was answered.
    pub(super) fn answers(&self) -> &[Seen] {
        match &self.outcome {
            Outcome::Answered(Answer::Session(Some(seen))) => std::slice::from_ref(seen),
            Outcome::Answered(Answer::List(list)) => list,
            _ => &[],
        }
    }

    /// The answer to a read or a write of one session.
    pub(super) fn seen(&self) -> Option<&Seen> {
        match &self.outcome {
            Outcome::Answered(Answer::Session(seen)) => seen.as_ref(),
            _ => None,
        }
    }

    pub(super) fn seen_mut(&mut self) -> Option<&mut Seen> {
        match &mut self.outcome {
            Outcome::Answered(Answer::Session(seen)) => seen.as_mut(),
            _ => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} ", self.began)?;
        match self.ended {
            u64::MAX => write!(f, "     –")?,
            ended => write!(f, "{ended:>6}")?,
        }
        write!(f, "  {:?} → ", self.call)?;
        match &self.outcome {
            Outcome::Answered(answer) => write!(f, "{answer:?}"),
            outcome => write!(f, "{outcome:?}"),
        }
    }
}
