//! What is cached and for how long, for every order of a read and an event that overtakes it.

use std::time::{Duration, Instant};

use crate::{
    observability::metrics::Metrics,
    session::{App, Ip, Record, Token, UserId},
    store::{
        Key,
        redis::near_cache::{
            cache::{Entry, NearCache, Ticket, lock},
            lease::LEASE,
        },
    },
};

const AGE: Duration = Duration::from_hours(1);

/// A cache whose lease holds for as long as the tests take.
fn near(sessions: usize) -> NearCache {
    let near = NearCache::new(AGE, sessions, &Metrics::new());
    renew(&near);
    near
}

fn renew(near: &NearCache) {
    near.lease
        .renew(Instant::now() + Duration::from_mins(10), near.lease.term());
}

fn key(n: usize) -> Key {
    Key {
        app: App::parse("forum").unwrap(),
        token: Token::parse(&format!("{n:064}")).unwrap(),
    }
}

fn record(id: &str, reads: u64, writes: u64) -> Record {
    Record {
        id: UserId::stored(id),
        ip: Ip::stored("::1"),
        reads,
        writes,
        ttl: 7200,
        last_active: 1_800_000_000,
        no_resave: false,
        data: None,
    }
}

fn found(near: &NearCache, key: &Key) -> Option<(u64, u64)> {
    near.find(key, |_| true).map(|record| (record.reads, record.writes))
}

fn ticket(near: &NearCache, key: &Key) -> Ticket {
    near.ticket(key).expect("the lease holds")
}

/// Reads and keeps.
fn fill(near: &NearCache, key: Key, id: &str) {
    near.keep(key, ticket(near, &key), record(id, 1, 1));
}

#[test]
fn a_cached_session_is_found_until_it_is_dropped() {
    let (near, key) = (near(100), key(1));
    assert_eq!(found(&near, &key), None);
    fill(&near, key, "ann");
    assert_eq!(found(&near, &key), Some((1, 1)));
    near.wrote(&key, 3, 1_800_000_007);
    assert_eq!(found(&near, &key), Some((4, 1)));
    near.forget(&key);
    assert_eq!(found(&near, &key), None);
}

#[test]
fn a_read_that_an_invalidation_overtook_is_not_cached() {
    let (near, key) = (near(100), key(1));
    let ticket = ticket(&near, &key);
    // The invalidation finds no session to drop.
    near.forget(&key);
    near.keep(key, ticket, record("ann", 1, 1));
    assert_eq!(found(&near, &key), None);
}

#[test]
fn a_read_that_overlaps_a_local_write_is_not_cached() {
    let (near, key) = (near(100), key(1));
    fill(&near, key, "ann");
    let before = ticket(&near, &key);
    let (one, other) = (near.begin_change(key), near.begin_change(key));
    assert_eq!(found(&near, &key), None);
    let within = ticket(&near, &key);
    near.keep(key, before, record("ann", 1, 1));
    near.keep(key, within, record("ann", 1, 1));
    assert_eq!(found(&near, &key), None);
    drop(one);
    let within = ticket(&near, &key);
    near.keep(key, within, record("ann", 1, 1));
    assert_eq!(found(&near, &key), None);
    drop(other);
    near.keep(key, within, record("ann", 1, 1));
    assert_eq!(found(&near, &key), None);
    fill(&near, key, "ann");
    assert_eq!(found(&near, &key), Some((1, 1)));
}

#[test]
fn a_removal_drops_its_sessions_and_no_others() {
    for (id, stays) in [(Some("ann"), true), (None, false)] {
        let near = near(1000);
        let (mine, others) = (key(1), key(2));
        fill(&near, mine, "ann");
        fill(&near, others, "bob");
        let before = ticket(&near, &mine);
        let removal = near.begin_removal(mine.app, id.map(UserId::stored));
        assert_eq!(found(&near, &mine), None);
        assert_eq!(found(&near, &others).is_some(), stays);
        let within = ticket(&near, &mine);
        near.keep(mine, before, record("ann", 1, 1));
        near.keep(mine, within, record("ann", 1, 1));
        drop(removal);
        near.keep(mine, within, record("ann", 1, 1));
        assert_eq!(found(&near, &mine), None);
        fill(&near, mine, "ann");
        assert_eq!(found(&near, &mine), Some((1, 1)));
    }
}

#[test]
fn the_older_one_of_two_reads_does_not_replace_the_other() {
    let (near, key) = (near(100), key(1));
    let (older, newer) = (ticket(&near, &key), ticket(&near, &key));
    near.keep(key, newer, record("ann", 1, 2));
    near.keep(key, older, record("ann", 9, 1));
    assert_eq!(found(&near, &key), Some((1, 2)));
    near.keep(key, newer, record("ann", 5, 2));
    assert_eq!(found(&near, &key), Some((5, 2)));
}

#[test]
fn nothing_is_found_or_cached_without_a_lease() {
    let (near, key) = (near(100), key(1));
    fill(&near, key, "ann");
    let before = ticket(&near, &key);
    let term = near.lease.term();
    near.lose();
    assert_eq!(found(&near, &key), None);
    assert!(near.ticket(&key).is_none());
    // A heartbeat from before.
    near.lease.renew(Instant::now() + AGE, term);
    assert_eq!(found(&near, &key), None);
    renew(&near);
    assert_eq!(found(&near, &key), None, "it was dropped");
    near.keep(key, before, record("ann", 1, 1));
    assert_eq!(found(&near, &key), None, "it was read before");
    fill(&near, key, "ann");
    assert_eq!(found(&near, &key), Some((1, 1)));
}

#[test]
fn a_lease_expires_by_itself() {
    let near = NearCache::new(AGE, 100, &Metrics::new());
    let asked = Instant::now();
    near.lease.renew(asked, near.lease.term());
    assert!(near.lease.holds(asked) && near.lease.holds(asked + LEASE / 2));
    assert!(!near.lease.holds(asked + LEASE));
}

#[test]
fn a_session_that_is_too_old_is_not_found() {
    let near = NearCache::new(Duration::from_millis(1), 100, &Metrics::new());
    renew(&near);
    let key = key(1);
    let ticket = ticket(&near, &key);
    near.keep(key, ticket, record("ann", 1, 9));
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(found(&near, &key), None);
    // Also an entry with a newer version is replaced then.
    near.keep(key, ticket, record("ann", 1, 9));
    let ticket = near.ticket(&key).unwrap();
    near.keep(key, ticket, record("ann", 1, 1));
    let kept = lock(&near.stripes[0]).entries.peek(&key).map(Entry::version);
    assert_eq!(kept.map(|version| version.1), Some(1));
}

#[test]
fn no_more_sessions_are_cached_than_allowed() {
    for most in [1, 2, 63, 64, 100, 5000] {
        let near = near(most);
        for n in 0..20_000 {
            fill(&near, key(n), "ann");
        }
        let kept = (0..20_000).filter(|n| found(&near, &key(*n)).is_some()).count();
        // The tokens are not random, so some stripes are not full.
        assert!((1..=most).contains(&kept) && kept >= most / 2, "{kept} of {most}");
    }
}
