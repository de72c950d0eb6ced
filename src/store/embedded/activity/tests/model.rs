//! Random sequences of operations: a tracker answers what a scan of the whole index answers.

use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Create(usize, usize),
    Get(usize),
    Set(usize),
    Kill(usize),
    Killsoid(usize, usize),
    Killall(usize),
    Wipe,
    /// Seconds; negative where an operator sets the clock back.
    Pass(i64),
    Ask(usize, Seconds),
    EndPeriod,
    ForgetAll,
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
        1 => Just(Step::EndPeriod),
        1 => Just(Step::ForgetAll),
    ]
}

async fn run(steps: Vec<Step>) {
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
                assert!(is_tracked(&store, app(n)));
                assert_eq!(counted, count_by_scan(&store, app(n), now - dt).await, "dt={dt}");
            }
            Step::EndPeriod => store.cache.trackers.end_period(),
            Step::ForgetAll => store.cache.trackers.forget_all(),
        }
    }
    for n in 0..2 {
        for dt in [0, 1, 9, 10, 11, 30, 60, 1000] {
            let counted = store.activity(app(n), now - dt).await.unwrap();
            assert_eq!(
                counted,
                count_by_scan(&store, app(n), now - dt).await,
                "at the end, dt={dt}"
            );
        }
    }
    store.close().await.unwrap();
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, max_shrink_iters: 200, ..Config::default() })]

    #[test]
    fn a_tracker_answers_what_a_scan_answers(steps in vec(steps(), 20..150)) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap()
            .block_on(run(steps));
    }
}
