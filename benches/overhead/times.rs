//! Requests per second, and the server's processor time for a request, over loopback with 64 connections.
//!
//! The server and the senders run in their own processes. Each round measures every variant once, so that other load on
//! the machine affects all of them.

use std::fmt::Write;

use servers::redis_server::RedisServer;

use crate::{
    case::{Backend, Case, Phase, Variant},
    load::CONNECTIONS,
    server::Process,
};

/// The result of one run of one case.
#[derive(Clone, Copy)]
struct Measured {
    per_second: f64,
    /// The server's processor time for a request, in microseconds.
    processor: f64,
}

/// Makes the table: medians over `rounds` rounds of `millis` milliseconds each.
pub(crate) fn table(backends: &[Backend], rounds: usize, millis: u64) -> String {
    let mut table = String::from(
        "| store | request | | bare | by hand | by hand, extractor first | ours | ours ÷ by hand | ÷ extractor first |\n\
         |---|---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    let redis = RedisServer::start();
    let rows: Vec<(Backend, Phase)> =
        backends.iter().flat_map(|&backend| Phase::ALL.map(|phase| (backend, phase))).collect();
    let mut measured: Vec<Vec<[Measured; 4]>> = vec![Vec::new(); rows.len()];
    for _ in 0..rounds {
        for (row, &(backend, phase)) in measured.iter_mut().zip(&rows) {
            row.push(Variant::ALL.map(|variant| measure(Case { variant, phase, backend }, millis, &redis)));
        }
    }
    for (row, (backend, phase)) in measured.into_iter().zip(rows) {
        let (backend, phase) = (backend.name(), phase.name());
        let line = |what: &str, digits: usize, value: fn(&Measured) -> f64| {
            let [bare, by_hand, extracted, ours] =
                [0, 1, 2, 3].map(|variant| median(row.iter().map(|round| value(&round[variant]))));
            // The ratios are made within each round, because its variants ran one after the other.
            let [to_hand, to_extracted] =
                [1, 2].map(|other| median(row.iter().map(|round| value(&round[3]) / value(&round[other]))));
            format!(
                "| {backend} | {phase} | {what} | {bare:.digits$} | {by_hand:.digits$} | {extracted:.digits$} | \
                 {ours:.digits$} | {to_hand:.2} | {to_extracted:.2} |"
            )
        };
        writeln!(table, "{}", line("requests a second", 0, |one| one.per_second)).unwrap();
        writeln!(table, "{}", line("processor, µs a request", 1, |one| one.processor)).unwrap();
    }
    writeln!(table, "\n{rounds} rounds of {millis} ms, {CONNECTIONS} connections.").unwrap();
    table
}

#[allow(clippy::cast_precision_loss)]
fn measure(case: Case, millis: u64, redis: &RedisServer) -> Measured {
    redis.set(&["FLUSHALL"]);
    let mut server = Process::start(&["serve", case.variant.name(), case.backend.name(), &redis.url()]);
    let address = server.read();
    let mut load = Process::start(&["load", &address, case.phase.name(), &millis.to_string()]);
    assert_eq!(load.read(), "ready");
    let before = server.processor_time();
    let answer = load.ask();
    let used = server.processor_time().saturating_sub(before);
    let (answered, micros) = answer.split_once(' ').unwrap();
    let (answered, micros): (f64, f64) = (answered.parse().unwrap(), micros.parse().unwrap());
    Measured { per_second: answered * 1e6 / micros, processor: used.as_micros() as f64 / answered }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
