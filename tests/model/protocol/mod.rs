//! The search over the operations that ship: what it visits, what it finds when a rule is left out, and its paths on the
//! real stores.

mod operation;
mod replay;
mod rules;
mod search;
mod steps;
mod world;

use idempotent_runtime::{
    MemoryStore,
    store::{Store, StoreKey},
};
use support::{redis_server::RedisServer, redis_store::patient, sql_store};

use self::{
    rules::Without,
    search::{Found, search},
    world::Bounds,
};

const NOTHING: Bounds =
    Bounds { attempts: 1, given_up: 0, doubled: 0, crashes: 0, losses: 0, ticks: 0, renewals: 0, steps: 0 };

/// Two attempts, of which one may outlive its lease.
const TWO: Bounds = Bounds { attempts: 2, ticks: 1, renewals: 1, ..NOTHING };
/// Two attempts with a step.
const STEPS: Bounds = Bounds { attempts: 2, ticks: 1, steps: 1, ..NOTHING };
/// A request, its retry, and another request with the same key.
const THREE: Bounds = Bounds { attempts: 3, ticks: 1, ..NOTHING };
/// One attempt whose calls are given up, and whose record is lost.
const LATE: Bounds = Bounds { given_up: 1, losses: 1, ticks: 3, renewals: 1, ..NOTHING };
/// Two attempts with a command that is given up.
const TWO_LATE: Bounds = Bounds { attempts: 2, given_up: 1, ticks: 1, ..NOTHING };
/// Two attempts of which one dies, in every state of its claim.
const DEATH: Bounds = Bounds { attempts: 2, crashes: 1, ticks: 1, steps: 1, ..NOTHING };
/// Two attempts with a command that arrives twice.
const DOUBLED: Bounds = Bounds { attempts: 2, doubled: 1, ticks: 1, ..NOTHING };
/// More than can be visited.
const ALL: Bounds =
    Bounds { attempts: 3, given_up: 2, doubled: 1, crashes: 1, losses: 1, ticks: 3, renewals: 1, steps: 2 };

fn keeps_the_promises(bounds: Bounds, most: usize) -> Found {
    let found = search(bounds, None, most, 100);
    let Found { states, depth, exhaustive, .. } = &found;
    let how_far = if *exhaustive { "all".to_owned() } else { format!("cut at {most}") };
    println!("{bounds:?}: {states} states ({how_far}), {depth} deep");
    if let Some((promise, path)) = &found.broken {
        panic!("broken: {promise}\n{}", path.join("\n"));
    }
    found
}

#[test]
fn every_order_of_one_or_two_attempts_keeps_the_promises() {
    for bounds in [TWO, STEPS, TWO_LATE, LATE, DEATH, DOUBLED] {
        assert!(keeps_the_promises(bounds, 100_000).exhaustive);
    }
}

#[test]
fn every_order_of_three_attempts_keeps_the_promises() {
    assert!(keeps_the_promises(THREE, 100_000).exhaustive);
}

#[test]
fn late_and_doubled_commands_crashes_and_a_loss_keep_the_promises_as_far_as_the_search_goes() {
    assert!(keeps_the_promises(ALL, 30_000).states >= 30_000);
}

/// Each rule, left out, and the promise that then breaks.
#[test]
fn each_rule_is_needed() {
    let (two_owners, free, fences) =
        ("a key never has two owners, by the store's clock", "a freed key stays free", "fences grow");
    let undone = "nothing that arrives late undoes what its attempt did later";
    let told = "every death is told to the next attempt";
    let rules = [
        (Without::AbsentCompared, TWO, two_owners),
        (Without::OwnerCompared, TWO, two_owners),
        (Without::ChangeCompared, LATE, undone),
        (Without::StampCompared, TWO, two_owners),
        (Without::RenewalRaisesChange, TWO, two_owners),
        (Without::CompletionIsLast, LATE, undone),
        (Without::FreedIsLast, LATE, undone),
        (Without::FreedIsMarked, TWO, fences),
        (Without::AbsentIsMarked, LATE, free),
        (Without::MarkKeepsFence, TWO, fences),
        (Without::FenceGrowsOverMark, TWO, fences),
        (Without::FenceGrowsAtTakeover, TWO, fences),
        (Without::RecreationIsTimed, LATE, free),
        (Without::TakeoverWaits, TWO, two_owners),
        (Without::TakeoverRecovers, TWO, told),
        (Without::TakeoverKeepsSteps, STEPS, "saved steps are never lost"),
        (Without::ReleaseKeepsDeaths, THREE, told),
        (Without::ReleaseKeepsSteps, STEPS, told),
        (Without::FingerprintCompared, THREE, "no request gets the response of another"),
    ];
    for (rule, bounds, promise) in rules {
        let found = search(bounds, Some(rule), 100_000, 0);
        let Some((broken, path)) = found.broken else { panic!("nothing needs {rule:?}") };
        println!("without {rule:?}, after {} steps: {broken}\n  {}", path.len(), path.join("\n  "));
        assert_eq!(broken, promise, "{rule:?}");
    }
    assert!(Without::ALL.iter().all(|rule| rules.iter().any(|(tried, ..)| tried == rule)));
}

/// Every path of the search is answered by the store as by the model's register.
async fn replays<S: Store>(store: &S) {
    let mut calls = 0;
    for (search_number, bounds) in [TWO, STEPS, TWO_LATE, LATE, ALL].into_iter().enumerate() {
        let paths = search(bounds, None, 5_000, 100).paths;
        for (number, path) in paths.iter().enumerate().filter(|(_, path)| store.is_shared() || !path.frees()) {
            let key = StoreKey::new(format!("path-{search_number}-{number}"));
            if let Err(seen) = path.replay(store, &key).await {
                panic!("path {number} of {bounds:?}: {seen}");
            }
            calls += path.calls();
        }
    }
    println!("{calls} calls");
    assert!(calls > 1_000);
}

#[tokio::test]
async fn the_paths_go_the_same_way_on_memory() {
    replays(&MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_paths_go_the_same_way_on_redis() {
    let server = RedisServer::start();
    replays(&patient().connect(&server.url()).await.expect("connects")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_paths_go_the_same_way_on_sqlite() {
    let (store, _directory) = sql_store::on_sqlite().await;
    replays(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_paths_go_the_same_way_on_postgres() {
    replays(&sql_store::on_postgres().await).await;
}
