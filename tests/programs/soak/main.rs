//! Runs ten minutes of payments while Redis fails and is repaired again and again. `tests/soak` starts it.
//!
//! Every request is answered within three seconds, and no request runs twice. The service's memory, tasks and file
//! descriptors do not grow. Redis writes its file before it answers, so that it loses nothing when it is killed.

mod clients;
mod faults;
mod usage;

use std::{
    env, process,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use idempotent_runtime::{Idempotency, RedisStore};
use support::{proxy::Proxy, redis_server::RedisServer};
use tokio::time::sleep;

use self::{clients::Clients, faults::Faults, usage::Usage};

/// How many bytes the resident memory may grow in a minute, in the second half of the run.
const GROWTH: f64 = 1024.0 * 1024.0;

/// How long one round of all faults takes.
const WARM_UP: Duration = Duration::from_secs(25);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // Panics are expected here, so they print nothing.
    std::panic::set_hook(Box::new(|_| {}));
    let seconds = env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(600);
    let duration = Duration::from_secs(seconds);
    let server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let proxy = Proxy::to(server.address()).await;
    let store = RedisStore::connect(&proxy.redis_url()).await.expect("is fit");
    let idempotency = Idempotency::builder(store).namespace("soak").build();
    let clients = Clients::new(idempotency.clone()).await;

    // What is made only once is made here, before the first measurement.
    clients.run(Duration::from_secs(2), 16).await;
    let before = settled(&Usage::now()).await;
    let faults = Faults::start(server, proxy);
    // Causes every fault once, so that the memory that it needs is allocated before the measurement.
    clients.run(WARM_UP, 16).await;
    let running = {
        let clients = Arc::clone(&clients);
        tokio::spawn(async move { clients.run(duration, 16).await })
    };
    let (start, mut memory) = (Instant::now(), Vec::new());
    while !running.is_finished() {
        sleep(Duration::from_millis(500)).await;
        let usage = Usage::now();
        if start.elapsed() > duration / 2 && start.elapsed() < duration {
            memory.push((start.elapsed().as_secs_f64() / 60.0, usage.memory));
        }
    }
    let finished = running.await;
    let (injected, server, proxy) = faults.stop().await;
    idempotency.drain().await;
    let after = settled(&before).await;
    let growth = usage::slope(&memory);

    let seen = &clients.seen;
    let count = |number: &std::sync::atomic::AtomicUsize| number.load(SeqCst);
    println!(
        "{duration:?}: {injected} faults, {} requests for {} keys, {} refused, slowest answer {:?}",
        count(&seen.requests),
        count(&seen.keys),
        count(&seen.refused),
        seen.slowest()
    );
    println!(
        "{} executions, {} duplicates, {} odd answers",
        count(&seen.runs),
        count(&seen.duplicates),
        seen.odd().len()
    );
    println!(
        "tasks {} → {}, descriptors {} → {}, memory {} → {} KiB, growing by {:.0} KiB a minute in the last half",
        before.tasks,
        after.tasks,
        before.descriptors,
        after.descriptors,
        before.memory / 1024,
        after.memory / 1024,
        growth / 1024.0
    );

    let checks = [
        ("the clients came to their end", finished.is_ok()),
        ("there was something to survive", injected > 0 && count(&seen.refused) > 0),
        ("every request is answered within three seconds", seen.slowest() < Duration::from_secs(3)),
        ("nothing ran twice", count(&seen.duplicates) == 0),
        ("every answer is one that is promised", seen.odd().is_empty()),
        ("tasks are back at their start", after.tasks <= before.tasks),
        ("file descriptors are back at their start", after.descriptors <= before.descriptors),
        ("memory grows by less than 1 MiB a minute", growth < GROWTH),
    ];
    let failed: Vec<_> = checks.iter().filter(|(_, kept)| !kept).map(|(what, _)| what).collect();
    // Dropped here, because `exit` would leave the server running.
    drop((server, proxy));
    if !failed.is_empty() {
        eprintln!("broken: {failed:#?}\nodd: {:#?}", seen.odd());
        process::exit(1);
    }
}

/// The usage when it is down to the limits, or after forty seconds. A claim whose answer was lost is looked up once
/// more when its lease of thirty seconds is over.
async fn settled(limits: &Usage) -> Usage {
    for _ in 0..400 {
        let now = Usage::now();
        if now.tasks <= limits.tasks && now.descriptors <= limits.descriptors {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    Usage::now()
}
