//! Counts the user instructions of a request with callgrind, which starts this program again for every case.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use servers::redis_server::RedisServer;

use crate::case::{Backend, Case, Phase, Variant};

/// Each case runs with two numbers of requests. The difference does not contain the cost of starting.
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;

/// Makes the table for these stores.
pub(crate) fn table(backends: &[Backend]) -> String {
    let mut table = String::from(
        "| store | request | bare | by hand | by hand, extractor first | ours | ours ÷ by hand | ÷ extractor first |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for &backend in backends {
        let server = (backend == Backend::Redis).then(RedisServer::start);
        let url = server.as_ref().map(RedisServer::url).unwrap_or_default();
        for phase in Phase::ALL {
            let counts = Variant::ALL.map(|variant| per_request(Case { variant, phase, backend }, &url));
            let (backend, phase) = (backend.name(), phase.name());
            let [bare, by_hand, extracted, ours] = counts;
            writeln!(
                table,
                "| {backend} | {phase} | {bare:.0} | {by_hand:.0} | {extracted:.0} | {ours:.0} | {:.2} | {:.2} |",
                ours / by_hand,
                ours / extracted
            )
            .unwrap();
        }
    }
    table
}

/// Prints the functions that take most instructions, including the functions that they call, and without those.
pub(crate) fn profile(case: Case) {
    let server = (case.backend == Backend::Redis).then(RedisServer::start);
    let url = server.as_ref().map(RedisServer::url).unwrap_or_default();
    let file = callgrind(case, MANY, &url);
    for inclusive in ["--inclusive=yes", "--inclusive=no"] {
        println!("== {} {} {}, {inclusive}", case.variant.name(), case.phase.name(), case.backend.name());
        for (count, function) in functions(&file, inclusive).into_iter().take(120) {
            println!("{:>8} {function:.160}", count / MANY);
        }
    }
    println!(
        "instructions of one of {MANY} requests, with a share of the start; the whole profile: {}",
        file.display()
    );
}

#[allow(clippy::cast_precision_loss)]
fn per_request(case: Case, redis: &str) -> f64 {
    let [few, many] = [FEW, MANY].map(|count| {
        let file = callgrind(case, count, redis);
        let functions = functions(&file, "--inclusive=no");
        fs::remove_file(file).unwrap();
        functions.into_iter().map(|(count, _)| count as f64).sum::<f64>()
    });
    (many - few) / (MANY - FEW) as f64
}

fn callgrind(case: Case, count: u64, redis: &str) -> PathBuf {
    let [variant, phase, backend] = [case.variant.name(), case.phase.name(), case.backend.name()];
    let file = env::temp_dir().join(format!("callgrind.{}.{variant}.{phase}.{backend}", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--separate-threads=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe().unwrap())
        .args(["in-process", variant, phase, backend, &count.to_string(), redis])
        .output()
        .expect("install valgrind");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

/// Every function with its instructions, as `callgrind_annotate` lists them. The folders of its file are removed.
fn functions(file: &Path, inclusive: &str) -> Vec<(u64, String)> {
    let annotate = Command::new("callgrind_annotate")
        .args([inclusive, "--auto=no", "--threshold=100", "--show-percs=no"])
        .arg(file)
        .output()
        .expect("install valgrind");
    let text = String::from_utf8_lossy(&annotate.stdout);
    let lines = text.lines().filter_map(|line| {
        let (count, function) = line.trim().split_once("  ")?;
        let count = count.replace(',', "").parse().ok()?;
        let (path, name) = function.trim().split_once(':')?;
        let name = name.split(" [").next().unwrap_or(name);
        Some((count, format!("{}:{name}", short(path))))
    });
    lines.collect()
}

/// Shortens a path to the form `tokio-1.54.1/src/runtime/task/raw.rs`. The part before that depends on the machine.
fn short(path: &str) -> &str {
    let from = ["/index.crates.io-", "/library/"].iter().find_map(|mark| path.find(mark).map(|at| at + 1));
    let short = from.map_or(path, |from| &path[from..]);
    short.split_once('/').filter(|_| from.is_some()).map_or(short, |(_, rest)| rest)
}
