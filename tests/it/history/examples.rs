//! Small histories, and whether they can be explained.

use super::{
    check::{Reads, Rules, Scope, check},
    record::{Answer, Call, Operation, Outcome, Seen},
};

const EXACT: Rules = Rules {
    scope: Scope::User,
    reads: Reads::Exact,
};

/// One operation from one moment to another.
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

/// A session with so many reads and writes; every set stores its own number in `a`.
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

/// A get, and what it found: reads and writes.
fn get(moment: u64, found: Option<(u64, u64)>) -> Operation {
    let found = found.map(|(reads, writes)| seen(0, reads, writes));
    answered(moment, moment, Call::Get { session: 0 }, Answer::Session(found))
}

/// The set that makes so many writes of it.
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
fn what_a_dead_process_was_asked_happens_before_its_death() {
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
    assert!(!explained(&[create(1, 0), get(5, None)]), "nobody killed it");
}

#[test]
fn a_killsoid_is_one_moment_for_a_user_and_several_for_its_sessions() {
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
            reads: Reads::Apart,
        };
        check(&history, each).unwrap_or_else(|violation| panic!("{sessions:?}: {violation}"));
    }
}
