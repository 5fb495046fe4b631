//! What protection costs: the bare handler, the unavoidable work done by hand, and the attribute, in one run.
//!
//! `cargo bench --bench overhead`; docs/performance.md explains the rows. One iteration is a request; requests are sent
//! in batches of [`traffic::CONCURRENT`], so that a row measures work and not the latency of one round trip.

// A benchmark stops at the first fault, and uses a part of the tests' server.
#![allow(missing_docs, dead_code, unreachable_pub)]
#![allow(clippy::missing_panics_doc)]

mod by_hand;
mod handlers;
#[path = "../../../tests/support/redis_server.rs"]
mod redis_server;
mod traffic;

use criterion::{Criterion, criterion_group, criterion_main};

use handlers::Variant;
use traffic::{Backend, Phase, Transport};

fn overhead(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for backend in Backend::all() {
        for transport in [Transport::InProcess, Transport::Loopback] {
            for phase in [Phase::First, Phase::Replay] {
                let mut group = criterion.benchmark_group(format!("{backend}/{transport}/{phase}"));
                for variant in [Variant::Bare, Variant::ByHand, Variant::Attribute] {
                    group.bench_function(variant.name(), |bencher| {
                        bencher.iter_custom(|iterations| {
                            runtime.block_on(traffic::time(&backend, transport, phase, variant, iterations))
                        });
                    });
                }
                group.finish();
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = overhead
}
criterion_main!(benches);
