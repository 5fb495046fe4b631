//! The real engine in a simulated world: the clock is paused, calls to the store are lost, late or doubled, clients hang
//! up at any moment, handlers panic, fail and take long, processes die, and runtimes are dropped. Every choice follows
//! from a seed, which a failure prints:
//!
//! ```sh
//! SEED=17 cargo test --test simulation            # one seed again, with its history
//! SECONDS=3600 cargo test --test simulation       # new seeds for as long as one likes
//! ```

// A test that cannot go on panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod client;
mod history;
mod loss;
mod random;
mod service;
mod store;
mod world;

use std::{
    env,
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime},
};

use axum::Router;
use idempotent_runtime::Idempotency;
use tokio::{
    runtime::{Builder, Handle},
    task::JoinHandle,
    time::sleep,
};

use self::{
    client::{client, hang_up, send},
    random::Random,
    service::{BODIES, LEASE, PATHS, routes},
    store::VirtualStore,
    world::{HEALED, World},
};

/// How many seeds run with the other tests.
const SEEDS: u64 = 300;

/// The longest that one simulation takes in real time.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_the_contract_promises_holds_whatever_fails() {
    if let Some(seed) = number("SEED") {
        let (faults, history) = simulate(seed);
        println!("{history}");
        assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
        return;
    }
    let Some(seconds) = number("SECONDS") else {
        (0..SEEDS).for_each(must_hold);
        return;
    };
    let start = Instant::now();
    let first = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() << 20;
    let seeds = (first..).take_while(|_| start.elapsed().as_secs() < seconds);
    println!("{} seeds, from {first}", seeds.inspect(|seed| must_hold(*seed)).count());
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    for seed in 0..10 {
        assert_eq!(simulate(seed).1, simulate(seed).1, "seed {seed}");
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

fn must_hold(seed: u64) {
    let (faults, _) = simulate(seed);
    assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
}

/// Runs one simulation. Returns what is wrong, and the history.
fn simulate(seed: u64) -> (Vec<String>, String) {
    // In its own thread, so that a runtime that does not end fails the test.
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(simulated(seed)));
    let hangs = || (vec![format!("seed {seed} does not end, or has panicked")], String::new());
    end.recv_timeout(PATIENCE).unwrap_or_else(|_| hangs())
}

fn simulated(seed: u64) -> (Vec<String>, String) {
    let world = Arc::new(World::new(seed, 6));
    let mut now = Duration::ZERO;
    // Some simulations have a runtime that is dropped in the middle: all processes die at once, and others start.
    let cut = world.random(|random| random.percent(30).then(|| random.millis(1_000..40_000)));
    for (processes, cut) in [(0..3, cut), (3..6, None)] {
        if processes.start == 3 && now.is_zero() {
            break;
        }
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ended = runtime.block_on(async {
            world.runtime_started(now);
            let scenario = scenario(&world, seed, processes.clone());
            if let Some(cut) = cut {
                tokio::time::timeout(cut, scenario).await.is_ok()
            } else {
                scenario.await;
                true
            }
        });
        if ended {
            break;
        }
        let context = runtime.enter();
        processes.for_each(|process| world.dies(process));
        now = world.now();
        drop(context);
        drop(runtime);
    }
    let (mut faults, saved, log) = world.records(|it| (it.faults.clone(), it.saved.clone(), it.log.join("\n")));
    world.history(|history| {
        let in_order =
            |process, from, to| world.was_in_order(process, from, to) && !world.was_blocked(process, from, to);
        faults.extend(history.judge(&saved, &in_order, world.loss));
        (faults, format!("{history:#?}\n{log}"))
    })
}

/// The processes serve their clients, some die, and in the end everything is healed and looked at.
async fn scenario(world: &Arc<World>, seed: u64, numbers: std::ops::Range<usize>) {
    let max_attempt =
        world.random(|random| if random.percent(20) { random.millis(4_000..9_000) } else { PATIENCE * 10 });
    let start = |process| routes(VirtualStore { world: Arc::clone(world), process }, max_attempt);
    // A process has the number of its place; those of a runtime before are dead.
    let (mut apps, mut engines): (Vec<Router>, Vec<(usize, Idempotency)>) = (Vec::new(), Vec::new());
    for process in 0..numbers.end {
        let (app, idempotency) = start(process);
        apps.push(app);
        if numbers.contains(&process) {
            engines.push((process, idempotency));
        }
    }
    // The numbers of a later runtime are not started yet.
    let apps = Arc::new(apps);
    let clients: Vec<_> = (0..world.random(|random| 4 + random.below(20)))
        .map(|_| {
            let (path, key) = world.random(|random| (*random.pick(&PATHS), random.below(3)));
            // Where the store loses its data, more requests meet at one key.
            let key = if world.loss.is_some() { "k0".to_owned() } else { format!("k{key}") };
            tokio::spawn(client(Arc::clone(world), Arc::clone(&apps), path, key))
        })
        .collect();
    let deaths = world.random(|random| if random.percent(40) { 1 + random.below(2) } else { 0 });
    for process in numbers.clone().take(usize::try_from(deaths).unwrap()) {
        let (world, after) = (Arc::clone(world), world.random(|random| random.millis(1_000..55_000)));
        tokio::spawn(async move {
            sleep(after).await;
            world.dies(process);
        });
    }
    if let Some((at, length)) = world.suspension.filter(|(at, _)| *at > world.now()) {
        let begins = at.saturating_sub(world.now());
        tokio::spawn(async move {
            sleep(begins).await;
            tokio::time::advance(length).await;
        });
    }
    let drains = drains(seed, &engines);
    for client in clients {
        client.await.unwrap();
    }
    // A command may be on its way until then, and a process that died holds its keys for a lease.
    sleep((HEALED + 2 * LEASE).saturating_sub(world.now())).await;
    look_back(world, &apps, &engines, drains).await;
    // What a process that died has begun is never answered. If all of them live, nothing of them is left.
    if engines.iter().all(|(process, _)| !world.is_dead(*process)) {
        world.listening.lock().unwrap().drain(..).for_each(|listening| listening.abort());
        drop((apps, engines));
        sleep(PATIENCE).await;
        let left = Handle::current().metrics().num_alive_tasks();
        if left > 0 {
            world.history(|history| history.faults.push(format!("{left} tasks are left")));
        }
    }
}

/// Shutdowns that begin at any moment, among requests. Some are given up, as a platform does after its time limit. Their
/// moments have another source than all other choices, so that a seed means the same with and without them.
fn drains(seed: u64, engines: &[(usize, Idempotency)]) -> Vec<(usize, JoinHandle<()>)> {
    let mut random = Random::new(!seed);
    let begin = |(process, idempotency): &(usize, Idempotency)| {
        let (idempotency, begins) = (idempotency.clone(), random.millis(0..55_000));
        let limit = if random.percent(50) { random.millis(1..5_000) } else { HEALED * 10 };
        let drain = async move {
            sleep(begins).await;
            let _ = tokio::time::timeout(limit, idempotency.drain()).await;
        };
        (*process, tokio::spawn(drain))
    };
    engines.iter().map(begin).collect()
}

/// Nothing fails any more. Every process ends its work, and every key is answered.
async fn look_back(
    world: &Arc<World>,
    apps: &[Router],
    engines: &[(usize, Idempotency)],
    drains: Vec<(usize, JoinHandle<()>)>,
) {
    let last = engines.last().map_or(0, |(process, _)| *process);
    let fault = |what: String| {
        let now = world.now();
        world.history(|history| history.faults.push(format!("{now:?}: {what}")));
    };
    for number in 0..20 {
        hang_up(world, &apps[last], "/plain", &format!("hung up {number}")).await;
    }
    for (process, drain) in drains {
        if !world.is_dead(process) && tokio::time::timeout(PATIENCE, drain).await.is_err() {
            fault(format!("a drain of process {process} that began earlier does not end"));
        }
    }
    for (process, idempotency) in engines {
        if !world.is_dead(*process) && tokio::time::timeout(PATIENCE, idempotency.drain()).await.is_err() {
            fault(format!("process {process} does not end its work"));
        }
    }
    let now = world.now();
    let held = world.records(|records| records.running(now));
    world.history(|history| history.held(&held, now));
    for path in PATHS {
        for key in ["k0", "k1", "k2"] {
            // A handler that panics gives no answer, and is judged as every other run.
            let _ = send(world, &apps[last], path, key, 1).await;
        }
    }
    // No place and no byte is still taken.
    if send(world, &apps[last], "/plain", "as large as may be", BODIES).await == Some(503) {
        fault("bytes of bodies are still counted".to_owned());
    }
}
