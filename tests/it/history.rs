//! Linearizability tests: random clients under injected faults, checked against a sequential model.
//!
//! [`workload`] sends requests and records their answers, [`faults`] disrupt the store meanwhile, and [`check`] looks
//! for an order of the operations in which the [`model`] gives the same answers; it reports the first answer that has
//! none. [`faulty_store`] and [`mutate`] test the checker itself.
//!
//! A failure names its seed. `HISTORY_SEED` repeats the random choices, not the interleaving of the clients;
//! `HISTORY_STEPS` sets the number of operations.

mod check;
mod client;
mod examples;
mod faults;
mod faulty_store;
mod model;
mod mutate;
mod read_bounds;
mod record;
mod search;
mod workload;

use fastrand::Rng;

use self::{
    check::{Reads, Rules, Scope, check},
    faults::{
        Embedded,
        Fault::{CutConnections, FlushScripts, FreezeServer, KillInstance, KillServer, LoseReplies},
        OnRedis, Scene, inject_until_done,
    },
    faulty_store::{Defect, FaultyStore, Victims},
    mutate::Mutation,
    record::Operation,
    workload::Workload,
};

/// Default number of operations in a history.
const STEPS: usize = 1500;

/// A number from the environment, if the variable is set.
fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

fn seed() -> u64 {
    let seed = variable("HISTORY_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("HISTORY_SEED={seed}");
    seed
}

/// Stops clients and faults when the test ends, also by a panic.
struct StopOnDrop<'a>(&'a Workload);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs clients against a scene while faults are injected; returns the recorded history.
async fn record_history(scene: impl Scene + 'static, seed: u64, steps: usize) -> Vec<Operation> {
    let mut rng = Rng::with_seed(seed);
    let workload = Workload::new(variable("HISTORY_STEPS").unwrap_or(steps));
    let stop = StopOnDrop(&workload);
    // Starting and killing processes blocks the thread.
    let opening = tokio::task::spawn_blocking({
        let (workload, mut scene) = (workload.clone(), scene);
        move || {
            scene.open(&workload);
            scene
        }
    });
    let mut scene = opening.await.expect("no panic");
    let injecting = tokio::task::spawn_blocking({
        let (workload, mut rng) = (workload.clone(), rng.fork());
        move || {
            let faults = inject_until_done(&mut scene, &mut rng, &workload);
            (scene, faults)
        }
    });
    workload.run_clients(&mut rng).await;
    let (scene, faults) = injecting.await.expect("no panic");
    let history = workload.finish().await;
    drop((stop, scene));
    let unknown = history.iter().filter(|operation| operation.unknown()).count();
    eprintln!(
        "{} operations, {unknown} of unknown outcome, {faults} faults",
        history.len()
    );
    assert!(faults > 0, "no fault was injected");
    history
}

/// Records a history of a scene and checks it by these rules.
async fn assert_linearizable(scene: impl Scene + 'static, scope: Scope, reads: Reads) {
    let seed = seed();
    let history = record_history(scene, seed, STEPS).await;
    if let Err(violation) = check(&history, Rules { scope, reads }) {
        panic!("HISTORY_SEED={seed}: {violation}");
    }
}

/// The embedded store ends the sessions of a killsoid one by one, so the scope is a session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_is_linearizable_across_freezes() {
    assert_linearizable(Embedded::new(false), Scope::Session, Reads::Separate).await;
}

/// A crash may lose the reads of the last second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_is_linearizable_across_crashes() {
    assert_linearizable(Embedded::new(true), Scope::Session, Reads::AtMost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_sharing_redis_without_a_read_buffer_are_linearizable() {
    let faults = &[
        CutConnections,
        LoseReplies,
        FreezeServer,
        FlushScripts,
        KillServer,
        KillInstance,
    ];
    assert_linearizable(OnRedis::single(2, "0", faults).await, Scope::User, Reads::Exact).await;
}

/// A flush of buffered reads is retried when its reply is lost, so its reads may count twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_with_a_read_buffer_is_linearizable() {
    let faults = &[CutConnections, LoseReplies, FreezeServer, FlushScripts, KillServer];
    assert_linearizable(OnRedis::single(1, "1", faults).await, Scope::User, Reads::AtLeast).await;
}

/// With a single instance no other writer exists, so cached answers must equal those of Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_with_a_near_cache_is_linearizable() {
    let faults = &[CutConnections, LoseReplies, FreezeServer, FlushScripts, KillServer];
    let scene = OnRedis::single(1, "1", faults).await.with_near_cache();
    assert_linearizable(scene, Scope::User, Reads::AtLeast).await;
}

/// `FlushScripts` does not end the cache's lease, so the cache answers most gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uninterrupted_near_cache_is_linearizable() {
    let scene = OnRedis::single(1, "1", &[FlushScripts]).await.with_near_cache();
    assert_linearizable(scene, Scope::User, Reads::Separate).await;
}

/// `FlushScripts` loses no reply, so no flush of buffered reads is repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buffered_reads_are_counted_once() {
    assert_linearizable(
        OnRedis::single(1, "1", &[FlushScripts]).await,
        Scope::User,
        Reads::Separate,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_sharing_a_cluster_are_linearizable() {
    assert_linearizable(
        OnRedis::cluster(2, "0", &[CutConnections, FreezeServer, FlushScripts, KillInstance]),
        Scope::User,
        Reads::Exact,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_names_the_session_of_a_mutated_history() {
    const TIMES: usize = 8;
    const RULES: Rules = Rules {
        scope: Scope::User,
        reads: Reads::Exact,
    };
    const HISTORIES: u64 = 6;
    let first = seed();
    let mut untested = Mutation::ALL.to_vec();
    // One history may lack the operations that a mutation needs, so several are tried.
    for seed in (0..HISTORIES).map(|n| first.wrapping_add(n)) {
        let mut rng = Rng::with_seed(seed);
        let scene = OnRedis::single(1, "0", &[FlushScripts]).await;
        let history = record_history(scene, seed, STEPS).await;
        check(&history, RULES).unwrap_or_else(|violation| panic!("HISTORY_SEED={seed}: {violation}"));
        untested.retain(|mutation| {
            for _ in 0..TIMES {
                let mut mutated = history.clone();
                let Some(session) = mutation.apply(&mut mutated, &mut rng) else {
                    return true;
                };
                let violation =
                    check(&mutated, RULES).expect_err(&format!("HISTORY_SEED={seed}: {mutation:?} of {session}"));
                let reported = violation.session;
                assert_eq!(
                    reported,
                    Some(session),
                    "HISTORY_SEED={seed}: {mutation:?}: {violation}"
                );
            }
            false
        });
        if untested.is_empty() {
            return;
        }
    }
    panic!("HISTORY_SEED={first}: no history had the operations for {untested:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_detects_a_faulty_store() {
    for defect in Defect::ALL {
        let seed = seed();
        let victims = Victims::default();
        let scene = FaultyStore::new(defect, seed, victims.clone());
        let history = record_history(scene, seed, STEPS / 3).await;
        let rules = Rules {
            scope: Scope::Session,
            reads: Reads::Separate,
        };
        let violation = check(&history, rules).expect_err(&format!("HISTORY_SEED={seed}: {defect:?}"));
        let session = violation.session.expect("the violation concerns one session");
        let victims = victims.lock().expect("the lock is not poisoned");
        assert!(
            victims.contains(&session),
            "HISTORY_SEED={seed}: {defect:?} of {victims:?}: {violation}"
        );
    }
}
