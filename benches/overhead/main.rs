//! What protection costs: the bare handler, the unavoidable work done by hand, and the attribute, in one run.
//!
//! `cargo bench --bench overhead -- instructions [memory|redis]` counts instructions by callgrind;
//! `… -- profile VARIANT PHASE STORE` shows where they go. docs/performance.md explains the rows.

// A benchmark stops at the first fault, and uses a part of the tests' server.
#![allow(missing_docs, dead_code, unreachable_pub)]
#![allow(clippy::missing_panics_doc)]

mod by_hand;
mod case;
mod in_process;
mod instructions;
mod payment;
#[path = "../../tests/support/redis_server.rs"]
mod redis_server;
mod variants;

use case::{Backend, Case};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["instructions"] => instructions::compare(&Backend::ALL),
        ["instructions", backend] => instructions::compare(&[backend.parse().unwrap()]),
        ["profile", variant, phase, backend] => instructions::profile(case(variant, phase, backend)),
        ["in-process", variant, phase, backend, count, ref redis @ ..] => {
            let redis = redis.first().copied().unwrap_or_default();
            in_process::run(case(variant, phase, backend), count.parse().unwrap(), redis);
        }
        _ => println!(
            "instructions [memory|redis] | profile bare|by-hand|by-hand-extracted|ours first|replay memory|redis"
        ),
    }
}

fn case(variant: &str, phase: &str, backend: &str) -> Case {
    Case { variant: variant.parse().unwrap(), phase: phase.parse().unwrap(), backend: backend.parse().unwrap() }
}
