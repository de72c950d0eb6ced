//! What a watch answers is what reading the whole index answers, whatever happened and whatever happens meanwhile.

mod moving;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use proptest::{collection::vec, prelude::*, test_runner::Config};
use tempfile::TempDir;

use super::*;
use crate::{
    observability::metrics::Metrics,
    session::{Changes, Ip, Record, Token},
    store::embedded::{Embedded, engine::STEP},
};

const START: Seconds = 1_700_000_000;
const MEMORY: u64 = 16 << 20;

fn open(folder: &TempDir, memory: u64) -> Embedded {
    let deadline = Duration::from_mins(1);
    Embedded::open(folder.path(), memory, deadline, Arc::new(Metrics::new())).unwrap()
}

fn app(n: usize) -> App {
    App::parse(["shop", "forum"][n]).unwrap()
}

fn id(n: usize) -> UserId {
    UserId::stored(&format!("user-{n}"))
}

async fn create(store: &Embedded, app: App, user: usize, now: Seconds) -> Token {
    let token = Token::generate(|bytes| getrandom::fill(bytes).is_ok()).unwrap();
    store.create(app, token, record(user, now)).await.unwrap()
}

fn record(user: usize, now: Seconds) -> Record {
    Record {
        id: id(user),
        ip: Ip::stored("127.0.0.1"),
        reads: 1,
        writes: 1,
        ttl: 30,
        last_active: now,
        no_resave: user % 3 == 2,
        data: None,
    }
}

async fn set(store: &Embedded, app: App, token: Token, now: Seconds) {
    let changes = Changes::for_set(br#"{"n":1}"#, Vec::new()).unwrap();
    store.set(app, token, changes, now).await.unwrap();
}

/// The number as the index and the sessions have it.
async fn by_reading(store: &Embedded, app: App, since: Seconds) -> u64 {
    store.flush().await.unwrap();
    store
        .blocking(move |cache| scan::activity(cache, app, since))
        .await
        .unwrap()
}

fn is_watched(store: &Embedded, app: App) -> bool {
    let watch = store.cache.watches.find(app);
    watch.is_some_and(|watch| watch.known().is_some())
}

#[derive(Clone, Debug)]
enum Step {
    Create(usize, usize),
    Get(usize),
    Set(usize),
    Kill(usize),
    Killsoid(usize, usize),
    Killall(usize),
    Wipe,
    /// Seconds, which may be less than none: somebody has set the clock.
    Pass(i64),
    Ask(usize, Seconds),
    NextPeriod,
    Forget,
}

fn steps() -> impl Strategy<Value = Step> {
    let (apps, users, place) = (0..2_usize, 0..8_usize, any::<prop::sample::Index>());
    let place = place.prop_map(|place| place.index(1 << 20));
    prop_oneof![
        6 => (apps.clone(), users.clone()).prop_map(|(app, user)| Step::Create(app, user)),
        8 => place.clone().prop_map(Step::Get),
        2 => place.clone().prop_map(Step::Set),
        3 => place.prop_map(Step::Kill),
        1 => (apps.clone(), users).prop_map(|(app, user)| Step::Killsoid(app, user)),
        1 => apps.clone().prop_map(Step::Killall),
        2 => Just(Step::Wipe),
        9 => (-3..12_i64).prop_map(Step::Pass),
        9 => (apps, 0..60_u64).prop_map(|(app, dt)| Step::Ask(app, dt)),
        1 => Just(Step::NextPeriod),
        1 => Just(Step::Forget),
    ]
}

async fn play(steps: Vec<Step>) {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, MEMORY);
    let (mut now, mut sessions) = (START, Vec::new());
    for step in steps {
        let session = |place: usize| sessions.get(place % sessions.len().max(1)).copied();
        match step {
            Step::Create(n, user) => {
                let token = create(&store, app(n), user, now).await;
                sessions.push((app(n), token));
            }
            Step::Get(place) => {
                if let Some((app, token)) = session(place) {
                    store.get(app, token, now).await.unwrap();
                }
            }
            Step::Set(place) => {
                if let Some((app, token)) = session(place) {
                    set(&store, app, token, now).await;
                }
            }
            Step::Kill(place) => {
                if let Some((app, token)) = session(place) {
                    store.kill(app, token, now).await.unwrap();
                }
            }
            Step::Killsoid(n, user) => drop(store.killsoid(app(n), id(user)).await.unwrap()),
            Step::Killall(n) => drop(store.killall(app(n)).await.unwrap()),
            Step::Wipe => drop(store.wipe(now).await.unwrap()),
            Step::Pass(seconds) => now = now.saturating_add_signed(seconds),
            Step::Ask(n, dt) => {
                let counted = store.activity(app(n), now - dt).await.unwrap();
                assert!(is_watched(&store, app(n)));
                assert_eq!(counted, by_reading(&store, app(n), now - dt).await, "dt={dt}");
            }
            Step::NextPeriod => store.cache.watches.next_period(),
            Step::Forget => store.cache.watches.forget(),
        }
    }
    for n in 0..2 {
        for dt in [0, 1, 9, 10, 11, 30, 60, 1000] {
            let counted = store.activity(app(n), now - dt).await.unwrap();
            assert_eq!(
                counted,
                by_reading(&store, app(n), now - dt).await,
                "at the end, dt={dt}"
            );
        }
    }
    store.close().await.unwrap();
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, max_shrink_iters: 200, ..Config::default() })]

    #[test]
    fn a_watch_answers_what_reading_answers(steps in vec(steps(), 20..150)) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap()
            .block_on(play(steps));
    }

    #[test]
    fn counts_are_what_adding_up_gives(
        mut seconds in vec(prop_oneof![0..200_u64, 0..2_000_000_u64, any::<u64>()], 1..40),
        to in any::<u64>(),
        since in vec(prop_oneof![0..300_u64, 0..3_000_000_u64, any::<u64>()], 1..40),
    ) {
        let mut counts = histogram::Counts::default();
        for second in &seconds {
            counts.add(*second);
        }
        counts.shift(seconds[0], to);
        seconds[0] = to;
        counts.remove(seconds.pop().unwrap());
        for first in since.into_iter().chain(seconds.clone()) {
            let expected = seconds.iter().filter(|second| **second >= first).count();
            prop_assert_eq!(counts.since(first), expected as u64);
        }
    }
}

/// Watches begin, and read, while sessions come, are read and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_left_when_a_watch_begins_amid_changes() {
    const USERS: usize = 40;
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open(&folder, MEMORY));
    let now = Arc::new(AtomicU64::new(START));
    for round in 0..60 {
        store.cache.watches.forget();
        let mut tasks = Vec::new();
        for user in 0..USERS {
            let (store, now) = (store.clone(), now.clone());
            tasks.push(tokio::spawn(async move {
                let time = || now.load(Ordering::SeqCst);
                let token = create(&store, app(0), user, time()).await;
                for _ in 0..4 {
                    store.get(app(0), token, time()).await.unwrap();
                    tokio::task::yield_now().await;
                }
                match (user + round) % 4 {
                    0 => drop(store.killsoid(app(0), id(user)).await.unwrap()),
                    1 => drop(store.kill(app(0), token, time()).await.unwrap()),
                    2 => set(&store, app(0), token, time()).await,
                    _ => {}
                }
            }));
        }
        for dt in [0, 3, 20, 40] {
            let (store, now) = (store.clone(), now.clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..3 {
                    let since = now.fetch_add(1, Ordering::SeqCst) - dt;
                    assert!(store.activity(app(0), since).await.unwrap() <= USERS as u64);
                    tokio::task::yield_now().await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let now = now.load(Ordering::SeqCst);
        assert!(is_watched(&store, app(0)));
        for dt in 0..60 {
            let counted = store.activity(app(0), now - dt).await.unwrap();
            assert_eq!(
                counted,
                by_reading(&store, app(0), now - dt).await,
                "round {round}, dt={dt}"
            );
        }
    }
    store.close().await.unwrap();
}

/// Whoever has been answered that his session is there finds it counted, whoever else asks or creates.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_answered_before_is_counted() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open(&folder, MEMORY));
    let created = Arc::new(AtomicU64::new(0));
    let tasks = (0..8).map(|task| {
        let (store, created) = (store.clone(), created.clone());
        tokio::spawn(async move {
            for n in 0..25 {
                create(&store, app(0), task * 1000 + n, START).await;
                let least = created.fetch_add(1, Ordering::SeqCst) + 1;
                if n % 10 == task {
                    store.cache.watches.forget();
                }
                assert!(store.activity(app(0), START - 5).await.unwrap() >= least);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_watch_is_given_up_when_nobody_asks() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, MEMORY);
    create(&store, app(0), 1, START).await;
    for _ in 0..3 {
        assert_eq!(store.activity(app(0), START).await.unwrap(), 1);
        store.cache.watches.next_period();
        assert!(is_watched(&store, app(0)));
    }
    store.cache.watches.next_period();
    store.cache.watches.next_period();
    assert!(!store.cache.watches.any.load(Relaxed));
    create(&store, app(0), 2, START).await;
    assert_eq!(store.activity(app(0), START).await.unwrap(), 2);
    store.close().await.unwrap();
}

/// Room for 136 ids.
#[tokio::test]
async fn more_ids_than_there_is_room_for_are_read() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, ID * (WATCH as u64 + 136));
    for user in 0..136 {
        create(&store, app(0), user, START).await;
    }
    assert_eq!(store.activity(app(0), START).await.unwrap(), 136);
    assert!(is_watched(&store, app(0)));
    create(&store, app(0), 136, START).await;
    assert!(!is_watched(&store, app(0)));
    assert_eq!(store.activity(app(0), START).await.unwrap(), 137);
    // There is no room for a watch beside one that is full, and what was given up leaves all of it.
    store.cache.watches.next_period();
    assert_eq!(store.activity(app(1), START).await.unwrap(), 0);
    assert!(is_watched(&store, app(1)));
    for user in 0..136 {
        create(&store, app(1), user, START).await;
    }
    assert_eq!(store.activity(app(0), START).await.unwrap(), 137);
    assert!(is_watched(&store, app(1)) && !is_watched(&store, app(0)));
    store.close().await.unwrap();
}

fn known(room: usize) -> (Arc<Room>, Known) {
    let room = Arc::new(Room::new(room + WATCH));
    let known = Known::new(&room).unwrap();
    (room, known)
}

fn find(known: &mut Known, id: u64, second: Seconds, rough: bool) {
    assert!(known.find(&Found { id, second, rough }).is_ok());
}

#[test]
fn what_is_found_of_an_id_that_went_meanwhile_does_not_count() {
    let (_, mut known) = known(10);
    known.begin(100);
    known.remove(1);
    find(&mut known, 1, 105, false);
    find(&mut known, 2, 105, false);
    assert!(known.note(3, 106).is_ok());
    known.remove(3);
    find(&mut known, 3, 105, false);
    assert!(known.note(3, 102).is_ok());
    known.end(100, true);
    assert_eq!((known.count(100), known.count(103)), (Some(2), Some(1)));
}

#[test]
fn a_reading_that_failed_is_no_knowledge() {
    let (_, mut known) = known(10);
    known.begin(100);
    find(&mut known, 1, 105, false);
    known.end(100, false);
    assert_eq!(known.count(100), None);
}

#[test]
fn only_sessions_that_may_decide_are_asked_and_once() {
    let (_, mut known) = known(10);
    assert_eq!(known.begin(100), (100 - STEP..=Seconds::MAX, true));
    find(&mut known, 1, 105, true);
    find(&mut known, 2, 120, true);
    known.end(100, true);
    assert_eq!(known.count(105), Some(2));
    assert_eq!(known.count(106), None);
    assert_eq!(known.begin(106), (105..=105, false));
    find(&mut known, 1, 107, false);
    known.end(106, true);
    assert_eq!(
        (known.count(106), known.count(107), known.count(108)),
        (Some(2), Some(2), Some(1))
    );
    // Further back, only what was not read before.
    assert_eq!(known.begin(50), (50 - STEP..=100, true));
}

#[test]
fn ids_that_no_question_is_about_make_room() {
    let (room, mut known) = known(8);
    known.begin(100);
    for id in 0..8 {
        find(&mut known, id, 100 + 10 * id, false);
    }
    known.end(100, true);
    known.ask(140);
    assert!(known.note(8, 180).is_ok());
    // Those from 130 on are left: a session there may belong to an id that was active at 140.
    assert!(!room.take(4) && room.take(2));
    assert_eq!((known.count(140), known.count(139)), (Some(5), None));
    drop(known);
    assert!(room.take(WATCH + 6));
}

#[test]
fn what_is_let_go_amid_a_reading_is_not_known_after_it() {
    let (_, mut known) = known(8);
    known.begin(100);
    for id in 0..8 {
        find(&mut known, id, 100 + 10 * id, false);
    }
    known.end(100, true);
    known.ask(140);
    known.begin(110);
    find(&mut known, 8, 180, false);
    known.end(110, true);
    assert_eq!((known.count(140), known.count(139)), (Some(5), None));
}
