//! Measures the cost of protection in one run: the bare handler, the same work done by hand, and the attribute.
//!
//! `benches/run` runs all parts and writes docs/performance.md, which explains the rows. [`HELP`] lists the parts.

// A benchmark stops at the first error.
#![allow(missing_docs, clippy::missing_panics_doc)]

mod by_hand;
mod case;
mod in_process;
mod instructions;
mod load;
mod page;
mod payment;
mod server;
mod times;
mod variants;

use std::path::Path;

use case::{Backend, Case};

const HELP: &str = "cargo bench -p idempotent-benches --bench overhead -- …
  instructions [memory|redis]        counts instructions by callgrind
  profile VARIANT PHASE STORE        where the instructions go; VARIANT: bare, by-hand, by-hand-extracted, ours
                                     PHASE: first, replay; STORE: memory, redis
  times [memory|redis] ROUNDS MILLIS requests a second and processor time over loopback
  page PAGE ROUNDS MILLIS            both, written into a page";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["instructions"] => println!("{}", instructions::table(&Backend::ALL)),
        ["instructions", backend] => println!("{}", instructions::table(&[backend.parse().unwrap()])),
        ["profile", variant, phase, backend] => instructions::profile(case(variant, phase, backend)),
        ["times", rounds, millis] => println!("{}", times::table(&Backend::ALL, number(rounds), number(millis))),
        ["times", backend, rounds, millis] => {
            println!("{}", times::table(&[backend.parse().unwrap()], number(rounds), number(millis)));
        }
        ["page", page, rounds, millis] => {
            page::write(Path::new(page), "instructions", &instructions::table(&Backend::ALL));
            page::write(Path::new(page), "times", &times::table(&Backend::ALL, number(rounds), number(millis)));
        }
        // The commands that the ones above start.
        ["in-process", variant, phase, backend, count, ref redis @ ..] => {
            let redis = redis.first().copied().unwrap_or_default();
            in_process::run(case(variant, phase, backend), number(count), redis);
        }
        ["serve", variant, backend, redis] => server::serve(variant.parse().unwrap(), backend.parse().unwrap(), redis),
        ["load", address, phase, millis] => {
            load::send(address.parse().unwrap(), phase.parse().unwrap(), number(millis));
        }
        _ => println!("{HELP}"),
    }
}

fn case(variant: &str, phase: &str, backend: &str) -> Case {
    Case { variant: variant.parse().unwrap(), phase: phase.parse().unwrap(), backend: backend.parse().unwrap() }
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(word: &str) -> T {
    word.parse().unwrap()
}
