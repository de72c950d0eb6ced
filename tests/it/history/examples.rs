//! Unit tests of the checker: short histories, each linearizable or not.

use super::{
    check::{Reads, Rules, Scope, check},
    record::{Answer, Call, Operation, Outcome, Seen},
};

const EXACT: Rules = Rules {
    scope: Scope::User,
    reads: Reads::Exact,
};

/// An operation in flight between two ticks.
fn during(began: u64, ended: u64, call: Call, outcome: Outcome) -> Operation {
    Operation {
        user: 0,
        call,
        began,
        ended,
        outcome,
    }
}

fn answered(began: u64, ended: u64, call: Call, answer: Answer) -> Operation {
    during(began, ended, call, Outcome::Answered(answer))
}

/// A session after this many reads and writes; the set that makes `w` equal n stores n in `a`.
fn seen(session: usize, reads: u64, writes: u64) -> Seen {
    let mut data = vec![("n".to_owned(), session as u64)];
    data.extend((writes > 1).then(|| ("a".to_owned(), writes)));
    Seen {
        session,
        reads,
        writes,
        data,
    }
}

fn create(moment: u64, session: usize) -> Operation {
    let data = seen(session, 1, 1).data;
    answered(moment, moment, Call::Create { session, data }, Answer::Created)
}

/// A get, and the reads and writes of the session that it found.
fn get(moment: u64, found: Option<(u64, u64)>) -> Operation {
    let found = found.map(|(reads, writes)| seen(0, reads, writes));
    answered(moment, moment, Call::Get { session: 0 }, Answer::Session(found))
}

/// The set after which `w` is `writes`.
fn set(writes: u64) -> Call {
    Call::Set {
        session: 0,
        changes: vec![("a".to_owned(), Some(writes))],
    }
}

fn explained(history: &[Operation]) -> bool {
    check(history, EXACT).is_ok()
}

#[test]
fn a_set_of_unknown_outcome_counts_once_or_never() {
    let unknown = || during(2, u64::MAX, set(2), Outcome::Unknown);
    let with = |gets: &[Operation]| explained(&[&[create(1, 0), unknown()], gets].concat());
    assert!(with(&[get(3, Some((1, 1))), get(4, Some((2, 1)))]));
    assert!(with(&[get(3, Some((1, 2))), get(4, Some((2, 2)))]));
    assert!(with(&[get(3, Some((1, 1))), get(4, Some((2, 2)))]), "late");
    assert!(!with(&[get(3, Some((1, 3)))]), "twice");
    assert!(!with(&[get(3, Some((1, 2))), get(4, Some((2, 1)))]), "undone");
}

#[test]
fn an_unanswered_set_takes_effect_before_its_process_ends_or_never() {
    let unknown = during(2, 4, set(2), Outcome::Unknown);
    let with = |gets: &[Operation]| explained(&[&[create(1, 0), unknown.clone()], gets].concat());
    assert!(with(&[
        get(3, Some((1, 1))),
        get(5, Some((2, 2))),
        get(6, Some((3, 2)))
    ]));
    assert!(!with(&[get(5, Some((1, 1))), get(6, Some((2, 2)))]));
}

#[test]
fn concurrent_sets_come_one_after_the_other() {
    let one = |began, ended, sent, writes| {
        let found = Seen {
            data: vec![("n".to_owned(), 0), ("a".to_owned(), sent)],
            ..seen(0, 1, writes)
        };
        answered(began, ended, set(sent), Answer::Session(Some(found)))
    };
    assert!(explained(&[create(1, 0), one(2, 5, 10, 3), one(3, 4, 11, 2)]));
    assert!(
        !explained(&[create(1, 0), one(2, 5, 10, 2), one(3, 4, 11, 2)]),
        "both were first"
    );
    assert!(
        !explained(&[create(1, 0), one(2, 3, 10, 3), one(4, 5, 11, 2)]),
        "the later one was first"
    );
}

#[test]
fn a_kill_is_final() {
    let kill = |outcome| during(2, 4, Call::Kill { session: 0 }, outcome);
    let one = || kill(Outcome::Answered(Answer::Killed(1)));
    assert!(explained(&[create(1, 0), one(), get(3, Some((1, 1))), get(5, None)]));
    assert!(!explained(&[create(1, 0), one(), get(3, None), get(5, Some((1, 1)))]));
    assert!(!explained(&[create(1, 0), one(), get(5, Some((1, 1)))]));
    assert!(!explained(&[create(1, 0), kill(Outcome::Answered(Answer::Killed(0)))]));
    assert!(!explained(&[create(1, 0), get(5, None)]), "no kill was sent");
}

#[test]
fn a_killsoid_is_atomic_in_the_scope_of_a_user_only() {
    let killed = answered(3, 6, Call::KillUser, Answer::Killed(2));
    let list = |sessions: &[usize]| {
        let sessions = sessions.iter().map(|session| seen(*session, 1, 1)).collect();
        answered(4, 5, Call::List, Answer::List(sessions))
    };
    for (sessions, whole) in [(&[0, 1][..], true), (&[], true), (&[1], false)] {
        let history = [create(1, 0), create(2, 1), killed.clone(), list(sessions)];
        assert_eq!(explained(&history), whole, "{sessions:?}");
        let each = Rules {
            scope: Scope::Session,
            reads: Reads::Separate,
        };
        check(&history, each).unwrap_or_else(|violation| panic!("{sessions:?}: {violation}"));
    }
}
