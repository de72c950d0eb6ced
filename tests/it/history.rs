//! Clients, faults, and whether what was answered meanwhile is what the contract allows: [`run`] does and records,
//! [`faults`] disturb, [`check`] explains the history by the [`model`] or tells the first answer that nothing explains.
//!
//! A failure names its seed. `HISTORY_SEED` makes the same choices again, though clients will meet otherwise;
//! `HISTORY_STEPS` makes histories longer.

mod broken;
mod check;
mod examples;
mod faults;
mod model;
mod mutate;
mod record;
mod run;

use fastrand::Rng;

use self::{
    broken::{Broken, Defect, Victims},
    check::{Reads, Rules, Scope, check},
    faults::{
        Embedded,
        Fault::{Cut, Deafen, Flush, KillProgram, KillServer, Pause},
        OnRedis, Scene, disturb,
    },
    mutate::Break,
    record::Operation,
    run::World,
};

/// Operations in a history.
const STEPS: usize = 1500;

/// A number of the environment, if there is one.
fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn seed() -> u64 {
    let seed = variable("HISTORY_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("HISTORY_SEED={seed}");
    seed
}

/// Ends what clients and faults do, however the test ends.
struct Ending<'a>(&'a World);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Lets clients loose on a scene that is disturbed; answers the history.
async fn play(scene: impl Scene + 'static, seed: u64, steps: usize) -> Vec<Operation> {
    let mut rng = Rng::with_seed(seed);
    let world = World::new(variable("HISTORY_STEPS").unwrap_or(steps));
    let ending = Ending(&world);
    // Processes are waited for by blocking.
    let opening = tokio::task::spawn_blocking({
        let (world, mut scene) = (world.clone(), scene);
        move || {
            scene.open(&world);
            scene
        }
    });
    let mut scene = opening.await.expect("no panic");
    let disturbing = tokio::task::spawn_blocking({
        let (world, mut rng) = (world.clone(), rng.fork());
        move || {
            let times = disturb(&mut scene, &mut rng, &world);
            (scene, times)
        }
    });
    world.clients(&mut rng).await;
    let (scene, times) = disturbing.await.expect("no panic");
    let history = world.finish().await;
    drop((ending, scene));
    let unknown = history.iter().filter(|operation| operation.unknown()).count();
    eprintln!(
        "{} operations, {unknown} of unknown outcome, {times} faults",
        history.len()
    );
    assert!(times > 0, "no fault");
    history
}

/// Whether the history of a scene is as the rules say.
async fn keeps(scene: impl Scene + 'static, scope: Scope, reads: Reads) {
    let seed = seed();
    let history = play(scene, seed, STEPS).await;
    if let Err(violation) = check(&history, Rules { scope, reads }) {
        panic!("HISTORY_SEED={seed}: {violation}");
    }
}

/// A killsoid becomes visible session by session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_that_stands_still_at_times() {
    keeps(Embedded::new(false), Scope::Session, Reads::Apart).await;
}

/// What a kill may cost is a second of reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_that_is_killed() {
    keeps(Embedded::new(true), Scope::Session, Reads::AtMost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_share_redis_and_write_reads_at_once() {
    let faults = &[Cut, Deafen, Pause, Flush, KillServer, KillProgram];
    keeps(OnRedis::single(2, "0", faults).await, Scope::User, Reads::Exact).await;
}

/// A batch of reads whose answer is lost may count twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_writes_reads_later() {
    let faults = &[Cut, Deafen, Pause, Flush, KillServer];
    keeps(OnRedis::single(1, "1", faults).await, Scope::User, Reads::AtLeast).await;
}

/// What it answers from memory is what Redis would have answered, as nobody else changes anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_with_a_near_cache() {
    let faults = &[Cut, Deafen, Pause, Flush, KillServer];
    let scene = OnRedis::single(1, "1", faults).await.with_near_cache();
    keeps(scene, Scope::User, Reads::AtLeast).await;
}

/// Without a fault that a lease ends by, most is answered from memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_with_a_near_cache_that_is_always_in_use() {
    let scene = OnRedis::single(1, "1", &[Flush]).await.with_near_cache();
    keeps(scene, Scope::User, Reads::Apart).await;
}

/// No batch is lost here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_written_later_are_counted_once() {
    keeps(OnRedis::single(1, "1", &[Flush]).await, Scope::User, Reads::Apart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_share_a_cluster() {
    keeps(
        OnRedis::cluster(2, "0", &[Cut, Pause, Flush, KillProgram]),
        Scope::User,
        Reads::Exact,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_history_is_told_by_its_session() {
    const TIMES: usize = 8;
    const RULES: Rules = Rules {
        scope: Scope::User,
        reads: Reads::Exact,
    };
    const HISTORIES: u64 = 6;
    let first = seed();
    let mut missing = Break::ALL.to_vec();
    // A history may have no place for some break; several do not.
    for seed in (0..HISTORIES).map(|n| first.wrapping_add(n)) {
        let mut rng = Rng::with_seed(seed);
        let history = play(OnRedis::single(1, "0", &[Flush]).await, seed, STEPS).await;
        check(&history, RULES).unwrap_or_else(|violation| panic!("HISTORY_SEED={seed}: {violation}"));
        missing.retain(|promise| {
            for _ in 0..TIMES {
                let mut broken = history.clone();
                let Some(session) = promise.apply(&mut broken, &mut rng) else {
                    return true;
                };
                let violation =
                    check(&broken, RULES).expect_err(&format!("HISTORY_SEED={seed}: {promise:?} of {session}"));
                let told = violation.session;
                assert_eq!(told, Some(session), "HISTORY_SEED={seed}: {promise:?}: {violation}");
            }
            false
        });
        if missing.is_empty() {
            return;
        }
    }
    panic!("HISTORY_SEED={first}: nothing to break for {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_store_is_caught() {
    for defect in Defect::ALL {
        let seed = seed();
        let victims = Victims::default();
        let history = play(Broken::new(defect, seed, victims.clone()), seed, STEPS / 3).await;
        let rules = Rules {
            scope: Scope::Session,
            reads: Reads::Apart,
        };
        let violation = check(&history, rules).expect_err(&format!("HISTORY_SEED={seed}: {defect:?}"));
        let session = violation.session.expect("one session suffered");
        let victims = victims.lock().expect("nobody panics with it");
        assert!(
            victims.contains(&session),
            "HISTORY_SEED={seed}: {defect:?} of {victims:?}: {violation}"
        );
    }
}
