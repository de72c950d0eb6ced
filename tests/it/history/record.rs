//! A recorded history: calls, their outcomes, and the ticks at which each began and ended.

use std::fmt;

/// The keys of `d` with their values, in order. Each write stores a unique value, so a read identifies its write.
pub(super) type Data = Vec<(String, u64)>;

/// Keys to store, and keys to remove (`None`).
pub(super) type Changes = Vec<(String, Option<u64>)>;

/// A request. Users and sessions are numbered in the order in which clients chose them.
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
    /// killsoid
    KillUser,
    /// soid
    List,
}

impl Call {
    /// The session that the call names, if it names one.
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

/// A session as it was answered. Key `n` of `d`, always the first, holds its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) session: usize,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) data: Data,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Created,
    Session(Option<Seen>),
    Killed(usize),
    List(Vec<Seen>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// After a 503, a lost connection or a client timeout: the call took effect, will take effect, or never does.
    Unknown,
    /// The call took effect; its answer is not compared.
    Done,
    Answered(Answer),
}

/// One call. Its times are ticks of a logical clock that all clients share.
#[derive(Clone)]
pub(super) struct Operation {
    pub(super) user: usize,
    pub(super) call: Call,
    /// The tick before it was sent.
    pub(super) began: u64,
    /// The tick after it was answered. If the outcome is unknown: the tick after which it can no longer take effect.
    pub(super) ended: u64,
    pub(super) outcome: Outcome,
}

impl Operation {
    pub(super) fn unknown(&self) -> bool {
        self.outcome == Outcome::Unknown
    }

    /// All sessions in the answer.
    pub(super) fn answers(&self) -> &[Seen] {
        match &self.outcome {
            Outcome::Answered(Answer::Session(Some(seen))) => std::slice::from_ref(seen),
            Outcome::Answered(Answer::List(list)) => list,
            _ => &[],
        }
    }

    /// The session in the answer to a get or a set.
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
